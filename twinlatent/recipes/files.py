"""The files of recipes: which ship, and what one says. Light, so that they can be listed at once."""

import tomllib
from functools import cache
from pathlib import Path
from typing import Any

from twinlatent.errors import TwinlatentError, brief

FOLDER = Path(__file__).parent
RULES = FOLDER / "rules"


def names() -> tuple[str, ...]:
    """Names of the recipes that ship with the package."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.toml")))


@cache
def about(name: str) -> dict[str, Any]:
    """What the file of a shipped recipe says; not to be changed."""
    return read(FOLDER / f"{name}.toml")


@cache
def rule(name: str) -> dict[str, Any]:
    """What the file of a rule says, nothing where there is none; not to be changed."""
    path = RULES / f"{name}.toml"
    return read(path) if path.exists() else {}


def read(path: Path) -> dict[str, Any]:
    """What a file says.

    Raises:
        TwinlatentError: it is no TOML, or cannot be read.
    """
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except (OSError, ValueError, RecursionError) as error:  # TOML's and UTF-8's errors are values'
        reason = error.strerror if isinstance(error, OSError) else brief(error)
        raise TwinlatentError(f"{path} is no recipe in TOML: {reason}") from error
