"""Numbers as cells of a table: the number, and smaller its interval and over how many images it is taken."""

from collections.abc import Iterable

from twinlatent.evaluation.metrics import Rate
from twinlatent.evaluation.results import Record
from twinlatent.report.paper import paper_value
from twinlatent.report.rendering import NBSP, NOTHING, Cell, Content
from twinlatent.report.select import SIZE

Number = Record | Rate


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


def with_count(between: str, n: int) -> str:
    """An interval and the number of images."""
    return f"{between} n{NBSP}{n:,}".strip()


def share_cell(number: Number | None, *, n: bool = False) -> Content:
    """A share in percent with its interval and, where asked, the number of images."""
    if number is None:
        return NOTHING
    return Cell(percent(number), with_count(interval(number), number.n) if n else interval(number))


def area_cell(record: Record | None) -> Content:
    """An AUC with its interval and number of images."""
    return _number_cell(record, "{:.3f}")


def size_cell(record: Record | None) -> Content:
    """A size of change with its interval and number of images."""
    return _number_cell(record, "{:.1f}")


def count_cell(numbers: Iterable[Number | None]) -> str:
    """Over how many images the numbers of a row are taken."""
    found = sorted({number.n for number in numbers if number is not None})
    return NOTHING if not found else f"{found[0]:,}" if len(found) == 1 else f"{found[0]:,}–{found[-1]:,}"


def paper_cell(record: Record | None) -> str:
    """The paper's number for the same, or a dash."""
    value = None if record is None else paper_value(record)
    if record is None or value is None:
        return NOTHING
    return f"{value:.2f}" if record.metric in ("auc", SIZE) else share(value)


def radius(epsilon: float | None) -> str:
    """An L∞ radius, or a dash."""
    return NOTHING if epsilon is None else f"{epsilon:g}"


def within(epsilon: float | None, before: str = " within") -> str:
    """Where the attacks are bounded by an L∞ radius, words that say so."""
    return "" if epsilon is None else f"{before} L∞ {epsilon:g}"


def _number_cell(record: Record | None, form: str) -> Content:
    if record is None:
        return NOTHING
    return Cell(form.format(record.value), with_count(interval(record, form, 1), record.n))
