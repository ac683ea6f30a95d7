"""Arrays and pictures that are not what they should be, as bytes."""

import gzip
import io
import struct
import zipfile
import zlib
from typing import Any

import numpy as np
from PIL import Image

ONE = np.full((1, 1, 8, 8), 0.5, np.float32)
HUGE = 2**31 - 1


# --- arrays ---------------------------------------------------------------------------------------------------------


def npy(header: str, values: bytes = b"", version: tuple[int, int] = (1, 0), said: int | None = None) -> bytes:
    """An .npy file with that header, which may say of itself that it has another length."""
    text = header.encode("latin-1")
    length = len(text) if said is None else said
    return b"\x93NUMPY" + bytes(version) + struct.pack("<H" if version[0] == 1 else "<I", length) + text + values


def described(descr: object = "<f4", order: object = False, shape: object = (1, 1, 8, 8)) -> str:
    """The text of a header."""
    return f"{{'descr': {descr!r}, 'fortran_order': {order!r}, 'shape': {shape!r}, }}\n"


def npy_files() -> dict[str, bytes]:
    """By name."""
    values = ONE.tobytes()
    headers = {
        "huge": described(shape=(HUGE, HUGE, 8, 8)),
        "negative": described(shape=(-1, 1, 8, 8)),
        "overflow": described(shape=(2**40, 2**40, 2**40, 8)),
        "booleans as sizes": described(shape=(True, True, 8, 8)),
        "floats as sizes": described(shape=(1.0, 1, 8, 8)),
        "a list as shape": described(shape=[1, 1, 8, 8]),
        "many dimensions": described(shape=(1,) * 70),
        "a type of none": described(descr="<q9"),
        "a type of no size": described(descr="<U0"),
        "fields": described(descr=[("a", "<f4"), ("b", "<f4")]),
        "objects": described(descr="|O"),
        "dates": described(descr="<M8[s]"),
        "complex": described(descr="<c16", shape=(1, 1, 4, 4)),
        "no order": described(order="C"),
        "another name": "{'descr': '<f4', 'fortran_order': False, 'size': (1, 1, 8, 8), }\n",
        "no dictionary": "[1, 2, 3]\n",
        "code": "__import__('os').system('true')\n",
        "deep": "(" * 5000 + "\n",
        "half a dictionary": "{'descr': '<f4', \n",
        "letters": "\xff\xfe\x00\x01" * 9,
        "a long header": described() + " " * 20_000 + "\n",
    }
    found = {f"{name}.npy": npy(header, values) for name, header in headers.items()}
    return found | {
        "a header beyond the end.npy": npy(described(), values, said=60_000),
        "a header of nothing.npy": npy("", values),
        "version 2 of 4 GB.npy": npy(described(), values, version=(2, 0), said=2**32 - 1),
        "version 3.npy": npy(described(), values, version=(3, 0)),
        "version 9.npy": npy(described(), values, version=(9, 9)),
        "values too many.npy": npy(described(), values + b"abcd"),
        "values too few.npy": npy(described(), values[:-1]),
        "magic alone.npy": b"\x93NUMPY",
        "infinite.npy": npy(described(), (ONE * np.inf).tobytes()),
        "signed bytes.npy": npy(described(descr="|i1"), bytes(range(64))),
    }


