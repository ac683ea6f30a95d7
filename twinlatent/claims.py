"""Who writes into a folder owns it: one process at a time, and never what somebody else put there."""

import errno
import os
import platform
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from twinlatent.errors import TwinlatentError
from twinlatent.files import sweep

LOCK = ".twinlatent.lock"
"""Of a folder, while somebody writes into it; it says who."""
OURS = re.compile(
    r"(state|judge|detector|substitute-.+|proof-[0-9a-f]{32})\.safetensors|log\.jsonl|(identity|evaluation|seconds|training)\.json"
    rf"|.+-\d{{6,}}\.npz|{re.escape(LOCK)}"
)
"""Names of the files that the package keeps of unfinished work: of trainings, networks, batches of an attack."""
_TAKEN = frozenset({errno.EACCES, errno.EAGAIN, errno.EDEADLK})


@contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Own `folder` while the block runs; it is made, and scraps of killed writers in it are removed.

    The lock is the operating system's and ends with the process, however that ends. Where a file system has no locks,
    nobody is kept out. A folder that was made for nothing is removed again.

    Raises:
        TwinlatentError: another process, or another call in this one, owns it; or it cannot be written.
    """
    with _locked(folder / LOCK, folder):
        sweep(folder)
        yield


@contextmanager
def claimed_file(path: Path) -> Iterator[None]:
    """Own the file `path`, and what is kept beside it, while the block runs; otherwise as `claimed`."""
    with _locked(path.with_name(f".{path.name}.lock"), path):
        yield


def refuse_present(folder: Path, names: Iterable[str], what: str, mend: str = "give another folder") -> None:
    """Raise `TwinlatentError` if one of the files is in the folder, which then is said to hold `what`; do `mend`."""
    there = next((name for name in names if os.path.lexists(folder / name)), None)
    if there is not None:
        raise TwinlatentError(f"{folder} holds {what} already ({there}); {mend}")


def holds_work(folder: Path) -> bool:
    """Whether any unfinished work is kept below `folder`: a network, or a batch of an attack."""
    return any(path.suffix in (".npz", ".safetensors") and OURS.fullmatch(path.name) for path in folder.rglob("*"))


def clear(folder: Path) -> None:
    """Remove the files of unfinished work below `folder`, and folders that are empty then. Other files stay."""
    for place, _, names in os.walk(folder, topdown=False):
        for name in names:
            if OURS.fullmatch(name):
                (Path(place) / name).unlink(missing_ok=True)
        sweep(Path(place))
        with suppress(OSError):
            os.rmdir(place)


# --- the lock -------------------------------------------------------------------------------------------------------


@contextmanager
def _locked(path: Path, what: Path) -> Iterator[None]:
    """Hold the lock file `path`, which is there only while somebody does or did until killed."""
    made = [place for place in path.parents if not place.exists()]
    handle = _taken(path, what)
    try:
        yield
    finally:
        if sys.platform == "win32":  # where nobody can remove an open file
            os.close(handle)
        with suppress(OSError):
            path.unlink()
        if sys.platform != "win32":
            os.close(handle)
        for place in made:
            with suppress(OSError):
                place.rmdir()


def _taken(path: Path, what: Path) -> int:
    while True:
        handle = _opened(path, what)
        try:
            _lock(handle)
        except OSError as error:
            if error.errno in _TAKEN:
                holder = _holder(handle)
                os.close(handle)
                raise TwinlatentError(f"{what} is being written by {holder}; wait for it, or give another") from None
        try:
            if os.path.samestat(os.fstat(handle), path.stat()):
                break
        except OSError:
            pass
        os.close(handle)  # who had it before removed it in between
    with suppress(OSError):  # on a full disk the lock holds all the same
        os.ftruncate(handle, 0)
        os.write(handle, f"{os.getpid()} {platform.node()}".encode())
    return handle


def _opened(path: Path, what: Path) -> int:
    for attempt in range(10):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            return os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except FileNotFoundError as error:  # somebody removed the empty folder in between
            if attempt == 9:
                raise _unwritable(path.parent, what, error) from error
        except OSError as error:
            raise _unwritable(path.parent, what, error) from error
    raise AssertionError


def _unwritable(folder: Path, what: Path, error: OSError) -> TwinlatentError:
    file = next((place for place in (folder, *folder.parents) if place.exists() and not place.is_dir()), None)
    reason = f"{file} is a file, no folder" if file is not None else f"{folder}: {error.strerror or error}"
    return TwinlatentError(f"{what} cannot be written ({reason}); give another place")


def _lock(handle: int) -> None:
    """Lock the whole file, or raise `OSError` at once."""
    if sys.platform == "win32":
        import msvcrt

        os.lseek(handle, 1 << 20, os.SEEK_SET)  # beyond the text, which others may read
        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        finally:
            os.lseek(handle, 0, os.SEEK_SET)
    else:
        import fcntl

        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _holder(handle: int) -> str:
    try:
        os.lseek(handle, 0, os.SEEK_SET)
        process, _, machine = os.read(handle, 200).decode().partition(" ")
        number = int(process)
    except (OSError, ValueError):
        return "another process"
    if machine != platform.node():
        return f"process {number} on {machine}"
    return "another call in this process" if number == os.getpid() else f"process {number}"
