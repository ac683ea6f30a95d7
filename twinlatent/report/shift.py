"""Mildly changed benign images on a page: tables, and an image under every change."""

from twinlatent.evaluation.results import ACCURACY_SHIFT, FLAGGED_SHIFT, MILD, OF_CLASS, UNCHANGED, Report
from twinlatent.evaluation.shift import CHANGES, STRENGTHS, shift_name
from twinlatent.report import figures, select
from twinlatent.report.cells import count_cell, share, share_cell
from twinlatent.report.rendering import Cell, Plot, Row, Table, plot, table
from twinlatent.report.select import Records

OF_SHIFT = (FLAGGED_SHIFT, ACCURACY_SHIFT)


def tables(run: Report) -> list[Table]:
    """Share flagged by rate and accuracy over the strengths, then by class; none where nothing was measured."""
    records = tuple(r for r in select.of_model(run.records, run.model) if r.metric in OF_SHIFT)
    rates = sorted({r.asked for r in records if r.asked})
    flagged = [_over_strengths(records, f"Flagged where {share(fpr)} was asked for", FLAGGED_SHIFT, fpr)
               for fpr in rates]  # fmt: skip
    found = [*flagged, _over_strengths(records, "Classified correctly", ACCURACY_SHIFT), *_by_class(records)]
    return [one for one in found if one.rows]


def pictures(run: Report) -> list[Plot]:
    """An image under every change, a row a strength."""
    if run.shifted is None:
        return []
    caption = (
        "One benign image under every change, at strengths 1, 2 and 3 from top to bottom; below each the predicted "
        f"class, and whether it is flagged where {share(run.shifted.fpr)} was asked for."
    )
    return [plot(figures.pair_grid(run.shifted), f"A benign image under {', '.join(CHANGES)}", caption, "wide")]


def _over_strengths(records: Records, caption: str, metric: str, asked: float | None = None) -> Table:
    whole = [r for r in records if (r.metric, r.asked, r.budget) == (metric, asked, MILD)]
    unchanged = select.find(whole, attack=UNCHANGED)
    rows: list[Row] = [("no change", share_cell(unchanged), "", "", count_cell([unchanged]))] if unchanged else []
    for change, how in CHANGES.items():
        cells = [select.find(whole, attack=shift_name(change, strength)) for strength in STRENGTHS]
        if any(cells):
            amounts = ", ".join(f"{amount:g}" for amount in how.amounts)
            rows.append((Cell(change, f"{amounts}: {how.meaning}"), *map(share_cell, cells), count_cell(cells)))
    headings = ("change", *(f"strength {strength}" for strength in STRENGTHS), "images")
    return table(caption, headings, rows, "attacks ranked" if unchanged else "attacks")


def _by_class(records: Records) -> list[Table]:
    """A row a true class, a column a change, at strength 1."""
    own = [r for r in records if OF_CLASS in r.budget]
    asked = next((r.asked for r in own if r.asked), 0)
    captions = {FLAGGED_SHIFT: f"Flagged where {share(asked)} was asked for", ACCURACY_SHIFT: "Classified correctly"}
    shown = {"no change": UNCHANGED, **{change: shift_name(change, STRENGTHS[0]) for change in CHANGES}}
    found = []
    for metric, caption in captions.items():
        by_class = select.grouped((r for r in own if r.metric == metric), lambda r: r.budget)
        rows = [(mine[0].budget.partition(OF_CLASS)[2],
                 *(share_cell(select.find(mine, attack=name)) for name in shown.values()), count_cell(mine))
                for mine in by_class]  # fmt: skip
        found.append(table(f"{caption}, by true class, at strength {STRENGTHS[0]}",
                           ("true class", *shown, "images"), rows))  # fmt: skip
    return found
