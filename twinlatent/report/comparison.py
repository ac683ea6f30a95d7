"""Several runs of one data set on one page: ours and baselines, as in tables 2 to 4 and figures 8 and 13."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from twinlatent.drawing.curves import SuccessCurve
from twinlatent.drawing.labels import attack_name, detector_name
from twinlatent.errors import TwinlatentError
from twinlatent.evaluation.results import WORST, PairGrid, Record, Report
from twinlatent.files import write_text
from twinlatent.progress import duration
from twinlatent.report import figures, select
from twinlatent.report.cells import area_cell, paper_cell, radius, share_cell, size_cell
from twinlatent.report.grids import split_column
from twinlatent.report.page import provenance
from twinlatent.report.paper import PAPER_SCORES
from twinlatent.report.plots import CONDITIONS, PROVED, SUCCESS
from twinlatent.report.rendering import NBSP, NOTHING, Cell, Content, Plot, Row, Table, plot, render, table
from twinlatent.report.select import Records
from twinlatent.report.summary import check_counts, headline

Runs = Mapping[str, Report]
"""By what a reader calls the detector."""
MEMBER, SHOWN_RADIUS = "mim_w", 0.3
"""Attack of figure 13, and the radius at which its images are shown."""


@dataclass(frozen=True)
class OverRadii:
    """Success over radii, of one attack on each detector: a table, and curves where there is more than a point.

    `proved` is a table of what no attack can exceed, of detectors for which that is known.
    """

    table: Table
    curves: tuple[Plot, ...]
    proved: Table | None = None


def write_comparison(runs: Sequence[Report], path: str | Path) -> Path:
    """Write one page that compares `runs` to `path`, and return it.

    The same runs always give the same bytes.

    Errors: `TwinlatentError` if there is no run, or they are not of one data set.
    """
    path = Path(path)
    write_text(path, comparison(runs))
    return path


def comparison(runs: Sequence[Report]) -> str:
    """Return the page that compares `runs`, each with a detector of its own. All text of theirs is escaped."""
    if not runs:
        raise TwinlatentError("there are no runs to compare: give at least one")
    data = list(dict.fromkeys(run.model.test_data for run in runs))
    if len(data) > 1:
        raise TwinlatentError(f"runs of {', '.join(data)} cannot be compared: give runs of one data set")
    named = _named(runs)
    pictures, no_pictures = _pictures(named)
    return render(
        "comparison.html.j2",
        title=f"{len(runs)} detectors on {data[0]}" if len(runs) > 1 else f"One detector on {data[0]}",
        eyebrow=f"Adversarial-example detectors on {data[0]}",
        lead="; ".join(named) + ".",
        overview=_overview(named),
        areas=_areas(named),
        suite=_suite(named),
        conditions=[found for attack in (WORST, MEMBER) if (found := _conditions(named, attack)).table.rows],
        smallest=_smallest(named),
        pictures=pictures,
        no_pictures=no_pictures,
        cards=_cards(named),
        provenance=provenance(record for run in runs for record in run.records),
    )


def _named(runs: Sequence[Report]) -> dict[str, Report]:
    """By method and training attack, numbered where two are alike."""
    named: dict[str, Report] = {}
    for run in runs:
        name = detector_name(run.model.method, run.model.trained_with)
        names = (name if number == 1 else f"{name} ({number})" for number in count(1))
        named[next(one for one in names if one not in named)] = run
    return named


def _own(run: Report) -> Records:
    return select.of_model(run.records, run.model)


def _overview(runs: Runs) -> Table:
    rows = []
    for name, run in runs.items():
        head = headline(run)
        least = min(head.areas, key=lambda r: r.value, default=None)
        at = radius(head.white_box.epsilon) if head.white_box else NOTHING
        checks = tuple(cell for cell in check_counts(run.checks) if not cell.text.startswith("0 "))
        rows.append((name, share_cell(head.accuracy, n=True), paper_cell(head.accuracy), share_cell(head.fpr, n=True),
                     area_cell(least), share_cell(head.worst, n=True), share_cell(head.proved, n=True), at,
                     checks or NOTHING))  # fmt: skip
    headings = ("detector", "classified correctly", "paper", "false-positive rate", "lowest AUC",
                f"success of the worst attack (SR@5{NBSP}%)", "proved at most", "at ε", "checks")  # fmt: skip
    return table("Benign images, black box and white box", headings, rows)


def _areas(runs: Runs) -> list[Table]:
    """AUC under the score of each method's paper, and under the score by which it flags where that is another."""
    flags = {name: run.model.score for name, run in runs.items()}
    papers = {name: _paper_score(run) for name, run in runs.items()}
    found = [_area_table("AUC of the score of each method's own paper", runs, papers)]
    if papers != flags:
        found.append(_area_table("AUC of the score by which each detector flags", runs, flags))
    return found if found[0].rows else []


