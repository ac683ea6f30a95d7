"""Pieces of a page. Text that comes from a run is escaped by whoever puts it in."""

from collections.abc import Iterable, Sequence
from html import escape

from twinlatent.evaluation.metrics import Rate
from twinlatent.evaluation.records import Record
from twinlatent.report.labels import attack_name

NBSP = "\u00a0"
NOTHING = "–"
Number = Record | Rate


def section(name: str, title: str, body: str) -> str:
    """A section with a heading; nothing if it would be empty."""
    return f"<section aria-labelledby={name}>\n<h2 id={name}>{title}</h2>\n{body}\n</section>" if body else ""


def facts(rows: Iterable[tuple[str, str]]) -> str:
    """A list of names and values."""
    return "<dl>" + "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in rows) + "</dl>"


def table(caption: str, headings: Sequence[str], rows: Iterable[Sequence[str]], kind: str = "attacks") -> str:
    """A table, the first cell of each row being its heading; nothing if there are no rows.

    Args:
        caption: plain text.
        headings: one a column, "" for none.
        rows: of cells.
        kind: `attacks` for many columns of numbers, `ranked` where the first row stands out, `plain` for few columns.
    """
    head = "".join(f"<th scope=col>{heading}</th>" if heading else "<td></td>" for heading in headings)
    body = "".join(
        f"<tr><th scope=row>{first}</th>{''.join(f'<td>{cell}</td>' for cell in rest)}</tr>" for first, *rest in rows
    )
    if not body:
        return ""
    inside = f"<caption>{caption}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody>"
    return (f'<div class=scroll role=region tabindex=0 aria-label="{caption}"><table class="{kind}">{inside}'
            "</table></div>")  # fmt: skip


def without_empty(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> tuple[list[str], list[list[str]]]:
    """The table without columns in which no row has anything."""
    kept = [number for number in range(len(headings)) if any(row[number] not in ("", NOTHING) for row in rows)]
    return [headings[number] for number in kept], [[row[number] for number in kept] for row in rows]


def note(text: str) -> str:
    """A small paragraph."""
    return f"<p class=note>{text}</p>"


def plot(drawing: str, description: str, caption: str, kind: str = "below") -> str:
    """A figure: an <svg>, what it shows for those who cannot see it (plain text), and a caption."""
    picture = f'<div class=plot role=img aria-label="{escape(description)}">{drawing}</div>'
    return f'<figure class="{kind}">{picture}<figcaption>{caption}</figcaption></figure>'


def percent(number: Number) -> str:
    """98.7 %."""
    return f"{100 * number.value:.1f}{NBSP}%"


def share(value: float) -> str:
    """5 %."""
    return f"{100 * value:g}{NBSP}%"


def interval(number: Number, form: str = "{:.1f}", factor: float = 100) -> str:
    """[98.4, 98.9], of a share in percent; nothing where it was not computed."""
    if number.low is None or number.high is None:
        return ""
    return f"[{form.format(factor * number.low)}, {form.format(factor * number.high)}]"


def share_cell(number: Number | None, *, n: bool = False) -> str:
    """A share in percent with its interval and, where asked, the number of images."""
    return NOTHING if number is None else _cell(percent(number), interval(number), number.n if n else None)


def area_cell(record: Record | None) -> str:
    """An AUC with its interval and number of images."""
    return NOTHING if record is None else _cell(f"{record.value:.3f}", interval(record, "{:.3f}", 1), record.n)


def size_cell(record: Record | None) -> str:
    """A size of change with its interval and number of images."""
    return NOTHING if record is None else _cell(f"{record.value:.1f}", interval(record, "{:.1f}", 1), record.n)


def count_cell(numbers: Iterable[Number | None]) -> str:
    """Over how many images the numbers of a row are taken."""
    found = sorted({number.n for number in numbers if number is not None})
    return NOTHING if not found else f"{found[0]:,}" if len(found) == 1 else f"{found[0]:,}–{found[-1]:,}"


def attack(name: str) -> str:
    """What a reader calls an attack, escaped."""
    return escape(attack_name(name))


def radius(epsilon: float | None) -> str:
    """An L∞ radius, or a dash."""
    return NOTHING if epsilon is None else f"{epsilon:g}"


def _cell(number: str, between: str, n: int | None) -> str:
    details = f"{between} n{NBSP}{n:,}".strip() if n is not None else between
    return f"{number} <small>{details}</small>" if details else number
