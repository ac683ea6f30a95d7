"""Reading .npy and .npz files, after a look at what they claim to hold; nothing is unpickled."""

import math
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from twinlatent.data.kinds import check_file
from twinlatent.data.limits import check_memory
from twinlatent.errors import TwinlatentError, brief

SUFFIX = ".npy"
MAGIC = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
NAMED = 4  # arrays that a message names


class ArrayFileError(TwinlatentError):
    """A file of arrays that is damaged, or holds what cannot be read; the message does not name it."""


@dataclass(frozen=True)
class Header:
    """What an array is by its file: shape and type of its values."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]


def read_npy(path: Path) -> NDArray[Any]:
    """Read an .npy file.

    Raises:
        TwinlatentError: it is damaged, holds no plain array or another number of values than it says, or does not fit
            into memory.
    """
    with _faults_of(path), path.open("rb") as file:
        return _read(file, path.stat().st_size)


def npy_of(body: bytes, name: str) -> NDArray[Any]:
    """The array of an .npy file that is in memory; errors call it `name`.

    Raises:
        TwinlatentError: as `read_npy`.
    """
    with _faults(name):
        return _read(BytesIO(body), len(body))


def read_npz(path: Path, names: Sequence[str]) -> dict[str, NDArray[Any]]:
    """Read the arrays called `names` of an .npz file.

    Raises:
        TwinlatentError: as `read_npy`, or there is no array of such a name.
    """
    with _faults_of(path), zipfile.ZipFile(path) as archive:
        return {name: _read_member(archive, name) for name in names}


def headers(path: Path) -> dict[str, Header]:
    """What an .npz file holds, by name, in its order.

    Raises:
        TwinlatentError: as `read_npz`.
    """
    found = {}
    with _faults_of(path), zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            if name.endswith(SUFFIX):
                with archive.open(name) as file:
                    found[name.removesuffix(SUFFIX)] = _header(file)
    return found


def listed(names: Sequence[str]) -> str:
    """A few names of arrays, and how many more there are."""
    more = f" and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more or "nothing"


def _read_member(archive: zipfile.ZipFile, name: str) -> NDArray[Any]:
    try:
        size = archive.getinfo(f"{name}{SUFFIX}").file_size
    except KeyError:
        have = [member.removesuffix(SUFFIX) for member in archive.namelist()]
        raise ArrayFileError(f"holds no array {name!r}, but {listed(have)}") from None
    with archive.open(f"{name}{SUFFIX}") as file:
        return _read(file, size)


def _read(file: IO[bytes], size: int) -> NDArray[Any]:
    header = _header(file)
    if header.dtype.hasobject:
        raise ArrayFileError("holds Python objects, which are never loaded; save a plain array of numbers")
    values, there = math.prod(header.shape) * header.dtype.itemsize, size - file.tell()
    if values != there:
        raise ArrayFileError(f"is damaged: it should hold {values:,} bytes of values and holds {there:,}")
    check_memory(math.prod(header.shape[:-2]), math.prod(header.shape[-2:]), "array")
    file.seek(0)
    array: NDArray[Any] = np.lib.format.read_array(file, allow_pickle=False)
    return array


def _header(file: IO[bytes]) -> Header:
    version = np.lib.format.read_magic(file)
    if version not in MAGIC:
        raise ArrayFileError("holds an array of named fields; save a plain array of numbers")
    shape, _, dtype = MAGIC[version](file)
    return Header(shape, dtype)


@contextmanager
def _faults_of(path: Path) -> Iterator[None]:
    """Turn whatever goes wrong within the block into a `TwinlatentError` that names the file."""
    check_file(path)
    with _faults(path):
        yield


@contextmanager
def _faults(name: Path | str) -> Iterator[None]:
    try:
        yield
    except TwinlatentError as error:
        raise ArrayFileError(f"{name} {error}") from None
    except OSError as error:
        raise ArrayFileError(f"{name} cannot be read ({error.strerror or error}); mend that") from None
    except Exception as error:  # NumPy's and zip's readers raise nearly every type on damaged files
        reason = brief(error, most=80)
        raise ArrayFileError(f"{name} is no array file, or damaged ({reason}); save it anew") from None
