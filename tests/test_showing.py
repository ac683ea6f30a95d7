"""Tables of notebooks: every text escaped, pictures small, nothing loaded, no colour."""

import base64
import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from twinlatent.showing import SIDE, html_table, left_out, p_text, png_source, thumbnail

HOSTILE = "</td><script>alert('x')</script>\"&"


class Texts(HTMLParser):
    """Tags and texts of a piece of HTML."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.texts: list[str] = []
        self.attributes: list[dict[str, str | None]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes.append(dict(attrs))

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.texts.append(data)


def test_hostile_texts_stay_texts_wherever_they_stand() -> None:
    picture = thumbnail(np.zeros((8, 8)), HOSTILE)
    read = Texts(html_table(HOSTILE, [HOSTILE], [[HOSTILE], [picture]], HOSTILE))
    assert "script" not in read.tags
    assert read.texts == [HOSTILE] * 4
    assert [found["alt"] for found in read.attributes if "alt" in found] == [HOSTILE]


def test_a_table_has_a_row_a_row_and_loads_nothing() -> None:
    picture = thumbnail(np.linspace(0, 1, 64).reshape(8, 8), "image 0")
    text = html_table("title", ["a", "b"], [["1", picture], ["2", "x"], ["3", "y"]])
    read = Texts(text)
    assert (read.tags.count("tr"), read.tags.count("th"), read.tags.count("td")) == (4, 2, 6)
    assert read.texts == ["title", "a", "b", "1", "2", "x", "3", "y"]
    assert re.findall(r'(?:src|href)="(?!data:image/png;base64,)', text) == []
    assert not re.search(r"<style|<script|https?:|color|background", text), "the notebook's own colours hold"
    assert Texts(html_table("empty", ["a"], [])).tags.count("td") == 0


@pytest.mark.parametrize("shape", [(8, 8), (28, 28), (28, 28, 3), (300, 200), (300, 200, 3), (1, 1), (2, 90)])
def test_thumbnails_are_small_pictures_of_the_same_form(shape: tuple[int, ...]) -> None:
    image = np.random.default_rng(0).random(shape)
    made = thumbnail(image, "an image")
    decoded = read_png(made.source)
    assert max(decoded.size) <= SIDE
    assert max(made.width, made.height) <= SIDE
    assert made.width % decoded.size[0] == made.height % decoded.size[1] == 0, "each pixel stays a square"
    if max(shape[:2]) <= SIDE:
        np.testing.assert_array_equal(np.asarray(decoded), np.rint(255 * image))


def read_png(source: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(source.removeprefix("data:image/png;base64,"))))


def test_bytes_go_into_the_picture_as_they_are() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    np.testing.assert_array_equal(np.asarray(read_png(png_source(pixels))), pixels)


@pytest.mark.parametrize(("n", "shown", "said"), [
    (0, 0, ""), (20, 20, ""), (3, 20, ""), (21, 20, "1 more image is not shown"),
    (10_000, 20, "9,980 more images are not shown"),
])  # fmt: skip
def test_what_is_left_out_is_counted(n: int, shown: int, said: str) -> None:
    assert left_out(n, shown) == said


def test_p_values_keep_what_counts() -> None:
    assert [p_text(p) for p in (1, 0.5, 0.0999, 0.001, 0.0005)] == ["1.00", "0.50", "0.100", "0.001", "<\u00a00.001"]
