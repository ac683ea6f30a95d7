"""Numbers, texts and paths from the caller: Python's, NumPy's or torch's, made Python's own or refused in one line."""

import math
import operator
import os
import sys
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from twinlatent.errors import TwinlatentError

LARGEST = sys.float_info.max


def whole(name: str, value: object, *, least: int = 1, most: float = math.inf, wanted: str = "") -> int:
    """A whole number of at least `least` and at most `most`.

    Args:
        name: of the argument, for the error.
        value: an int, a NumPy integer, or an array or tensor of no dimension that holds one; no bool.
        least: the smallest that will do.
        most: the largest that will do.
        wanted: what to ask for instead of "a whole number of at least ...".

    Raises:
        TwinlatentError: it is something else.
    """
    number = _plain(value)
    if not isinstance(number, int) or not least <= number <= most:
        raise TwinlatentError(f"{name} is {_shown(value)}; give {wanted or f'a whole number of at least {least}'}")
    return number


def real(
    name: str,
    value: object,
    *,
    least: float = -LARGEST,
    above: float = -math.inf,
    most: float = LARGEST,
    below: float = math.inf,
    wanted: str = "",
) -> float:
    """A finite number in a range; float32 and coarser ones become the shortest decimal that they stand for.

    So `np.float32(0.05)` is 0.05, the number that was meant, and not 0.0500000007.

    Args:
        name: of the argument, for the error.
        value: a number, or an array or tensor of no dimension that holds one; no bool.
        least: the smallest that will do.
        above: what is already too small.
        most: the largest that will do.
        below: what is already too large.
        wanted: what to ask for instead of a number in that range.

    Raises:
        TwinlatentError: it is something else.
    """
    number = _plain(value)
    if number is None or not (least <= number <= most and above < number < below):
        raise TwinlatentError(f"{name} is {_shown(value)}; give {wanted or _range(least, above, most, below)}")
    return float(number)


def by_value(value: Any) -> Any:
    """NumPy's and torch's numbers as Python's own, alone or in a tuple, list or array; everything else as it is.

    For the fields of a pydantic model, whose own checks follow.
    """
    if isinstance(value, tuple | list) or (isinstance(value, Tensor | np.ndarray) and value.ndim):
        return tuple(by_value(item) for item in value)
    number = _held(value) if isinstance(value, Tensor | np.ndarray | np.generic) else None
    return value if number is None else number


def texts(name: str, value: object) -> tuple[str, ...]:
    """Texts of a list, tuple or array (n,); `TwinlatentError` if it is something else or holds something else."""
    given = value.tolist() if isinstance(value, np.ndarray) else value
    if not isinstance(given, list | tuple) or not all(isinstance(item, str) for item in given):
        raise TwinlatentError(f"{name} is {value!r:.60}; give a list of texts".replace("\n", " "))
    return tuple(map(str, given))


def text(name: str, value: object) -> str:
    """A text; `TwinlatentError` if it is something else."""
    if not isinstance(value, str):
        raise TwinlatentError(f"{name} is {value!r:.60}; give a text".replace("\n", " "))
    return value


def file_path(name: str, value: object) -> Path:
    """A path, given as text or as a path; `TwinlatentError` if it is something else, bytes among it."""
    given = value.__fspath__() if isinstance(value, os.PathLike) else value
    if not isinstance(given, str):
        raise TwinlatentError(f"{name} is {value!r:.60}; give a path as text or a Path".replace("\n", " "))
    return Path(given)


def understood(settings: object, **numbers: float | None) -> None:
    """Put numbers as they were understood into a frozen dataclass, in its `__post_init__`."""
    for name, number in numbers.items():
        object.__setattr__(settings, name, number)


def _plain(value: object) -> int | float | None:
    """Python's own number; None for what is none."""
    if isinstance(value, Tensor | np.ndarray | np.generic):
        return _held(value)
    if isinstance(value, bool):
        return None
    if hasattr(type(value), "__index__"):
        return operator.index(value)  # type: ignore[arg-type]
    return float(value) if isinstance(value, Real) else None


def _held(value: "Tensor | np.ndarray[Any, Any] | np.generic") -> int | float | None:
    """The one number in it."""
    if value.ndim or (isinstance(value, Tensor) and value.is_meta):
        return None
    number = value.item()
    if isinstance(number, bool) or not isinstance(number, int | float):
        return None
    return _shortest(number, value) if isinstance(number, float) and math.isfinite(number) else number


def _shortest(number: float, value: "Tensor | np.ndarray[Any, Any] | np.generic") -> float:
    """The decimal of fewest digits that is this number in its own precision."""
    digits = range(1, 17)
    for short in (float(f"{number:.{count}g}") for count in digits):
        same = torch.tensor(short, dtype=value.dtype) if isinstance(value, Tensor) else value.dtype.type(short)
        if same.item() == number:
            return short
    return number


def _shown(value: object) -> str:
    if isinstance(value, Tensor | np.ndarray) and value.ndim:
        return f"an array of shape {tuple(value.shape)}"
    plain = _plain(value)
    return str(value if plain is None else plain)


def _range(least: float, above: float, most: float, below: float) -> str:
    low = f"of at least {least:g}" if least > -LARGEST else f"above {above:g}" if math.isfinite(above) else ""
    high = f"at most {most:g}" if most < LARGEST else f"below {below:g}" if math.isfinite(below) else ""
    return " ".join(["a number", *filter(None, [low, low and high and "and", high])])
