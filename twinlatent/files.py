"""Writing files so that a reader never sees half of one."""

import errno
import json
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

SCRAP = re.compile(r"\..+\.twinlatent-(?P<process>\d+)-[a-z0-9_]{8}(\.[^.]+)?", re.DOTALL)
"""Name of a temporary file: the target's, whose process writes it, eight letters, the target's suffix."""
DENIED = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
LONGEST = 40
"""Letters of the target's name in it, at most."""


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` if the block succeeds.

    If the block raises (Ctrl-C included) the temporary file is removed and whatever stood
    at `path` before is untouched. Missing parent folders are made. An `OSError` that names no file, or the temporary
    one, names `path`.
    """
    path = Path(path)
    start = f".{path.name[:LONGEST]}.twinlatent-"
    with naming(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        sweep(path.parent, start)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f"{start}{os.getpid()}-", suffix=path.suffix)
        os.close(handle)
    temporary = Path(name)
    try:
        with naming(path):
            yield temporary
            with temporary.open("rb+") as written:
                os.fsync(written.fileno())
            temporary.chmod(0o666 & ~_umask())
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Let an `OSError` out of the block name `path` if it names nothing that a user knows: a full disk names none.

    Where nothing may be written it says what to do.
    """
    try:
        yield
    except OSError as error:
        named = None if error.filename is None else Path(str(error.filename))
        hidden = named is None or SCRAP.fullmatch(named.name)
        if error.errno in DENIED and (hidden or named in path.parents):
            raise OSError(error.errno, f"{error.strerror}; give another place", str(path)) from error
        if error.errno is not None and hidden:
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise


def sweep(folder: Path, start: str = "") -> None:
    """Remove temporary files of processes that are gone, of those only whose names have that `start`."""
    with suppress(OSError):  # what cannot be looked through is left as it is
        for name in os.listdir(folder):
            scrap = SCRAP.fullmatch(name) if name.startswith(start) else None
            if scrap and not _alive(int(scrap["process"])):
                with suppress(OSError):
                    (folder / name).unlink()


def _alive(process: int) -> bool:
    """Whether there is such a process."""
    if sys.platform == "win32":  # where os.kill(process, 0) would end it
        import ctypes

        synchronize = 0x00100000
        handle = ctypes.windll.kernel32.OpenProcess(synchronize, False, process)
        if handle:
            ctypes.windll.kernel32.CloseHandle(handle)
        return bool(handle)
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True
    return True


def _umask() -> int:
    """What the user keeps from others; it can only be read by setting it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def write_text(path: str | Path, text: str) -> None:
    """Write UTF-8 `text` to `path`, whole or not at all. What is no text, as in some names of files, is escaped."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def write_json(path: str | Path, value: Any) -> None:
    """Write `value` as indented JSON to `path`, whole or not at all. NaN and infinity are refused."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")
