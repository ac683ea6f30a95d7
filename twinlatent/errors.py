"""The one exception family of the package: a line that names the bad value and the mend."""

from collections.abc import Mapping, Sequence
from typing import Any

MISSING = object()


class TwinlatentError(ValueError):
    """Bad input. The message is one line, names the offending value and says how to mend it.

    The command line prints the message alone, without a traceback.
    """

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message))


def extra(name: str) -> str:
    """What to type for an optional part of the package: pip finds no release of it on an index.

    Example:
        >>> print(extra("ray"))
        pip install '.[ray]' in a copy of the project, or 'FILE.whl[ray]' where you have its wheel
    """
    return f"pip install '.[{name}]' in a copy of the project, or 'FILE.whl[{name}]' where you have its wheel"


def one_line(text: str) -> str:
    r"""`text` with all that cannot be printed, as line breaks or bytes in a file's name that are no text, escaped.

    Example:
        >>> print(one_line("a\nb\udcff.png"))
        a\nb\udcff.png
    """
    return "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in text)


def brief(error: object, most: int = 120) -> str:
    r"""What an error says, blanks and line breaks made single blanks, as far as so many characters go.

    Example:
        >>> brief(ValueError("two\n  lines"), most=7)
        'two lin'
    """
    return " ".join(str(error).split())[:most]


def listed(names: Sequence[str], most: int = 3) -> str:
    """The first names of what differs, separated by commas, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def differing(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Names, sorted, of what differs, or is in one alone; where both have a mapping, the names in that.

    Example:
        >>> differing({"seed": 0, "asked": {"steps": 5, "fpr": 0.05}}, {"seed": 0, "asked": {"steps": 6, "fpr": 0.05}})
        ['steps']
    """
    names: list[str] = []
    for name in sorted({*before, *now}):
        one, other = before.get(name, MISSING), now.get(name, MISSING)
        if isinstance(one, Mapping) and isinstance(other, Mapping):
            names += differing(one, other)
        elif one != other:
            names.append(name)
    return list(dict.fromkeys(names))