def _paper_score(run: Report) -> str:
    """Of the paper of the run's method; the detector's own where that one was not measured."""
    score = PAPER_SCORES.get(run.model.method)
    return score if score and any(r.score == score and r.metric == "auc" for r in _own(run)) else run.model.score


def _area_table(caption: str, runs: Runs, scores: Mapping[str, str]) -> Table:
    areas = {name: [r for r in _own(run) if r.metric == "auc" and not select.misclassified_only(r)]
             for name, run in runs.items()}  # fmt: skip
    found = {name: [r for r in records if r.score == scores[name]] for name, records in areas.items()}
    keys = dict.fromkeys((r.attack, r.epsilon) for records in found.values() for r in records)
    headings: list[Content] = ["attack", "ε"]
    rows: list[Row] = []
    for name in runs:
        headings += [Cell(name, scores[name]), "paper"]
    for attack, epsilon in keys:
        mine = [select.find(records, attack=attack, epsilon=epsilon) for records in found.values()]
        cells = (cell for r in mine for cell in (area_cell(r), paper_cell(r)))
        rows.append((attack_name(attack), radius(epsilon), *cells))
    return table(caption, headings, rows)


def _suite(runs: Runs) -> OverRadii:
    """Success of the worst attack at a false-positive rate of 5 %."""
    whole = {name: select.main_white_box(_own(run), run.model.score) for name, run in runs.items()}
    boxes = {name: box for name, box in whole.items() if box}
    found = {name: [r for r in box.points if r.metric == select.HEADLINE] for name, box in boxes.items()}
    above = {name: [boxes[name].ceiling(floor) for floor in own] for name, own in found.items()}
    dashed = {name: made for name, ceilings in above.items() if (made := select.ceiling_curve(ceilings))}
    caption = f"Success of the worst attack of the suite over its L∞ radius. Bands are 95{NBSP}% intervals."
    return OverRadii(
        _over_radii("Worst of all attacks at a false-positive rate of 5 %", found),
        _curves(found, SUCCESS, caption + PROVED * bool(dashed), dashed),
        _over_radii("Proved of any attack at a false-positive rate of 5 %, at most",
                    {name: [r for r in ceilings if r] for name, ceilings in above.items()}),
    )  # fmt: skip


def _conditions(runs: Runs, attack: str) -> OverRadii:
    """Success by C1 and C2 of one attack."""
    found, passed = {}, {}
    for name, run in runs.items():
        group = _of_conditions(run)
        found[name] = [r for r in group if r.metric == "sr_c1c2" and r.attack == attack]
        passed[name] = select.find(group, metric=select.BENIGN_PASS)
    first = ("benign images", *(share_cell(passed[name], n=True) for name, own in found.items() if own))
    called = attack_name(attack)
    figure = " (figure 13 of the paper)" if attack == MEMBER else ""
    caption = f"Success by C1 and C2 of {called}{figure}. Bands are 95{NBSP}% intervals."
    beside = {name: f"{name}: {100 * r.value:.0f} % of benign pass" for name, r in passed.items() if r}
    drawn = {beside.get(name, name): records for name, records in found.items()}
    rows = _over_radii(f"{called}: misclassified, C1 and C2", found, first)
    return OverRadii(rows, _curves(drawn, CONDITIONS, caption))


