"""Pictures whose decoding would take far more memory or time than their bytes: found before a decoder sees them."""

import struct
import zlib
from collections.abc import Iterator

from twinlatent.data.kinds import UnreadableFileError
from twinlatent.data.pictures import TooManyPixelsError

PNG, JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"
MOST_METADATA = 2**20
"""Bytes that the texts and colour profiles of a picture may have together, once they are inflated."""
MOST_SCANS = 32
"""Scans of a JPEG; encoders write up to about 15. Each takes a pass over the whole picture."""
SCAN = b"\xff\xda"
"""How a scan of a JPEG begins; among its values 0xFF is followed by 0 or by marks of another kind."""


class BombError(UnreadableFileError):
    """A picture that is not decoded, since that would take too long or too much."""


def check_picture(body: bytes, name: str, most_pixels: int) -> None:
    """Refuse a PNG or JPEG that would unfold to far more than its bytes; whether it is damaged is not asked.

    Args:
        body: that begins with `PNG` or `JPEG`.
        name: what errors call it.
        most_pixels: that a PNG may have.

    Raises:
        TooManyPixelsError: it has more.
        BombError: its metadata, or its scans, are more than those of pictures.
    """
    if not body.startswith(PNG):
        scans = body.count(SCAN)
        if scans > MOST_SCANS:
            raise BombError(name, f"has {scans:,} scans, and {MOST_SCANS} are allowed", "save it as a plain JPEG")
        return
    inflated = 0
    for kind, content in _chunks(body):
        if kind == b"IHDR" and len(content) >= 8:
            width, height = struct.unpack_from(">II", content)
            check_pixels(width, height, name, most_pixels)
        inflated += _inflated(kind, content, MOST_METADATA + 1 - inflated)
        if inflated > MOST_METADATA:
            fault = f"has metadata that unfold to more than {MOST_METADATA:,} bytes"
            raise BombError(name, fault, "save it without metadata")


def check_pixels(width: int, height: int, name: str, most_pixels: int) -> None:
    """Raise `TooManyPixelsError` if a picture has more pixels than are allowed."""
    if width * height > most_pixels:
        fault = f"has {width:,} × {height:,} pixels, and {most_pixels:,} are allowed"
        raise TooManyPixelsError(name, fault, "shrink it")


def _chunks(body: bytes) -> Iterator[tuple[bytes, memoryview]]:
    """Kind and content of each chunk of a PNG, as far as they are whole."""
    place, view = len(PNG), memoryview(body)
    while place + 8 <= len(body):
        length, kind = struct.unpack_from(">I4s", body, place)
        yield kind, view[place + 8 : place + 8 + length]
        place += 12 + length


def _inflated(kind: bytes, content: memoryview, most: int) -> int:
    """To how many bytes a chunk of metadata unfolds, at most `most`; 0 where it is damaged, or as it is."""
    if kind in (b"zTXt", b"iCCP"):  # a name, how it is compressed, and what is
        packed = bytes(content).partition(b"\0")[2][1:]
    elif kind == b"iTXt":  # a name, whether and how, a language, the name in it
        rest = bytes(content).partition(b"\0")[2]
        packed = rest[2:].split(b"\0", 2)[-1] if rest[:1] != b"\0" else b""
    else:
        return 0
    try:
        return len(zlib.decompressobj().decompress(packed, most))
    except zlib.error:
        return 0
