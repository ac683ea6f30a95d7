"""The IDX format of the MNIST family: magic number, sizes, then the values; here always gzipped.

The magic number is two zero bytes, the type of the values and the number of dimensions; each size is a big-endian
32-bit number.
"""

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from twinlatent.errors import TwinlatentError

UNSIGNED_BYTE = 0x08


def read_idx(path: Path, dimensions: int) -> NDArray[np.uint8]:
    """Read a gzipped IDX file of unsigned bytes that has `dimensions` dimensions.

    Raises:
        TwinlatentError: the file cannot be read or unpacked, holds something else, or is not exactly as long as
            its header says.
    """
    content = _unpacked(path)
    header = 4 + 4 * dimensions
    if content[:4] != bytes((0, 0, UNSIGNED_BYTE, dimensions)) or len(content) < header:
        raise _error(path, f"starts with {content[:4].hex() or 'nothing'}, not as IDX bytes in {dimensions} dimensions")
    sizes = struct.unpack_from(f">{dimensions}I", content, 4)
    if len(content) - header != math.prod(sizes):
        raise _error(path, f"holds {len(content) - header} values, its header says {math.prod(sizes)}")
    return np.frombuffer(content, np.uint8, offset=header).reshape(sizes)


def _unpacked(path: Path) -> bytes:
    try:
        return gzip.decompress(path.read_bytes())
    except EOFError:
        raise _error(path, "is a gzip file cut short") from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise _error(path, f"is not a sound gzip file ({error})") from None
    except OSError as error:
        raise _error(path, f"cannot be read ({error.strerror})") from None


def _error(path: Path, fault: str) -> TwinlatentError:
    return TwinlatentError(f"{path}: {fault}; replace the file")