def archive(members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    """A zip archive of them."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", method) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return made.getvalue()


def npz_files() -> dict[str, bytes]:
    """By name."""
    good = npy(described(), ONE.tobytes())
    sound, packed = archive({"images.npy": good}), archive({"images.npy": good * 50}, zipfile.ZIP_DEFLATED)
    central = sound.index(b"PK\x01\x02")

    def patched(place: int, bytes_: bytes, whole: bytes = sound) -> bytes:
        return whole[:place] + bytes_ + whole[place + len(bytes_) :]

    bomb = npy(described(descr="|u1", shape=(3_000, 1, 80, 80)), bytes(19_200_000))
    return {
        "encrypted.npz": patched(central + 8, b"\1\0", patched(6, b"\1\0")),
        "unknown method.npz": patched(central + 10, b"\x63\0", patched(8, b"\x63\0")),
        "wrong sum.npz": patched(central + 16, b"abcd", patched(14, b"abcd")),
        "sizes that lie.npz": patched(central + 24, struct.pack("<I", 2**31)),
        "offset beyond.npz": patched(central + 42, struct.pack("<I", 2**31)),
        "a name that is none.npz": patched(30, b"\xff" * 10),
        "cut.npz": sound[:-30],
        "damaged.npz": patched(len(packed) // 2, b"\xff" * 20, packed),
        "empty.npz": archive({}),
        "text within.npz": archive({"images.npy": b"hello"}),
        "no array within.npz": archive({"images.txt": b"hello"}),
        "paths within.npz": archive({"../../images.npy": good[:-4]}),
        "an archive within.npz": archive({"images.npy": sound}),
        "a pickle within.npz": archive({"images.npy": npy(described(descr="|O", shape=(1,)), b"\x80\x04N.")}),
        "a bomb.npz": archive({"images.npy": bomb}, zipfile.ZIP_DEFLATED),
    }


def idx(kind: int, sizes: tuple[int, ...], values: bytes, dimensions: int | None = None) -> bytes:
    """An IDX file of that head."""
    given = len(sizes) if dimensions is None else dimensions
    return bytes([0, 0, kind, given]) + struct.pack(f">{len(sizes)}I", *sizes) + values


def idx_files() -> dict[str, bytes]:
    """By name."""
    sound = idx(8, (1, 8, 8), bytes(range(100, 164)))
    return {
        "huge.idx": idx(8, (2**32 - 1,) * 3, bytes(9)),
        "more than memory.idx": idx(8, (2**31, 28, 28), bytes(9)),
        "of none.idx": idx(8, (0, 8, 8), b""),
        "of no width.idx": idx(8, (1, 8, 0), b""),
        "of floats.idx": idx(0x0D, (1, 8, 8), bytes(256)),
        "of another type.idx": idx(0x07, (1, 8, 8), bytes(64)),
        "half a head.idx": sound[:9],
        "no values.idx": sound[:16],
        "one value less.idx": sound[:-1],
        "one value more.idx": sound + b"a",
        "of labels.idx": idx(8, (64,), bytes(64)),
        "of another shape.idx": idx(8, (1, 9, 7), bytes(range(63))),
        "four dimensions said.idx": idx(8, (1, 8, 8), bytes(64), dimensions=4),
        "cut.idx.gz": gzip.compress(sound)[:-12],
        "wrong sum.idx.gz": gzip.compress(sound)[:-8] + b"abcdefgh",
        "damaged.idx.gz": gzip.compress(sound)[:14] + b"\xff" * 30,
        "two heads.idx.gz": gzip.compress(gzip.compress(sound)),
        "a bomb.idx.gz": gzip.compress(idx(8, (1, 8, 8), bytes(50_000_000)), 1),
        "junk behind.idx.gz": gzip.compress(sound) + b"\x1f\x8bjunk",
    }


# --- pictures -------------------------------------------------------------------------------------------------------


def picture(kind: str, mode: str = "L", **options: Any) -> bytes:
    """An encoded picture."""
    made = io.BytesIO()
    Image.new(mode, (8, 8), 100).save(made, kind, **options)
    return made.getvalue()


def png(width: int, height: int, depth: int = 8, colour: int = 0, rows: bytes = b"") -> bytes:
    """A PNG that says of itself what it need not be."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def pictures() -> dict[str, bytes]:
    """By name."""
    kinds = ("PNG", "JPEG", "GIF", "TIFF", "BMP", "WEBP", "PPM", "ICO", "JPEG2000")
    whole = {kind: picture(kind, "RGB" if kind in ("WEBP", "JPEG2000") else "L") for kind in kinds}
    cut = {f"half.{kind.lower()}": content[: len(content) // 2] for kind, content in whole.items() if kind != "PPM"}
    heads = {f"head.{kind.lower()}": content[:16] for kind, content in whole.items()}
    return {
        **cut, **heads,
        "no width.png": png(0, 8), "no values.png": png(8, 8), "wide.png": png(2**31 - 1, 2**31 - 1),
        "large.png": png(60_000, 60_000, 1), "depth of none.png": png(8, 8, 3), "colour of none.png": png(8, 8, 8, 9),
        "damaged.png": whole["PNG"].replace(b"IDAT", b"IDAX"),
        "wrong sum.png": whole["PNG"][:20] + b"\xff" + whole["PNG"][21:],
        "a web page.png": b"<!doctype html><html></html>", "a drawing.svg": b"<svg/>",
        "words.png": "Ünïcode\n".encode(),
        "zeros.png": bytes(4000), "page.pdf": b"%PDF-1.7", "sizes.ppm": b"P5 99999999 99999999 255\n",
        "letters.ppm": b"P5 a b 255\n", "empty.jpg": b"",
    }  # fmt: skip
