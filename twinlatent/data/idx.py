"""The IDX format of the MNIST family: magic number, sizes, then the values; gzipped or not.

The magic number is two zero bytes, the type of the values and the number of dimensions; each size is a big-endian
32-bit number.
"""

import gzip
import math
import struct
import zlib
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from twinlatent.data.kinds import unpacked
from twinlatent.data.limits import check_memory
from twinlatent.errors import TwinlatentError

UNSIGNED_BYTE = 0x08
TYPES = (UNSIGNED_BYTE, 0x09, 0x0B, 0x0C, 0x0D, 0x0E)
MOST_DIMENSIONS = 4


def is_idx(head: bytes) -> bool:
    """Whether a file that starts so, gzip aside, is an IDX file."""
    return len(head) >= 4 and head[:2] == b"\0\0" and head[2] in TYPES and 1 <= head[3] <= MOST_DIMENSIONS


def read_idx(path: Path, dimensions: int | None = None) -> NDArray[np.uint8]:
    """Read an IDX file of unsigned bytes, gzipped or not, that has `dimensions` dimensions, any number if None.

    Raises:
        TwinlatentError: the file cannot be read or unpacked, holds something else, is not exactly as long as its header
            says, or does not fit into memory.
    """
    try:
        with unpacked(path) as file:
            sizes = _sizes(path, file, dimensions)
            count = math.prod(sizes)
            check_memory(1, count, path)
            content = file.read(count + 1)
    except EOFError:
        raise _error(path, "is a gzip file cut short") from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise _error(path, f"is not a sound gzip file ({error})") from None
    except OSError as error:
        raise _error(path, f"cannot be read ({error.strerror})") from None
    if len(content) != count:
        held = f"only {len(content):,}" if len(content) < count else "more"
        raise _error(path, f"holds {held} values, its header says {count:,}")
    return np.frombuffer(content, np.uint8).reshape(sizes)


def _sizes(path: Path, file: IO[bytes], dimensions: int | None) -> tuple[int, ...]:
    magic = file.read(4)
    wanted = "bytes" if dimensions is None else f"bytes in {dimensions} dimensions"
    if not is_idx(magic) or magic[2] != UNSIGNED_BYTE or dimensions not in (None, magic[3]):
        raise _error(path, f"starts with {magic.hex() or 'nothing'}, not as IDX {wanted}")
    header = file.read(4 * magic[3])
    if len(header) < 4 * magic[3]:
        raise _error(path, "is cut short, in its header")
    return struct.unpack(f">{magic[3]}I", header)


def _error(path: Path, fault: str) -> TwinlatentError:
    return TwinlatentError(f"{path}: {fault}; put a sound copy in its place")
