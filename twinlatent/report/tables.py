"""Tables of a page on one evaluation: benign images, and attacks on substitutes and on the detector itself."""

from collections.abc import Callable, Iterable

from twinlatent.attacks.suites import KINDS
from twinlatent.drawing.labels import CHECKS, JUDGE_NAMES, KNOWLEDGE, attack_name, detector_name
from twinlatent.evaluation.metrics import Rate, rate
from twinlatent.evaluation.results import MISCLASSIFIED_ONLY, WORST, Check, JudgedAttack, JudgeReport, Record
from twinlatent.report import select
from twinlatent.report.cells import area_cell, count_cell, paper_cell, radius, share, share_cell, size_cell, within
from twinlatent.report.rendering import NBSP, NOTHING, Cell, Content, Group, Row, Table, table
from twinlatent.report.select import CONDITIONS, Records, WhiteBox

BENIGN_MEASURES = {
    "accuracy": "classified correctly", "fpr": "flagged (false positives)",
    "substitute_accuracy": "classified correctly by the substitutes",
}  # fmt: skip
CAUGHT = ("tpr@1", "tpr@5", "tpr@10")
ORDER = ("fail", "warn", "pass", "skip")


def benign(records: Records) -> list[Group]:
    """Of benign images."""
    return _by_detector(records, lambda own: [_benign(own)])


def black_box(records: Records) -> list[Group]:
    """Of attacks on substitutes."""
    return _by_detector(
        records,
        lambda own: [*(found for group in select.black_box(own) for found in _budget(group)), _substitutes(own)],
    )


def white_box(records: Records) -> list[Group]:
    """Of attacks on the detector itself."""

    def tables(own: Records) -> list[Table]:
        return [found for box in select.white_boxes(own) for found in (_suite(box), _points(box), _beyond(box))]

    return _by_detector(records, tables)


def conditions(records: Records) -> list[Group]:
    """Of C1, C2 and C3."""
    return _by_detector(
        records, lambda own: [found for group in select.conditions(own) for found in _conditions(group)]
    )


def judges(report: JudgeReport | None) -> list[Table]:
    """Of what judges see, and what they are worth."""
    return [] if report is None else [_seen(report), _own_accuracy(report)]


def checks(found: Iterable[Check]) -> Table | None:
    """Of checks, the failed ones first."""
    rows = [(check.name, Cell(check.status, kind=check.status), CHECKS.get(check.name, NOTHING), check.finding)
            for check in in_order(found)]  # fmt: skip
    shown = table("Checks of this evaluation", ("check", "", "asks that", "finding"), rows, "attacks words")
    return shown if rows else None


def in_order(found: Iterable[Check]) -> list[Check]:
    """Failed, then warned, then passed ones."""
    return sorted(found, key=lambda check: ORDER.index(check.status))


def suite_size(box: WhiteBox) -> int:
    """How many attacks there are, no attack left out."""
    return sum(r.attack != "none" for r in box.attacks)


def _by_detector(records: Iterable[Record], tables: Callable[[Records], Iterable[Table]]) -> list[Group]:
    """Tables of each detector that has any rows."""
    own = select.detectors(records)
    named = [(_called(group[0]) if len(own) > 1 else "", tables(group)) for group in own]
    shown = [Group(title, tuple(found for found in group if found.rows)) for title, group in named]
    return [group for group in shown if group.tables]


def _called(first: Record) -> str:
    return f"{detector_name(first.method, first.trained_with)}, {first.data}, seed {first.seed}"


def _under(first: Record) -> str:
    return f"{first.budget}, {first.score} score" if first.score else first.budget


def _at(metric: str) -> str:
    """The rate of a metric such as sr@5."""
    return f"{metric.partition('@')[2]}{NBSP}%"


# --- benign images, attacks on substitutes ----------------------------------------------------------------------------


def _benign(records: Records) -> Table:
    found = [r for r in select.overall(records) if r.attack == "none" and r.metric in BENIGN_MEASURES]
    scores = {r.score for r in found if r.score}
    rows = []
    for record in found:
        measure = BENIGN_MEASURES[record.metric]
        measure += f", {share(record.asked)} asked for" if record.asked else ""
        measure += f" ({record.score} score)" if record.score and len(scores) > 1 else ""
        rows.append((measure, share_cell(record), paper_cell(record), f"{record.n:,}"))
    return table("Benign test images", ("", f"share [95{NBSP}%]", "paper", "images"), rows, "plain")


