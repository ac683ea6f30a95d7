"""Images from bytes in memory are those that are read from a file of the same bytes."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from twinlatent.data import Split
from twinlatent.data.bodies import UnknownKindError, read_body, read_numbers
from twinlatent.data.files import read_images
from twinlatent.data.pictures import TooManyPixelsError
from twinlatent.errors import TwinlatentError

MOST = 10_000


def encoded(kind: str, mode: str, size: tuple[int, int], **options: object) -> bytes:
    noise = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 4), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).convert(mode).save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 8, 8), (3, 5, 9)])
@pytest.mark.parametrize(
    "body",
    [
        encoded("PNG", "L", (8, 8)),
        encoded("PNG", "RGB", (31, 20)),
        encoded("PNG", "RGBA", (9, 5)),
        encoded("PNG", "1", (8, 8)),
        encoded("PNG", "P", (8, 8)),
        encoded("JPEG", "RGB", (50, 40), quality=80),
        encoded("JPEG", "L", (8, 8)),
    ],
    ids=["grey", "colour", "transparent", "bits", "palette", "jpeg", "grey jpeg"],
)
def test_pictures(body: bytes, shape: tuple[int, int, int], tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(body)
    _, wanted = read_images([tmp_path / "file"], shape)
    assert torch.equal(read_body(body, "it", shape, MOST), wanted)


@pytest.mark.parametrize("kind", ["float32", ">f8", "uint8", "bool"])
@pytest.mark.parametrize("shape", [(5, 1, 8, 8), (5, 8, 8), (8, 8), (1, 8, 8)])
def test_arrays(kind: str, shape: tuple[int, ...], digits: Split, tmp_path: Path) -> None:
    values = digits.test.images[: int(np.prod(shape)) // 64].numpy().reshape(shape)
    values = (values * 255 if kind == "uint8" else values).astype(kind)
    np.save(tmp_path / "a.npy", values)
    _, wanted = read_images([tmp_path / "a.npy"], (1, 8, 8))
    assert torch.equal(read_body((tmp_path / "a.npy").read_bytes(), "it", (1, 8, 8), MOST), wanted)


def test_numbers(digits: Split) -> None:
    images = digits.test.images[:4]
    assert torch.equal(read_numbers(images.tolist(), "it", (1, 8, 8)), images)
    assert torch.equal(read_numbers(images[0, 0].tolist(), "it", (1, 8, 8)), images[:1])
    assert torch.equal(read_numbers([[0, 1] * 4] * 8, "it", (1, 8, 8)), torch.tensor([0.0, 1] * 32).view(1, 1, 8, 8))
    colours = images.expand(-1, 3, -1, -1)
    assert torch.equal(read_numbers(colours.permute(0, 2, 3, 1).tolist(), "it", (3, 8, 8)), colours)


def test_a_picture_is_measured_before_it_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    body = encoded("PNG", "L", (101, 100))
    assert read_body(body, "it", (1, 8, 8), 10_100).shape == (1, 1, 8, 8)
    monkeypatch.setattr(Image.Image, "load", None)
    with pytest.raises(TooManyPixelsError, match=r"it: has 101 × 100 pixels, and 10,099 are allowed; shrink it"):
        read_body(body, "it", (1, 8, 8), 10_099)


@pytest.mark.parametrize("kind", ["GIF", "BMP", "TIFF", "WEBP", "PPM"])
def test_other_pictures_are_not_decoded(kind: str) -> None:
    with pytest.raises(UnknownKindError, match=r"it: is none of the kinds that are read; give PNG, JPEG or .npy"):
        read_body(encoded(kind, "RGB", (8, 8)), "it", (1, 8, 8), MOST)


def test_pictures_need_one_channel_or_three() -> None:
    with pytest.raises(TwinlatentError, match=r"takes images of 4 channels; give an .npy array"):
        read_body(encoded("PNG", "L", (8, 8)), "it", (4, 8, 8), MOST)


@pytest.mark.parametrize("values", [[], {}, "text", None, 0.5, [[0.5]], [[["a"] * 8] * 8], [[10**400] * 8] * 8])
def test_what_holds_no_images_is_refused(values: object) -> None:
    with pytest.raises(TwinlatentError, match=r"^it"):
        read_numbers(values, "it", (1, 8, 8))


def test_many_numbers_are_not_too_precise(digits: Split) -> None:
    values: Tensor = digits.test.images[:1].double() * (1 - 1e-12)
    assert torch.equal(read_numbers(values.tolist(), "it", (1, 8, 8)), values.float())
