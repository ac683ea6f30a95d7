"""Several runs of one data set on one page: ours and baselines, as in tables 2 to 4 and figures 8 and 13."""

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from twinlatent.errors import TwinlatentError
from twinlatent.evaluation.pictures import PairGrid
from twinlatent.evaluation.records import Record
from twinlatent.evaluation.run_folder import EvaluationRun
from twinlatent.evaluation.whitebox import WORST
from twinlatent.files import write_text
from twinlatent.report import figures, select
from twinlatent.report.labels import detector_name
from twinlatent.report.page import framed
from twinlatent.report.page_about import duration, provenance
from twinlatent.report.page_figures import CONDITIONS, WINS
from twinlatent.report.page_parts import (
    NOTHING,
    area_cell,
    attack,
    note,
    plot,
    radius,
    section,
    share_cell,
    size_cell,
    table,
    without_empty,
)
from twinlatent.report.page_summary import headline
from twinlatent.report.page_tables import paper_cell
from twinlatent.report.page_white_box import ORDER
from twinlatent.report.paper import PAPER_SCORES
from twinlatent.report.select import Records

Runs = Mapping[str, EvaluationRun]
"""By what a reader calls the detector, not escaped."""
MEMBER, SHOWN_RADIUS = "mim_w", 0.3
"""Attack of figure 13, and the radius at which its images are shown."""
CONDITIONS_NOTE = (
    "Misclassified as ŷ, less suspicious than the mean benign image of ŷ (C1) and, for a detector that has a robust "
    "log-density, more probable by it than the mean benign image of ŷ (C2). That is no operating point: the share of "
    "benign images that pass the same conditions stands beside."
)
SUITE_NOTE = (
    "Share of test images for which the worst attack of the suite finds a change within the L∞ radius that is "
    "misclassified "
    "and passes thresholds set beforehand to flag 5&nbsp;% of held-out benign images; lower is better. Each detector "
    "is attacked under the score by which it flags."
)


def write_comparison(runs: Sequence[EvaluationRun], path: str | Path) -> Path:
    """Write one page that compares `runs` to `path`, and return it.

    The same runs always give the same bytes.

    Errors: `TwinlatentError` if there is no run, or they are not of one data set.
    """
    path = Path(path)
    write_text(path, comparison(runs))
    return path


def comparison(runs: Sequence[EvaluationRun]) -> str:
    """Return the page that compares `runs`, each with a detector of its own. All text of theirs is escaped."""
    if not runs:
        raise TwinlatentError("there are no runs to compare: give at least one")
    data = list(dict.fromkeys(run.model.test_data for run in runs))
    if len(data) > 1:
        raise TwinlatentError(f"runs of {', '.join(data)} cannot be compared: give runs of one data set")
    named = _named(runs)
    sections = (
        section("overview", "At a glance", _overview(named)),
        section("blackbox", "Attacks on a substitute (black box)", _areas(named)),
        section("radii", "Attacks on the detectors themselves (white box)", _suites(named)),
        section("conditions", "The paper's conditions", _conditions(named) + _smallest(named)),
        section("pictures", "The same attacks on each detector", _pictures(named)),
        section("runs", "What was compared", _cards(named)),
        provenance(record for run in runs for record in run.records),
    )
    return framed(f"{len(runs)} detectors on {data[0]}" if len(runs) > 1 else f"One detector on {data[0]}",
                  eyebrow=f"Adversarial-example detectors on {data[0]}", lead=escape("; ".join(named)) + ".",
                  summary="", sections=sections, source="the results of these runs")  # fmt: skip


def _named(runs: Sequence[EvaluationRun]) -> dict[str, EvaluationRun]:
    """By method and training attack, numbered where two are alike."""
    named: dict[str, EvaluationRun] = {}
    for run in runs:
        name = detector_name(run.model.method, run.model.trained_with)
        twins = sum(detector_name(r.model.method, r.model.trained_with) == name for r in named.values())
        named[f"{name} ({twins + 1})" if twins else name] = run
    return named


def _own(run: EvaluationRun) -> Records:
    return select.of_model(run.records, run.model)