def _budget(group: Records) -> list[Table]:
    """Tables of one budget; misclassified ones are never mixed with all images."""
    every = tuple(r for r in group if not select.misclassified_only(r))
    misclassified = tuple(r for r in group if select.misclassified_only(r))
    name = group[0].budget.removesuffix(MISCLASSIFIED_ONLY)
    return [
        _areas(f"AUC, {name}", every, misclassified),
        _caught(f"Share caught, {name}", every),
        _caught(f"Share caught of those the substitute misclassifies, {name}", misclassified),
    ]


def _substitutes(records: Records) -> Table:
    """AUC of each attack and score on each substitute, over all attacked images; empty where there is but one."""
    names = select.substitutes(records)
    found = [r for r in records if r.metric == "auc" and not select.misclassified_only(r)]
    keys = dict.fromkeys((r.budget, r.attack, r.epsilon, r.score) for r in found)
    rows = []
    for budget, name, epsilon, score in keys:
        cells = (area_cell(select.find(found, budget=budget, attack=name, epsilon=epsilon, score=score, substitute=one))
                 for one in names)  # fmt: skip
        rows.append((budget, attack_name(name), radius(epsilon), score or "", *cells))
    return table("AUC by substitute", ("budget", "attack", "ε", "score", *names), rows if len(names) > 1 else ())


def _areas(caption: str, every: Records, misclassified: Records) -> Table:
    """A row an attack and score."""
    keys = dict.fromkeys((r.attack, r.epsilon, r.score) for r in (*every, *misclassified) if r.metric == "auc")
    rows = []
    for name, epsilon, score in keys:
        of_all, of_some = (select.find(records, metric="auc", attack=name, epsilon=epsilon, score=score)
                           for records in (every, misclassified))  # fmt: skip
        rows.append((attack_name(name), radius(epsilon), score or "", area_cell(of_all), paper_cell(of_all),
                     area_cell(of_some)))  # fmt: skip
    return table(caption, ("attack", "ε", "score", "all images", "paper", "misclassified ones only"), rows)


def _caught(caption: str, records: Records) -> Table:
    """A row an attack and score; what has no score joins the rows that have one."""
    found = [r for r in records if r.metric == "attack_success" or r.metric in CAUGHT]
    keys = dict.fromkeys((r.attack, r.epsilon, r.score) for r in found)
    scored = {key[:2] for key in keys if key[2]}
    shown = [key for key in keys if key[2] or key[:2] not in scored]
    told = len({key[2] for key in shown}) > 1
    rows = []
    for name, epsilon, score in shown:
        rated = [r for r in found if (r.attack, r.epsilon) == (name, epsilon) and r.score in (None, score)]
        mine: dict[str, Record] = {r.metric: r for r in rated}
        cells = (share_cell(mine.get(metric)) for metric in ("attack_success", *CAUGHT))
        called = Cell(attack_name(name), score if told and score else "")
        rows.append((called, radius(epsilon), *cells, count_cell(mine.values())))
    headings = ("attack", "ε", "fools the substitute", *(f"flagged at {_at(metric)}" for metric in CAUGHT), "images")
    return table(caption, headings, rows)


# --- attacks on the detector itself -----------------------------------------------------------------------------------


def _suite(box: WhiteBox) -> Table:
    """Each attack at the main point; no rows where only the worst of all was kept."""
    shown = (*([box.worst] if box.worst else []), *box.attacks) if box.attacks else ()
    rows = [(attack_name(r.attack), _knows(r.attack), share_cell(r), f"{r.n:,}") for r in shown]
    caption = f"Each attack{within(box.epsilon, ' at')}, {_under(box.records[0])}"
    headings = ("attack", "uses", f"success at {_at(box.metric)}", "images")
    return table(caption, headings, rows, "attacks ranked" if box.worst else "attacks")


def _knows(name: str) -> str:
    return "every attack below" if name == WORST else KNOWLEDGE.get(KINDS.get(name, ""), NOTHING)


def _points(box: WhiteBox) -> Table:
    """The worst over radii and rates; no rows where it would only repeat that of the attacks."""
    points = () if box.attacks and len(box.points) < 2 else box.points
    radii = sorted({r.epsilon for r in points}, key=lambda epsilon: epsilon or 0)
    rates = sorted({r.metric for r in points}, key=select.percentage)
    rows: list[Row] = []
    for epsilon in radii:
        floors = [select.find(points, epsilon=epsilon, metric=metric) for metric in rates]
        ceilings = [None if floor is None else box.ceiling(floor) for floor in floors]
        rows.append((radius(epsilon), *(share_cell(found, n=True) for found in floors),
                     *(share_cell(found) for found in ceilings)))  # fmt: skip
    headings = [f"{what} {_at(metric)}" for what in ("success at", "proved at most, at") for metric in rates]
    caption = f"Worst of all attacks over radii and false-positive rates, {_under(box.records[0])}"
    return table(caption, ("ε", *headings), rows)


