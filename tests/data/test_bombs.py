"""Pictures that unfold to far more than their bytes are refused before Pillow sees them; those of cameras are not."""

import io
import struct
import time
import zlib

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from twinlatent.data.bodies import read_body
from twinlatent.data.bombs import MOST_METADATA, BombError, check_picture
from twinlatent.data.pictures import TooManyPixelsError

SHAPE, MOST = (1, 8, 8), 10_000


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def saved(kind: str = "PNG", size: tuple[int, int] = (8, 8), **options: object) -> bytes:
    buffer = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (size[1], size[0]), np.uint8)
    Image.fromarray(noise).save(buffer, kind, **options)
    return buffer.getvalue()


def with_chunks(*chunks: bytes, after: bool = False) -> bytes:
    """A PNG with further chunks before its values, or after them."""
    body = saved()
    place = body.index(b"IEND") - 4 if after else body.index(b"IDAT") - 4
    return body[:place] + b"".join(chunks) + body[place:]


def packed(kind: bytes, size: int) -> bytes:
    """A chunk of metadata that unfolds to that size."""
    head = {b"zTXt": b"a\0\0", b"iCCP": b"a\0\0", b"iTXt": b"a\0\1\0en\0a\0"}[kind]
    return chunk(kind, head + zlib.compress(bytes(size), 9))


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("kind", [b"zTXt", b"iCCP", b"iTXt"])
def test_metadata_that_unfold_to_too_much(kind: bytes, after: bool) -> None:
    half = packed(kind, MOST_METADATA // 2)
    assert read_body(with_chunks(half, half, after=after), "it", SHAPE, MOST).shape == (1, *SHAPE)
    with pytest.raises(BombError, match=r"it: has metadata that unfold to more than 1,048,576 bytes; save it without"):
        read_body(with_chunks(half, half, packed(kind, 1), after=after), "it", SHAPE, MOST)


def test_a_thousand_profiles_take_no_time() -> None:
    """Pillow would inflate each of them, for seconds."""
    body, began = with_chunks(packed(b"iCCP", 1_000_000) * 1000), time.perf_counter()
    with pytest.raises(BombError):
        read_body(body, "it", SHAPE, MOST)
    assert time.perf_counter() - began < 1


def test_pixels_come_before_metadata() -> None:
    body = with_chunks(packed(b"zTXt", 2 * MOST_METADATA))
    with pytest.raises(TooManyPixelsError, match="has 8 × 8 pixels, and 63 are allowed"):
        check_picture(body, "it", 63)


def test_scans_of_a_jpeg() -> None:
    body = saved("JPEG", (50, 40), progressive=True)
    last = body[body.rindex(b"\xff\xda") : -2]
    assert read_body(body[:-2] + 25 * last + body[-2:], "it", SHAPE, MOST).shape == (1, *SHAPE)
    with pytest.raises(BombError, match=r"scans, and 32 are allowed; save it as a plain JPEG"):
        read_body(body[:-2] + 30 * last + body[-2:], "it", SHAPE, MOST)


def test_pictures_as_programs_save_them_pass() -> None:
    texts = PngInfo()
    texts.add_text("Comment", "a photograph " * 1000, zip=True)
    texts.add_itxt("XML:com.adobe.xmp", "<x:xmpmeta/>" * 1000, zip=True)
    profile = bytes(range(256)) * 100
    for body in (saved(pnginfo=texts), saved(icc_profile=profile), saved("JPEG", icc_profile=profile, quality=95),
                 saved("JPEG", (100, 100), progressive=True, quality=100)):  # fmt: skip
        check_picture(body, "it", MOST)


@pytest.mark.parametrize("content", [b"", b"a", b"a\0", b"a\0\0", b"a\0\0no zlib", b"a\0\1\0", b"a\0\1\0b\0"])
def test_damaged_chunks_are_left_to_the_decoder(content: bytes) -> None:
    body = with_chunks(*(chunk(kind, content) for kind in (b"zTXt", b"iTXt", b"iCCP")))
    for cut in range(0, len(body), 7):
        check_picture(body[: cut + 8], "it", MOST)
