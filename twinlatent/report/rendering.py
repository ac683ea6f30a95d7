"""Pages are Jinja2 templates, filled with plain data: every text is escaped there, whoever it comes from."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib.figure import Figure

from twinlatent.drawing import canvas

NBSP = "\u00a0"
NOTHING = "–"


@dataclass(frozen=True)
class Cell:
    """What stands in one place of a table or list.

    Attributes:
        text: the main thing.
        detail: said smaller behind it.
        kind: `code`, the status of a check, or nothing.
    """

    text: str
    detail: str = ""
    kind: str = ""


Content = str | Cell | tuple[str | Cell, ...]
"""One cell or several together."""
Row = tuple[Content, ...]
Fact = tuple[str, Content]
"""A name and its values."""


@dataclass(frozen=True)
class Table:
    """A table; the first cell of each row is its heading.

    Attributes:
        caption: what it shows.
        headings: one a column, "" for none.
        rows: as long as the headings; a table without rows is not shown.
        kind: CSS classes: `attacks` for many columns of numbers, `ranked` where the first row stands out, `plain` for
            few columns, `words` for text.
    """

    caption: str
    headings: Row
    rows: tuple[Row, ...]
    kind: str


@dataclass(frozen=True)
class Group:
    """Tables of one detector; `title` is empty where there is only one."""

    title: str
    tables: tuple[Table, ...]


@dataclass(frozen=True)
class Plot:
    """A figure on a page.

    Attributes:
        drawing: an <svg> element, the only thing that is put in as it is.
        description: what it shows, for those who cannot see it.
        caption: how to read it.
        kind: CSS class: `below` or `side` of the drawing for the caption, `wide` for a drawing that may scroll.
    """

    drawing: str
    description: str
    caption: str
    kind: str


def table(caption: str, headings: Sequence[Content], rows: Iterable[Sequence[Content]], kind: str = "attacks") -> Table:
    """A table without the columns in which no row has anything."""
    rows = [tuple(row) for row in rows]
    kept = [number for number in range(len(headings)) if any(row[number] not in ("", NOTHING) for row in rows)]
    shown = tuple(tuple(row[number] for number in kept) for row in rows)
    return Table(caption, tuple(headings[number] for number in kept), shown, kind)


def plot(figure: Figure, description: str, caption: str, kind: str = "below") -> Plot:
    """A figure as it goes into a page."""
    return Plot(canvas.svg(figure), description, caption, kind)


def render(template: str, **content: Any) -> str:
    """The page that `template` makes of `content`; the same content always gives the same bytes."""
    return _environment().get_template(template).render(**content)


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("twinlatent.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