def _beyond(box: WhiteBox) -> Table:
    """What no attack can exceed at the main radius, on more images than were attacked."""
    rows = [(share(r.asked or 0), share_cell(r), f"{r.n:,}") for r in box.beyond]
    caption = f"Proved of any attack{within(box.epsilon, ' at')}, {_under(box.records[0])}"
    return table(caption, ("false-positive rate", "success at most", "images"), rows, "plain")


def _conditions(group: Records) -> list[Table]:
    benign = _benign_conditions(group)
    by_attack = select.grouped((r for r in group if r.metric in CONDITIONS), lambda r: r.attack)
    first = {(r.attack, r.epsilon): r for own in by_attack for r in sorted(own, key=lambda r: r.epsilon or 0)}
    over, alone = ([r for r in first.values() if (r.epsilon is None) == free] for free in (False, True))
    headings = ("attack", "ε", "C1, C2", "paper", "C1, C2, C3", "size of change", "images")
    return [
        table(f"{caption}, {_under(found[0])}", headings,
              benign + [_condition(group, r.attack, r.epsilon) for r in found],
              "attacks ranked" if benign else "attacks")
        for caption, found in (("Success over radii", over), ("Smallest change", alone)) if found
    ]  # fmt: skip


def _benign_conditions(group: Records) -> list[Row]:
    """What benign images make of C1 and C2, and of C3 where judges were asked."""
    passed, met = (select.find(group, metric=metric) for metric in (select.BENIGN_PASS, select.BENIGN_C3))
    rows: list[Row] = []
    if passed is not None:
        rows.append(("benign images", NOTHING, share_cell(passed), NOTHING, NOTHING, NOTHING, count_cell([passed])))
    if any(r.metric == CONDITIONS[1] for r in group):
        cell = "not measured" if met is None else share_cell(met)
        rows.append(("benign images, C3 alone", NOTHING, NOTHING, NOTHING, cell, NOTHING, count_cell([met])))
    return rows


def _condition(group: Records, name: str, epsilon: float | None) -> Row:
    two, three, size = (select.find(group, metric=metric, attack=name, epsilon=epsilon)
                        for metric in (*CONDITIONS, select.SIZE))  # fmt: skip
    return (attack_name(name), radius(epsilon), share_cell(two), paper_cell(two), share_cell(three),
            _size_beside_paper(size), count_cell([two, three]))  # fmt: skip


def _size_beside_paper(size: Record | None) -> Content:
    measured, paper = size_cell(size), paper_cell(size)
    if paper == NOTHING or not isinstance(measured, Cell):
        return measured
    return Cell(measured.text, f"{measured.detail} paper {paper}")


# --- judges -----------------------------------------------------------------------------------------------------------


def _seen(report: JudgeReport) -> Table:
    seen = ("shows the true class (C3)", "shows the predicted class", "shows a third class", "judges differ")
    rows = [_judged(found) for found in report.attacks if _images(found)]
    return table("What judges see in successful attacks", ("attack", "ε", "success means", *seen, "images"), rows)


def _images(seen: JudgedAttack) -> int:
    return seen.shows_true + seen.shows_predicted + seen.neither + seen.disagree


def _judged(seen: JudgedAttack) -> Row:
    n, counts = _images(seen), (seen.shows_true, seen.shows_predicted, seen.neither, seen.disagree)
    cells = (share_cell(rate(count, n)) for count in counts)
    goal = {"c1c2": "C1, C2"}.get(seen.goal, seen.goal)
    return attack_name(seen.attack), radius(seen.epsilon), goal, *cells, f"{n:,}"


def _own_accuracy(report: JudgeReport) -> Table:
    """A row a kind of images, a column a judge."""
    names = list(dict.fromkeys(case.judge for case in report.cases))
    found = {(case.cases, case.judge): Rate(case.value, case.n, case.low, case.high) for case in report.cases}
    rows = []
    for kind in dict.fromkeys(case.cases for case in report.cases):
        mine = [found.get((kind, name)) for name in names]
        rows.append((kind, *map(share_cell, mine), count_cell(mine)))
    headings = ("kind of images", *(JUDGE_NAMES.get(name, name) for name in names), "images")
    return table("Accuracy of the judges on images whose class is beyond doubt", headings, rows)
