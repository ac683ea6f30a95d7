"""What a file is, by its first bytes, where it is not what is wanted; and what to do with it."""

import gzip
import stat
import zlib
from pathlib import Path
from typing import IO, cast

from twinlatent.errors import TwinlatentError

HEAD_BYTES = 1024
NUMPY, ZIP, GZIP = b"\x93NUMPY", (b"PK\x03\x04", b"PK\x05\x06"), b"\x1f\x8b"

_CONVERT = "convert it to PNG or JPEG"
_AS_ARRAY = "save its images as an array with numpy.save"
_UNPACK = "unpack it"
_FRAMES = "save its pictures as PNG or JPEG"
_TORCH = ("a PyTorch file", "save its tensor of images as an array: numpy.save('images.npy', tensor.numpy())")
_ARRAYS = ("an array file", "save its images as PNG; `detect` alone reads arrays")
_BRANDS = (  # of files that start with a box `ftyp`
    ((b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1"), "a HEIC photograph"),
    ((b"avif", b"avis"), "an AVIF picture that cannot be read here"),
    ((b"crx ",), "a raw photograph"),
)
_KINDS = (  # offset, bytes there, what it is, what to do
    (0, b"FUJIFILMCCD-RAW", "a raw photograph", _CONVERT),
    (0, b"IIRO", "a raw photograph", _CONVERT),
    (0, b"IIU\0", "a raw photograph", _CONVERT),
    (0, b"FOVb", "a raw photograph", _CONVERT),
    (0, b"\xff\x0a", "a JPEG XL picture", _CONVERT),
    (0, b"\0\0\0\x0cJXL ", "a JPEG XL picture", _CONVERT),
    (0, b"\x76\x2f\x31\x01", "an OpenEXR picture", _CONVERT),
    (0, b"#?R", "a Radiance HDR picture", _CONVERT),
    (0, b"P7\n", "a PAM picture", _CONVERT),
    (0, b"%PDF", "a PDF document", _CONVERT),
    (0, b"%!PS", "a PostScript document", _CONVERT),
    (0, b"\xc5\xd0\xd3\xc6", "a PostScript document", _CONVERT),
    (128, b"DICM", "a DICOM picture", _CONVERT),
    (344, b"n+1\0", "a NIfTI volume", _AS_ARRAY),
    (0, b"SIMPLE  =", "a FITS picture", _AS_ARRAY),
    (0, b"\x1a\x45\xdf\xa3", "a video", _FRAMES),
    (0, b"\0\0\x01\xba", "a video", _FRAMES),
    (0, b"\0\0\x01\xb3", "a video", _FRAMES),
    (8, b"AVI ", "a video", _FRAMES),
    (0, b"\x89HDF\r\n\x1a\n", "an HDF5 file", _AS_ARRAY),
    (0, b"MATLAB", "a MATLAB file", _AS_ARRAY),
    (8, b'{"', "a safetensors file", _AS_ARRAY),
    (0, b"PAR1", "a Parquet file", _AS_ARRAY),
    (0, b"ARROW1", "an Arrow file", _AS_ARRAY),
    (0, b"SQLite format 3\0", "a database", _AS_ARRAY),
    (0, NUMPY, *_ARRAYS),
    (257, b"ustar", "an archive", _UNPACK),
    (0, b"7z\xbc\xaf\x27\x1c", "an archive", _UNPACK),
    (0, b"Rar!", "an archive", _UNPACK),
    (0, b"BZh", "a compressed file", _UNPACK),
    (0, b"\xfd7zXZ\0", "a compressed file", _UNPACK),
    (0, b"\x28\xb5\x2f\xfd", "a compressed file", _UNPACK),
    (0, b"version https://git-lfs", "a placeholder of Git LFS", "fetch the file itself with `git lfs pull`"),
)


class UnreadableFileError(TwinlatentError):
    """A file that is another than it should be, or that must not or cannot be read.

    Attributes:
        fault: what is wrong with it, without its path.
    """

    def __init__(self, path: Path | str, fault: str, mend: str) -> None:
        super().__init__(f"{path}: {fault}; {mend}")
        self.fault = fault


def check_file(path: Path) -> None:
    """Raise an `UnreadableFileError` unless `path` is a regular file; others could be waited for without end."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        if path.is_symlink():
            fault = f"is a link to {path.readlink()}, which is not there"
            raise UnreadableFileError(path, fault, "put the file there, or give another") from None
        raise UnreadableFileError(path, "no such file", "give one that is there") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UnreadableFileError(path, f"cannot be read ({reason})", "mend that, or give another file") from None
    if stat.S_ISDIR(mode):
        raise UnreadableFileError(path, "is a folder, not a file", "give the files in it")
    if not stat.S_ISREG(mode):
        raise UnreadableFileError(path, f"is a {_special(mode)}, no regular file", "copy what it holds into a file")


def _special(mode: int) -> str:
    if stat.S_ISFIFO(mode):
        return "pipe"
    return "socket" if stat.S_ISSOCK(mode) else "device"


def head_of(path: Path) -> bytes:
    """The first bytes of a regular file.

    Raises:
        UnreadableFileError: it is none, or cannot be read.
    """
    check_file(path)
    try:
        with path.open("rb") as file:
            return file.read(HEAD_BYTES)
    except OSError as error:
        raise UnreadableFileError(path, f"cannot be read ({error.strerror})", "mend its permissions") from None


def foreign(path: Path | str, head: bytes) -> UnreadableFileError | None:
    """What a file that starts with `head` is, as the error to raise; None if that is not known."""
    if not head:
        return UnreadableFileError(path, "is empty", "put a whole file in its place")
    what, mend = _by_box(head) or _by_table(head) or _by_zip(head) or _by_pickle(head) or _by_text(head) or ("", "")
    return UnreadableFileError(path, f"is {what}", mend) if what else None


def _by_box(head: bytes) -> tuple[str, str] | None:
    if head[4:8] != b"ftyp":
        return None
    length = max(16, int.from_bytes(head[:4], "big"))
    brands = {head[8:12], *(head[start : start + 4] for start in range(16, min(length, len(head)), 4))}
    for known, what in _BRANDS:
        if brands.intersection(known):
            return what, _CONVERT
    return "a video", _FRAMES


def _by_table(head: bytes) -> tuple[str, str] | None:
    return next((row[2:] for row in _KINDS if head.startswith(row[1], row[0])), None)


def _by_zip(head: bytes) -> tuple[str, str] | None:
    """Several formats are zip archives; the name of the first file in one tells them apart."""
    if head.startswith(GZIP):
        return "a gzip file", _UNPACK
    if not head.startswith(ZIP):
        return None
    first = _first_in_zip(head)
    if first.endswith((b"/data.pkl", b"/.format_version", b"/byteorder", b"/.data/serialization_id")):
        return _TORCH
    if is_npz(head):
        return _ARRAYS
    return "a zip archive", _UNPACK


def is_npz(head: bytes) -> bool:
    """Whether a file that starts so is an archive of arrays."""
    return head.startswith(ZIP) and _first_in_zip(head).endswith(b".npy")


def _first_in_zip(head: bytes) -> bytes:
    return head[30 : 30 + int.from_bytes(head[26:28], "little")]


def _by_pickle(head: bytes) -> tuple[str, str] | None:
    if head[:1] != b"\x80" or head[1:2] not in (b"\2", b"\3", b"\4", b"\5"):
        return None
    if b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19." in head[:32]:  # PyTorch's files until 1.6
        return _TORCH
    return "a pickle, which is never loaded", _AS_ARRAY


def _by_text(head: bytes) -> tuple[str, str] | None:
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith(b"<svg") or (start.startswith(b"<?xml") and b"<svg" in start):
        return "an SVG drawing", _CONVERT
    if start.startswith((b"<!doctype html", b"<html")):
        return "a web page", "download the file itself"
    return None


def inner_head(path: Path, head: bytes) -> bytes:
    """The first bytes of what a gzip file holds, or `head` itself of another file or of a damaged one."""
    if not head.startswith(GZIP):
        return head
    try:
        with gzip.open(path) as file:
            return file.read(4)
    except (OSError, EOFError, zlib.error):
        return head


def unpacked(path: Path) -> IO[bytes]:
    """The content of a file, or of what is in it if it is a gzip file.

    Raises:
        UnreadableFileError: it is no regular file, or cannot be read. What is wrong with a gzip file shows when it is
            read.
    """
    if head_of(path).startswith(GZIP):
        return cast(IO[bytes], gzip.open(path))
    return path.open("rb")