def _overview(runs: Runs) -> str:
    rows = []
    for name, run in runs.items():
        head = headline(run)
        least = min(head.areas, key=lambda r: r.value, default=None)
        at = radius(head.white_box.epsilon) if head.white_box else NOTHING
        rows.append((escape(name), share_cell(head.accuracy, n=True), paper_cell(head.accuracy),
                     share_cell(head.fpr, n=True), area_cell(least), share_cell(head.worst, n=True), at,
                     _checks(run)))  # fmt: skip
    headings = ("detector", "read correctly", "paper", "false alarms", "lowest AUC", "worst attack wins (SR@5&nbsp;%)",
                "at ε", "checks")  # fmt: skip
    return table("Benign images, black box and white box", *without_empty(headings, rows))


def _checks(run: EvaluationRun) -> str:
    counts = {status: sum(check.status == status for check in run.checks) for status in reversed(ORDER)}
    return ", ".join(f'<span class="status {status}">{count} {status}</span>'
                     for status, count in counts.items() if count) or NOTHING  # fmt: skip


def _areas(runs: Runs) -> str:
    """AUC under the score of each method's paper, and under the score by which it flags where that is another."""
    flags = {name: run.model.score for name, run in runs.items()}
    papers = {name: _paper_score(run) for name, run in runs.items()}
    body = _area_table("AUC of the score of each method's own paper", runs, papers)
    if papers != flags:
        body += _area_table("AUC of the score by which each detector flags", runs, flags)
    about = (
        "Each detector sees images attacked on a substitute that knows none of them. The column after a detector's is "
        "the paper's number for the same, where it has one."
    )
    return body and body + note(about)


def _paper_score(run: EvaluationRun) -> str:
    """Of the paper of the run's method; the detector's own where that one was not measured."""
    score = PAPER_SCORES.get(run.model.method)
    return score if score and any(r.score == score and r.metric == "auc" for r in _own(run)) else run.model.score


def _area_table(caption: str, runs: Runs, scores: Mapping[str, str]) -> str:
    areas = {name: [r for r in _own(run) if r.metric == "auc" and not select.misclassified_only(r)]
             for name, run in runs.items()}  # fmt: skip
    found = {name: [r for r in records if r.score == scores[name]] for name, records in areas.items()}
    keys = dict.fromkeys((r.attack, r.epsilon) for records in found.values() for r in records)
    headings, rows = ["attack", "ε"], []
    for name in runs:
        headings += [f"{escape(name)} <small>{escape(scores[name])}</small>", "paper"]
    for name, epsilon in keys:
        mine = [select.find(records, attack=name, epsilon=epsilon) for records in found.values()]
        rows.append((attack(name), radius(epsilon), *(cell for r in mine for cell in (area_cell(r), paper_cell(r)))))
    return table(caption, *without_empty(headings, rows))


def _suites(runs: Runs) -> str:
    """Success of the worst attack at 5 % false alarms, over radii."""
    boxes = {name: select.main_white_box(_own(run), run.model.score) for name, run in runs.items()}
    found = {name: [r for r in box.points if r.metric == select.HEADLINE] for name, box in boxes.items() if box}
    body = _over_radii("Worst of all attacks at 5 % false alarms", found)
    caption = "Success of the worst attack of the suite over its L∞ radius. Bands are 95&nbsp;% intervals."
    return body and note(SUITE_NOTE) + _curves(found, WINS, caption) + body


def _conditions(runs: Runs) -> str:
    """Success by C1 and C2 over radii, of the worst attack and of the one that the paper shows."""
    body = "".join(_of_attack(runs, name) for name in (WORST, MEMBER))
    return body and note(CONDITIONS_NOTE) + body


