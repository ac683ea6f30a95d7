"""Packages whose public names are imported when they are first asked for, PEP 562: importing the package costs nothing.

Beside the table that it hands over, such a package imports its names under `if TYPE_CHECKING`, for whoever reads it
without running it; `tests/test_architecture.py` compares both.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any


def lazily(package: str, homes: Mapping[str, Sequence[str]]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """What a package calls `__getattr__` and `__dir__`.

    Args:
        package: its `__name__`.
        homes: module -> the public names that it defines; the package itself -> those that are modules in it.
    """
    home_of = {name: home for home, names in homes.items() for name in names}

    def get(name: str) -> Any:
        home = home_of.get(name)
        if home is None:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        found = import_module(f"{home}.{name}") if home == package else getattr(import_module(home), name)
        setattr(sys.modules[package], name, found)
        return found

    def names() -> list[str]:
        return sorted({*vars(sys.modules[package]), *home_of})

    return get, names
