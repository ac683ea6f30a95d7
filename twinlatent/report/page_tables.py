"""Tables of benign images and of attacks on a substitute, beside the paper's numbers."""

from collections.abc import Callable, Iterable
from html import escape

from twinlatent.evaluation.blackbox import MISCLASSIFIED_ONLY
from twinlatent.evaluation.records import Metric, Record, Score
from twinlatent.report import select
from twinlatent.report.labels import detector_name
from twinlatent.report.page_parts import (
    NOTHING,
    area_cell,
    attack,
    count_cell,
    note,
    radius,
    section,
    share,
    share_cell,
    table,
    without_empty,
)
from twinlatent.report.paper import paper_value
from twinlatent.report.select import Records

BENIGN_MEASURES = {
    "accuracy": "read correctly", "fpr": "flagged (false alarms)",
    "substitute_accuracy": "read correctly by the substitutes",
}  # fmt: skip
CAUGHT: tuple[Metric, ...] = ("tpr@1", "tpr@5", "tpr@10")
BLACK_BOX_NOTE = (
    "<b>AUC</b>: chance that an attacked image looks more suspicious than a benign one; 0.5 is guessing, 1 is perfect. "
    "<b>Misclassified ones only</b>: over those attacked images that the substitute misclassifies. <b>Fools the "
    "substitute</b>: "
    "share of attacked images that the classifier they were made on misclassifies. Where several substitutes were "
    "attacked, "
    "each for itself, the number is the mean over them. <b>Flagged at k&nbsp;%</b>: share of "
    "attacked images caught by the threshold that was set to flag k&nbsp;% of held-out benign images. In brackets "
    "95&nbsp;% intervals."
)


def by_detector(records: Iterable[Record], render: Callable[[Records], str]) -> str:
    """What `render` makes of each detector's records, under its name where there are several."""
    groups = select.detectors(records)
    if len(groups) == 1:
        return render(groups[0])
    shown = ((group[0], render(group)) for group in groups)
    return "".join(f"<h3>{_called(first)}</h3>{body}" for first, body in shown if body)


def paper_cell(record: Record | None) -> str:
    """The paper's number for the same, or a dash."""
    value = None if record is None else paper_value(record)
    if record is None or value is None:
        return NOTHING
    return f"{value:.2f}" if record.metric in ("auc", select.SIZE) else share(value)


def benign(records: Records) -> str:
    """The section of benign images."""
    return section("benign", "Benign images", by_detector(records, _benign))


def black_box(records: Records) -> str:
    """The section of attacks on a substitute."""
    body = by_detector(records, lambda own: "".join(map(_budget, select.black_box(own))) + _substitutes(own))
    return section("blackbox", "Attacks on a substitute (black box)", body and body + note(BLACK_BOX_NOTE))


def _called(first: Record) -> str:
    return f"{escape(detector_name(first.method, first.trained_with))}, {escape(first.data)}, seed {first.seed}"


def _benign(records: Records) -> str:
    found = [r for r in select.overall(records) if r.attack == "none" and r.metric in BENIGN_MEASURES]
    scores = {r.score for r in found if r.score}
    rows = []
    for record in found:
        measure = BENIGN_MEASURES[record.metric]
        measure += f", {share(record.asked)} asked for" if record.asked else ""
        measure += f" ({record.score} score)" if record.score and len(scores) > 1 else ""
        rows.append((measure, share_cell(record), paper_cell(record), f"{record.n:,}"))
    headings, shown = without_empty(("", "share [95&nbsp;%]", "paper", "images"), rows)
    return table("Benign test images", headings, shown, "plain")


def _budget(group: Records) -> str:
    """Tables of one budget; misclassified ones are never mixed with all images."""
    every = tuple(r for r in group if not select.misclassified_only(r))
    misclassified = tuple(r for r in group if select.misclassified_only(r))
    name = escape(group[0].budget.removesuffix(MISCLASSIFIED_ONLY))
    return (
        table(f"AUC, {name}", *_areas(every, misclassified))
        + table(f"Share caught, {name}", *_caught(every))
        + table(f"Share caught of those the substitute misclassifies, {name}", *_caught(misclassified))
    )


def _substitutes(records: Records) -> str:
    """AUC of each attack and score on each substitute, over all attacked images; empty where there is but one."""
    names = select.substitutes(records)
    found = [r for r in records if r.metric == "auc" and not select.misclassified_only(r)]
    keys = dict.fromkeys((r.budget, r.attack, r.epsilon, r.score) for r in found)
    rows = []
    for budget, name, epsilon, score in keys:
        cells = (area_cell(select.find(found, budget=budget, attack=name, epsilon=epsilon, score=score, substitute=one))
                 for one in names)  # fmt: skip
        rows.append((escape(budget), attack(name), radius(epsilon), score or "", *cells))
    headings, shown = without_empty(("budget", "attack", "ε", "score", *map(escape, names)), rows)
    return table("AUC by substitute", headings, shown) if len(names) > 1 else ""


def _areas(every: Records, misclassified: Records) -> tuple[list[str], list[list[str]]]:
    """Headings and rows: an attack and score each."""
    keys = dict.fromkeys((r.attack, r.epsilon, r.score) for r in (*every, *misclassified) if r.metric == "auc")
    rows = []
    for name, epsilon, score in keys:
        of_all, of_some = (select.find(records, metric="auc", attack=name, epsilon=epsilon, score=score)
                           for records in (every, misclassified))  # fmt: skip
        rows.append((attack(name), radius(epsilon), score or "", area_cell(of_all), paper_cell(of_all),
                     area_cell(of_some)))  # fmt: skip
    return without_empty(("attack", "ε", "score", "all images", "paper", "misclassified ones only"), rows)


def _caught(records: Records) -> tuple[list[str], list[list[str]]]:
    """Headings and rows: an attack and score each; what has no score joins the rows that have one."""
    found = [r for r in records if r.metric == "attack_success" or r.metric in CAUGHT]
    keys = dict.fromkeys((r.attack, r.epsilon, r.score) for r in found)
    scored = {key[:2] for key in keys if key[2]}
    shown = [key for key in keys if key[2] or key[:2] not in scored]
    rows = [_caught_row(found, *key, told=len({key[2] for key in shown}) > 1) for key in shown]
    headings = ("attack", "ε", "fools the substitute", *(f"flagged at {m[4:]}&nbsp;%" for m in CAUGHT), "images")
    return without_empty(headings, rows)


def _caught_row(
    records: Iterable[Record], name: str, epsilon: float | None, score: Score | None, *, told: bool
) -> tuple[str, ...]:
    mine = {r.metric: r for r in records if (r.attack, r.epsilon) == (name, epsilon) and r.score in (None, score)}
    called = attack(name) + (f" <small>{score}</small>" if told and score else "")
    cells = (share_cell(mine.get(metric)) for metric in ("attack_success", *CAUGHT))
    return called, radius(epsilon), *cells, count_cell(mine.values())