def _of_attack(runs: Runs, name_of_attack: str) -> str:
    found, passed = {}, {}
    for name, run in runs.items():
        group = _of_conditions(run)
        found[name] = [r for r in group if r.metric == "sr_c1c2" and r.attack == name_of_attack]
        passed[name] = select.find(group, metric=select.BENIGN_PASS)
    first = ("benign images", *(share_cell(passed[name], n=True) for name, own in found.items() if own))
    called = attack(name_of_attack)
    body = _over_radii(f"{called}: misclassified, C1 and C2", found, first)
    figure = " (figure 13 of the paper)" if name_of_attack == MEMBER else ""
    caption = f"Success by C1 and C2 of {called}{figure}. Bands are 95&nbsp;% intervals."
    beside = {name: f"{name}: {100 * r.value:.0f} % of benign pass" for name, r in passed.items() if r}
    drawn = {beside.get(name, name): records for name, records in found.items()}
    return body and _curves(drawn, CONDITIONS, caption) + body


def _of_conditions(run: EvaluationRun) -> Records:
    return next(iter(select.conditions(_own(run))), ())


def _over_radii(caption: str, found: Mapping[str, Sequence[Record]], first: Sequence[str] = ()) -> str:
    """A row a radius, a column a detector that has any."""
    shown = {name: records for name, records in found.items() if records}
    radii = sorted({r.epsilon for records in shown.values() for r in records if r.epsilon is not None})
    rows = [
        (f"{epsilon:g}", *(share_cell(select.find(records, epsilon=epsilon), n=True) for records in shown.values()))
        for epsilon in radii
    ]
    return table(caption, ("ε", *map(escape, shown)), [first, *rows] if first and rows else rows)


def _curves(found: Mapping[str, Sequence[Record]], ylabel: str, caption: str) -> str:
    curves = {name: select.curve(records) for name, records in found.items() if any(r.epsilon for r in records)}
    if not curves:
        return ""
    drawing = figures.svg(figures.success_curves(curves, ylabel=ylabel))
    return plot(drawing, f"{ylabel} over L∞ radii, of {', '.join(curves)}", caption, "side")


def _smallest(runs: Runs) -> str:
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
            rows.append((escape(name), share_cell(two, n=True), paper_cell(two), share_cell(three, n=True),
                         ceiling, share_cell(passed, n=True), size_cell(size), paper_cell(size)))  # fmt: skip
    headings = ("detector", "C1, C2", "paper", "C1, C2, C3", "benign images, C3 alone",
                "benign images that pass", "size of change", "paper")  # fmt: skip
    return table(f"{attack('cw_w')}: the smallest change", *without_empty(headings, rows))


def _pictures(runs: Runs) -> str:
    grids = {name: run.grid for name, run in runs.items() if run.grid is not None}
    if len(grids) < 2:
        return ""
    try:
        drawing = figures.svg(figures.comparison_grid(grids, _columns(list(grids.values()))))
    except TwinlatentError as error:
        return note(f"No pictures are shown: {escape(str(error))}.")
    caption = (
        "Benign images at the left, and what the same attacks made of them on each detector in search of C1 and C2 "
        "(figure 8 of the paper). A thick frame and bold type mark images that were misclassified and not flagged."
    )
    return plot(drawing, f"The same images attacked on {', '.join(grids)}", caption, "wide")


def _columns(grids: Sequence[PairGrid]) -> list[str]:
    """CW-L2_W, and MIM_W at the radius nearest to `SHOWN_RADIUS`, of what all have; where neither is there, all."""
    shared = [name for name in grids[0].columns.tolist() if all(name in grid.columns for grid in grids)]
    members = [name for name in shared if name.startswith(f"{MEMBER} ")]
    nearest = min(members, key=lambda name: abs(float(name.split()[1]) - SHOWN_RADIUS), default=None)
    return [name for name in shared if name in ("cw_w", nearest)] or shared


def _cards(runs: Runs) -> str:
    rows = [
        (escape(name), f"<code>{escape(run.model.network)}</code>", f"{run.model.parameters:,}",
         escape(run.model.score), escape(run.model.label_rule), f"{run.model.training_images:,}",
         duration(run.model.seconds))
        for name, run in runs.items()
    ]  # fmt: skip
    headings = ("detector", "network", "trained numbers", "score", "label rule", "training images", "training time")
    return table("The detectors", headings, rows, "attacks words")
