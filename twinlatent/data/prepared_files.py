"""Where prepared data sets lie, and what they may be called: `prepared/NAME.npz` in a data folder or the cache."""

import re
from collections.abc import Collection
from pathlib import Path

from twinlatent.data.downloads import folders
from twinlatent.errors import TwinlatentError

PREPARED = "prepared"
SUFFIX = ".npz"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


def check_name(name: str, taken: Collection[str]) -> None:
    """Raise a `TwinlatentError` unless a prepared set may be called `name`; `taken` are names of other sets."""
    if not NAME.fullmatch(name):
        raise TwinlatentError(f"{name!r} cannot name a data set; use letters, digits, - and _, 64 at most")
    if name.lower() in taken:
        raise TwinlatentError(f"{name!r} is a data set of its own; choose another name for your photographs")


def path_of(name: str, folder: Path | None = None) -> Path:
    """Where the prepared set `name` is written: below a data folder, or the cache if None."""
    return (folders(PREPARED)[-1] if folder is None else folder / PREPARED) / f"{name}{SUFFIX}"


def find(name: str) -> Path | None:
    """The file of the prepared set `name` on this machine, None if there is none."""
    return {path.stem: path for path in reversed(_all())}.get(name)


def hidden(name: str) -> list[Path]:
    """Further files of prepared sets called `name`, which are not found since another comes first."""
    return [path for path in _all() if path.stem == name][1:]


def prepared_names() -> tuple[str, ...]:
    """Names of the prepared sets on this machine, sorted."""
    return tuple(sorted({path.stem for path in _all()}))


def _all() -> list[Path]:
    """All prepared files, those of the data folder first."""
    found = []
    for folder in folders(PREPARED):
        paths = folder.glob(f"*{SUFFIX}") if folder.is_dir() else ()
        found += [path for path in paths if NAME.fullmatch(path.stem)]
    return found
