"""Tables of attacks on the detector itself, the paper's conditions, judges, and checks of all that."""

from collections.abc import Sequence
from html import escape

from twinlatent.attacks.suites import KINDS
from twinlatent.evaluation.metrics import Rate, rate
from twinlatent.evaluation.records import Record
from twinlatent.evaluation.reports import Check, JudgedAttack, JudgeReport
from twinlatent.evaluation.whitebox import WORST
from twinlatent.report import select
from twinlatent.report.labels import CHECKS, JUDGE_NAMES, KNOWLEDGE
from twinlatent.report.page_parts import (
    NBSP,
    NOTHING,
    attack,
    count_cell,
    note,
    percent,
    radius,
    section,
    share_cell,
    size_cell,
    table,
    without_empty,
)
from twinlatent.report.page_tables import by_detector, paper_cell
from twinlatent.report.select import CONDITIONS, Records, WhiteBox

ORDER = ("fail", "warn", "pass")
WHITE_BOX_NOTE = (
    "These attacks have the detector, its thresholds and its calibration images. <b>Wins at k&nbsp;%</b>: share of "
    "test images for which the attack finds a change within the radius that is misclassified <em>and</em> passes the "
    "threshold set beforehand to flag k&nbsp;% of held-out benign images. <b>Worst of all</b>: an image counts as soon "
    "as one attack wins it. In brackets 95&nbsp;% intervals."
)
CONDITIONS_NOTE = (
    "The paper counts an attack as successful when the image is misclassified as ŷ, is less suspicious than the "
    "mean benign "
    "image of ŷ (<b>C1</b>), more probable by its robust features than the mean benign image of ŷ (<b>C2</b>), and "
    "still shows its true class (<b>C3</b>, decided here by judges that never saw the detector). The mean is no "
    "operating point: many benign images fail C1 or C2, too, so the first row says how many of them pass. An image "
    "on which the judges differ counts as no longer showing its class; some benign images are such, so a C3 rate can "
    "be at most about the share of benign images that meet C3 alone, in the second row. <b>Size of change</b>: root "
    "mean square a pixel, of 255, averaged over the successes."
)
JUDGES_NOTE = (
    "A high success rate is no fault of the detector where the change has turned the image into another class. Judges "
    "that never saw the detector look at the images that won; they are believed where all of them agree, and as far as "
    "they are right on images whose class is beyond doubt. An image on which they differ counts as no longer showing "
    "its class; <b>all of them together</b> says, under benign, how many they agree on where nothing was changed."
)
CHECKS_NOTE = (
    "Checks of the evaluation by itself, not of the detector. <b>fail</b>: do not believe the numbers; <b>warn</b>: "
    "look first. The documentation has a paragraph for each by its name, in docs/trusting_a_result.md."
)


def white_box(records: Records) -> str:
    """The section of attacks on the detector itself."""
    body = by_detector(records, _suites)
    return section("whitebox", "Attacks on the detector itself (white box)", body and note(WHITE_BOX_NOTE) + body)


def conditions(records: Records) -> str:
    """The section of C1, C2 and C3."""
    body = by_detector(records, lambda own: "".join(_conditions(group) for group in select.conditions(own)))
    return section("conditions", "The paper's conditions C1, C2 and C3", body and note(CONDITIONS_NOTE) + body)


def judges(report: JudgeReport | None) -> str:
    """The section of what judges see."""
    if report is None:
        return ""
    seen = ("shows the true class (C3)", "shows the class read", "shows a third class", "judges differ")
    attacks = table(
        "What judges see in the images that won",
        ("attack", "ε", "won by", *seen, "images"),
        [_judged(seen) for seen in report.attacks if _images(seen)],
    )
    return section("judges", "What judges see", note(JUDGES_NOTE) + attacks + _own_accuracy(report))


def checks(found: Sequence[Check]) -> str:
    """The section of checks, the failed ones first."""
    rows = [
        (escape(check.name), _status(check), escape(CHECKS.get(check.name, NOTHING)), escape(check.finding))
        for check in in_order(found)
    ]
    body = table("Checks of this evaluation", ("check", "", "asks that", "finding"), rows, "attacks words")
    return section("checks", "Checks", body and body + note(CHECKS_NOTE))


def in_order(found: Sequence[Check]) -> list[Check]:
    """Failed, then warned, then passed ones."""
    return sorted(found, key=lambda check: ORDER.index(check.status))


def suite_size(box: WhiteBox) -> int:
    """How many attacks there are, no attack left out."""
    return sum(r.attack != "none" for r in box.attacks)


def _status(check: Check) -> str:
    return f'<span class="status {check.status}">{check.status}</span>'


def _suites(records: Records) -> str:
    return "".join(_suite(box) + _points(box) for box in select.white_boxes(records))


def _under(first: Record) -> str:
    return escape(f"{first.budget}, {first.score} score" if first.score else first.budget)


