"""Settings by name: one line of complaint for a wrong one, and changes such as `adversary.epsilon=0.3`."""

import difflib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from twinlatent.errors import TwinlatentError

Settings = TypeVar("Settings", bound=BaseModel)
LONGEST = 200
"""Letters of a wrong value that a line shows."""


def checked(make: Callable[[], Settings], above: str = "") -> Settings:
    """Make settings, with pydantic's complaint turned into one line that names the setting, its value and the mend.

    Args:
        make: makes them.
        above: what stands before their names in the line, such as `game.`.

    Raises:
        TwinlatentError: a setting is unknown, or its value is none for it.
    """
    try:
        return make()
    except ValidationError as error:
        first = error.errors()[0]
        name = above + ".".join(_place(first))
        if first["type"] == "extra_forbidden":
            raise TwinlatentError(f"setting {name!r} is unknown; docs/symbols.md lists them all") from error
        if first["type"] == "missing":
            raise TwinlatentError(f"setting {name!r} is missing; give it") from error
        message = _choices(error) or first["msg"].removeprefix("Value error, ")
        if isinstance(first["input"], Mapping):  # what is said of a whole table names its settings
            raise TwinlatentError(f"setting {name.rstrip('.')}: {message}" if name else message) from error
        given = repr(first["input"])[:LONGEST]
        raise TwinlatentError(f"setting {name} = {given}: {message}" if name else message) from error


def _place(error: Mapping[str, Any]) -> list[str]:
    """Names and numbers down to the setting, without pydantic's own, such as `literal['a','b']` and `[key]`."""
    return [str(part) for part in error["loc"] if not (isinstance(part, str) and "[" in part)]


def _choices(error: ValidationError) -> str:
    """What may be chosen for the first setting that is wrong, if all that may be are texts; else nothing."""
    first, *others = error.errors()
    same = [first, *(other for other in others if _place(other) == _place(first))]
    if any(each["type"] != "literal_error" for each in same):
        return ""
    texts = [text for each in same for text in re.findall(r"'([^']*)'", each["ctx"]["expected"])]
    return f"choose from {', '.join(texts)}" if texts else ""


def check_names(kind: type[BaseModel], values: Mapping[str, Any], above: str = "") -> None:
    """Refuse names that are no settings of `kind`, tables in tables too.

    Raises:
        TwinlatentError: the line names the setting and the known one that is nearest.
    """
    for name, value in values.items():
        if name not in kind.model_fields:
            raise unknown(f"{above}{name}", [f"{above}{known}" for known in kind.model_fields])
        _check_tables(kind.model_fields[name].annotation, value, f"{above}{name}")


def _check_tables(annotation: Any, value: Any, name: str) -> None:
    """Refuse a value where a table belongs, and wrong names in tables."""
    table = next((found for found in _types(annotation) if issubclass(found, BaseModel)), None)
    tables = next((part for part in _arms(annotation) if get_origin(part) is dict), None)
    if (table is None and tables is None) or (value is None and type(None) in _arms(annotation)):
        return
    if not isinstance(value, Mapping | BaseModel):
        raise TwinlatentError(f"setting {name} = {value!r}: it is a table; write [{name}] and its settings below")
    if isinstance(value, BaseModel):
        return
    if table is not None:
        check_names(table, value, f"{name}.")
        return
    for key, part in value.items():
        _check_tables(get_args(tables)[1], part, f"{name}.{key}")


def unknown(name: str, known: Sequence[str], elsewhere: Sequence[str] = ()) -> TwinlatentError:
    """The error for a setting that there is none of.

    Args:
        name: that was given.
        known: names that might stand in its place.
        elsewhere: whole names of settings in tables, one of which may end like it.
    """
    within = [whole for whole in elsewhere if whole.endswith(f".{name}")]
    near = within or difflib.get_close_matches(name, known, n=1)
    meant = f"did you mean {' or '.join(near)}?" if near else f"known are {', '.join(known)}"
    return TwinlatentError(f"setting {name!r} is unknown; {meant}")


def _types(annotation: Any) -> list[type]:
    """The classes that an annotation names, of a union all; none of other generic types."""
    return [part for part in _arms(annotation) if isinstance(part, type) and get_origin(part) is None]


def _arms(annotation: Any) -> tuple[Any, ...]:
    """What a union is one of, or the annotation itself."""
    return get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)


def override(settings: Settings, changes: Sequence[str]) -> Settings:
    """Change single settings, each as `"adversary.epsilon=0.3"`; `none` stands for None.

    Raises:
        TwinlatentError: a change without "=", an unknown setting, or a value out of range.
    """
    values, former = settings.model_dump(), getattr(settings, "FORMER", {})
    for change in changes:
        path, equals, value = change.partition("=")
        if not equals:
            raise TwinlatentError(f"setting {change!r} has no value; write it as NAME=VALUE, such as rounds=500")
        path = path.strip()
        now = former.get(path.split(".")[0])
        if now is not None:
            raise TwinlatentError(f"setting {path!r} is called {'.'.join([now, *path.split('.')[1:]])} now")
        *above, name = path.split(".")
        place = values
        for number, step in enumerate(above):
            if not isinstance(place.get(step), dict):
                before = "".join(f"{part}." for part in above[:number])
                raise unknown(path, [f"{before}{known}" for known in place])
            place = place[step]
        if name not in place:
            raise unknown(path, ["".join(f"{part}." for part in above) + known for known in place], flat(values))
        place[name] = None if value.strip().lower() == "none" else value.strip()
    return checked(lambda: type(settings)(**values))


def flat(values: Mapping[str, Any], above: str = "") -> list[str]:
    """The whole names of all settings, as `adversary.epsilon`."""
    found = []
    for name, value in values.items():
        found += flat(value, f"{above}{name}.") if isinstance(value, Mapping) else [f"{above}{name}"]
    return found


def as_toml(values: Mapping[str, Any]) -> str:
    """Settings as the text of a TOML file; what is None is left out, as it stands for the default."""
    return "\n".join(_lines(values, "")).strip() + "\n"


def _lines(values: Mapping[str, Any], above: str) -> Iterator[str]:
    tables = {name: value for name, value in values.items() if isinstance(value, Mapping)}
    plain = {name: value for name, value in values.items() if name not in tables and value is not None}
    if above and plain:
        yield f"\n[{above}]"
    for name, value in plain.items():
        yield f"{name} = {_value(value)}"
    for name, table in tables.items():
        yield from _lines(table, f"{above}.{name}" if above else name)


def _value(value: Any) -> str:
    """A TOML value, which JSON writes alike."""
    return json.dumps(value, ensure_ascii=False)
