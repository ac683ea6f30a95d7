"""From bodies to images, where no server is needed; `test_detecting` and `test_refusals` ask one."""

import io
import time
from contextlib import suppress

import pytest
from PIL import Image

from twinlatent.serve.multipart import parts_of
from twinlatent.serve.reading import images_of
from twinlatent.serve.refusals import Refusal
from twinlatent.serve.settings import ServeSettings

SHAPE = (1, 8, 8)
HEAD = 'Content-Disposition: form-data; name="image"; filename="{}"\r\n\r\n'


def png(side: int = 8) -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (side, side), 100).save(buffer, "PNG")
    return buffer.getvalue()


def form(*parts: bytes, filename: str = "a.png", end: bytes = b"--b--\r\n") -> tuple[bytes, str]:
    body = b"".join(b"--b\r\n" + HEAD.format(filename).encode() + part + b"\r\n" for part in parts)
    return body + end, "multipart/form-data; boundary=b"


@pytest.mark.parametrize("filename", ["käse – 图.png", "../../etc/passwd", "a\\b", "", "x" * 1000])
def test_what_a_part_is_called_plays_no_part(filename: str) -> None:
    assert images_of(*form(png(), png(), filename=filename), SHAPE, ServeSettings()).shape == (2, *SHAPE)


@pytest.mark.parametrize("parts", [257, 1000])
def test_many_parts_are_refused_before_one_is_read(parts: int) -> None:
    with pytest.raises(Refusal, match="more than 256 parts") as refused:
        images_of(*form(*[png()] * parts), SHAPE, ServeSettings())
    assert refused.value.status == 413


def test_pictures_that_take_too_long_together_are_given_up() -> None:
    """Each is within the limits, and small as a file: 256 of them would hold a thread for minutes."""
    began = time.perf_counter()
    with pytest.raises(Refusal, match=r"^[1-9]\d* pictures took 0.2 s to read; send fewer or smaller ones") as refused:
        images_of(*form(*[png(2000)] * 256), SHAPE, ServeSettings(read_seconds=0.2))
    assert (refused.value.status, time.perf_counter() - began < 5) == (413, True)


@pytest.mark.parametrize("end", [b"--b--\r\nmore behind it", b"--b--\r\n\r\n\r\n", b"--b\r\nno head\r\n\r\nx\r\n--b--"])
def test_nothing_is_said_of_odd_forms_but_the_answer(end: bytes, caplog, capfd) -> None:
    """The parser has a logger whose lines would go to standard error, one for each request of whoever likes to."""
    with suppress(Refusal):
        parts_of(*form(png(), end=end), 256)
    assert (caplog.records, capfd.readouterr()) == ([], ("", ""))