def _suite(box: WhiteBox) -> str:
    """Each attack at the main point; no table where only the worst of all was kept."""
    if not box.attacks:
        return ""
    shown = (*([box.worst] if box.worst else []), *box.attacks)
    rows = [(attack(r.attack), _knows(r.attack), share_cell(r), f"{r.n:,}") for r in shown]
    where = "" if box.epsilon is None else f" at L∞ {box.epsilon:g}"
    caption = f"Each attack{where}, {_under(box.records[0])}"
    headings = ("attack", "uses", f"wins at {box.metric[3:]}&nbsp;%", "images")
    return table(caption, headings, rows, "attacks ranked" if box.worst else "attacks")


def _knows(name: str) -> str:
    return "every attack below" if name == WORST else KNOWLEDGE.get(KINDS.get(name, ""), NOTHING)


def _points(box: WhiteBox) -> str:
    """The worst over radii and rates; no table where it would only repeat that of the attacks."""
    if box.attacks and len(box.points) < 2:
        return ""
    radii = sorted({r.epsilon for r in box.points}, key=lambda epsilon: epsilon or 0)
    rates = sorted({r.metric for r in box.points}, key=lambda metric: int(metric[3:]))
    rows = [
        (radius(epsilon), *(share_cell(select.find(box.points, epsilon=epsilon, metric=m), n=True) for m in rates))
        for epsilon in radii
    ]
    caption = f"Worst of all attacks over radii and false-alarm rates, {_under(box.records[0])}"
    return table(caption, ("ε", *(f"wins at {m[3:]}&nbsp;%" for m in rates)), rows)


def _conditions(group: Records) -> str:
    benign = _benign(group)
    by_attack = select.grouped((r for r in group if r.metric in CONDITIONS), lambda r: r.attack)
    first = {(r.attack, r.epsilon): r for own in by_attack for r in sorted(own, key=lambda r: r.epsilon or 0)}
    over, alone = ([r for r in first.values() if (r.epsilon is None) == free] for free in (False, True))
    kind = "attacks ranked" if benign else "attacks"
    headings = ("attack", "ε", "C1, C2", "paper", "C1, C2, C3", "size of change", "images")
    tables = ""
    for caption, found in (("Success over radii", over), ("Smallest change", alone)):
        if found:
            rows = benign + [_condition(group, r.attack, r.epsilon) for r in found]
            tables += table(f"{caption}, {_under(found[0])}", *without_empty(headings, rows), kind)
    return tables


def _benign(group: Records) -> list[tuple[str, ...]]:
    """What benign images make of C1 and C2, and of C3 where judges were asked."""
    passed, met = (select.find(group, metric=metric) for metric in (select.BENIGN_PASS, select.BENIGN_C3))
    rows: list[tuple[str, ...]] = []
    if passed is not None:
        rows.append(("benign images", NOTHING, share_cell(passed), NOTHING, NOTHING, NOTHING, count_cell([passed])))
    if any(r.metric == CONDITIONS[1] for r in group):
        cell = "not measured" if met is None else share_cell(met)
        rows.append(("benign images, C3 alone", NOTHING, NOTHING, NOTHING, cell, NOTHING, count_cell([met])))
    return rows


def _condition(group: Records, name: str, epsilon: float | None) -> tuple[str, ...]:
    two, three, size = (select.find(group, metric=metric, attack=name, epsilon=epsilon)
                        for metric in (*CONDITIONS, select.SIZE))  # fmt: skip
    paper = paper_cell(size)
    measured = size_cell(size) + ("" if paper == NOTHING else f" <small>paper {paper}</small>")
    return (attack(name), radius(epsilon), share_cell(two), paper_cell(two), share_cell(three), measured,
            count_cell([two, three]))  # fmt: skip


def _images(seen: JudgedAttack) -> int:
    return seen.shows_true + seen.shows_predicted + seen.neither + seen.disagree


def _judged(seen: JudgedAttack) -> tuple[str, ...]:
    n, counts = _images(seen), (seen.shows_true, seen.shows_predicted, seen.neither, seen.disagree)
    cells = (share_cell(rate(count, n)) for count in counts)
    goal = {"c1c2": "C1, C2"}.get(seen.goal, seen.goal)
    return attack(seen.attack), radius(seen.epsilon), escape(goal), *cells, f"{n:,}"


def _own_accuracy(report: JudgeReport) -> str:
    """A row a kind of images, a column a judge."""
    names = list(dict.fromkeys(case.judge for case in report.cases))
    found = {(case.cases, case.judge): Rate(case.value, case.n, case.low, case.high) for case in report.cases}
    rows = []
    for kind in dict.fromkeys(case.cases for case in report.cases):
        mine = [found.get((kind, name)) for name in names]
        rows.append((escape(kind), *map(share_cell, mine), count_cell(mine)))
    headings = ("kind of images", *(escape(JUDGE_NAMES.get(name, name)) for name in names), "images")
    return table("How often judges are right where the class is beyond doubt", headings, rows)


def said_of_worst(box: WhiteBox, worst: Record) -> str:
    """One sentence: what the worst of the suite does at the main radius."""
    where = "" if box.epsilon is None else f" within L∞ {box.epsilon:g}"
    count = suite_size(box)
    of = f"the worst of {count} attacks" if count > 1 else "the worst attack"
    return (f"Attacked itself{where}, {of} for each image gets {percent(worst)} of {worst.n:,} images "
            f"misclassified and past the threshold for {worst.metric[3:]}{NBSP}% false alarms.")  # fmt: skip