def _of_conditions(run: Report) -> Records:
    return next(iter(select.conditions(_own(run))), ())


def _over_radii(caption: str, found: Mapping[str, Sequence[Record]], first: Row = ()) -> Table:
    """A row a radius, a column a detector that has any."""
    shown = {name: records for name, records in found.items() if records}
    radii = sorted({r.epsilon for records in shown.values() for r in records if r.epsilon is not None})
    rows: list[Row] = [
        (f"{epsilon:g}", *(share_cell(select.find(records, epsilon=epsilon), n=True) for records in shown.values()))
        for epsilon in radii
    ]
    return table(caption, ("ε", *shown), [first, *rows] if first and rows else rows)


def _curves(
    found: Mapping[str, Sequence[Record]], ylabel: str, caption: str, proved: Mapping[str, SuccessCurve] | None = None
) -> tuple[Plot, ...]:
    curves = {name: select.curve(records) for name, records in found.items() if any(r.epsilon for r in records)}
    if not curves:
        return ()
    drawing = figures.success_curves(curves, proved=proved or {}, ylabel=ylabel)
    return (plot(drawing, f"{ylabel} over L∞ radii, of {', '.join(curves)}", caption, "side"),)


def _smallest(runs: Runs) -> Table:
    """CW-L2_W, as in table 4."""
    rows = []
    for name, run in runs.items():
        group = _of_conditions(run)
        two, three, size = (
            select.find(group, metric=metric, attack="cw_w") for metric in (*select.CONDITIONS, select.SIZE)
        )
        if two:
            passed, met = (select.find(group, metric=metric) for metric in (select.BENIGN_PASS, select.BENIGN_C3))
            ceiling = share_cell(met, n=True) if met or not three else "not measured"
            rows.append((name, share_cell(two, n=True), paper_cell(two), share_cell(three, n=True),
                         ceiling, share_cell(passed, n=True), size_cell(size), paper_cell(size)))  # fmt: skip
    headings = ("detector", "C1, C2", "paper", "C1, C2, C3", "benign images, C3 alone",
                "benign images that pass", "size of change", "paper")  # fmt: skip
    return table(f"{attack_name('cw_w')}: the smallest change", headings, rows)


def _pictures(runs: Runs) -> tuple[list[Plot], str]:
    """Pictures of the same attacks, or why there are none though several runs have some."""
    grids = {name: run.grid for name, run in runs.items() if run.grid is not None}
    if len(grids) < 2:
        return [], ""
    try:
        drawing = figures.comparison_grid(grids, _columns(list(grids.values())))
    except TwinlatentError as error:
        return [], str(error)
    caption = (
        "Benign images at the left, and what the same attacks made of them on each detector in search of C1 and C2 "
        "(figure 8 of the paper). A thick frame and bold type mark images that were misclassified and not flagged."
    )
    return [plot(drawing, f"The same images attacked on {', '.join(grids)}", caption, "wide")], ""


def _columns(grids: Sequence[PairGrid]) -> list[str]:
    """CW-L2_W, and MIM_W at the radius nearest to `SHOWN_RADIUS`, of what all have; where neither is there, all."""
    shared = [name for name in grids[0].columns.tolist() if all(name in grid.columns for grid in grids)]
    radii = {name: epsilon for name in shared for attack, epsilon in [split_column(name)] if attack == MEMBER}
    nearest = min(
        (name for name, epsilon in radii.items() if epsilon is not None),
        key=lambda name: abs((radii[name] or 0) - SHOWN_RADIUS),
        default=None,
    )
    return [name for name in shared if name in ("cw_w", nearest)] or shared


def _cards(runs: Runs) -> Table:
    rows = [
        (name, Cell(run.model.network, kind="code"), f"{run.model.parameters:,}", run.model.score,
         run.model.label_rule, f"{run.model.training_images:,}", duration(run.model.seconds))
        for name, run in runs.items()
    ]  # fmt: skip
    headings = ("detector", "network", "parameters", "score", "label rule", "training images", "training time")
    return table("The detectors", headings, rows, "attacks words")
