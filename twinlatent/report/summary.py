"""The top of a page: one sentence a question, numbers to remember, and which checks did not pass."""

from collections.abc import Sequence
from dataclasses import dataclass

from twinlatent.drawing.labels import attack_name
from twinlatent.evaluation.results import Check, Record, Report, false_alarms
from twinlatent.report import select
from twinlatent.report.cells import Number, interval, percent, share, with_count, within
from twinlatent.report.rendering import NBSP, Cell
from twinlatent.report.select import WhiteBox
from twinlatent.report.tables import suite_size


@dataclass(frozen=True)
class Headline:
    """The records the summary speaks of: one detector's, under its own suspicion score."""

    accuracy: Record | None
    fpr: Record | None
    areas: tuple[Record, ...]
    caught: tuple[Record, ...]
    white_box: WhiteBox | None

    @property
    def worst(self) -> Record | None:
        """The worst of the suite at the main radius."""
        return self.white_box.headline if self.white_box else None

    @property
    def proved(self) -> Record | None:
        """What no attack can exceed there, where something is proved."""
        return self.white_box.promise if self.white_box else None


@dataclass(frozen=True)
class Tile:
    """A number to remember, its interval and number of images, and what it is."""

    number: str
    interval: str
    meaning: str


def headline(run: Report) -> Headline:
    """Pick them from a run."""
    own = select.of_model(run.records, run.model)
    rows = [r for r in own if r.score in (None, run.model.score)] or own
    attacks = next((group for group in select.black_box(rows)), ())
    every = [r for r in attacks if not select.misclassified_only(r)]
    return Headline(
        accuracy=select.find(rows, metric="accuracy"),
        fpr=false_alarms(rows, run.model.fpr),
        areas=tuple(r for r in every if r.metric == "auc"),
        caught=tuple(r for r in every if r.metric == "tpr@5"),
        white_box=select.main_white_box(own, run.model.score),
    )


def lead(run: Report, head: Headline) -> str:
    """What was found, in a few sentences."""
    said = []
    if head.accuracy:
        said.append(f"On {head.accuracy.n:,} {run.model.test_data} test images the detector classifies "
                    f"{percent(head.accuracy)} correctly.")  # fmt: skip
    if head.areas:
        count = len({record.attack for record in head.areas})
        attacks = f"{count} attacks" if count > 1 else f"one attack ({attack_name(head.areas[0].attack)})"
        flagged = f", and flags {percent(head.fpr)} of benign images." if head.fpr else "."
        said.append(f"It tells benign images from images attacked on a substitute (black box) with an AUC of "
                    f"{_span(head.areas)} over {attacks}{flagged}")  # fmt: skip
    if head.white_box and head.worst:
        where = within(head.white_box.epsilon)
        said.append(f"Attacked itself (white box){where}, {_worst_of(head.white_box)} for each image gets "
                    f"{percent(head.worst)} of {head.worst.n:,} images misclassified and not flagged, at a "
                    f"false-positive rate of {head.worst.metric[3:]}{NBSP}%.")  # fmt: skip
    if head.white_box and head.proved:
        said.append(f"It is proved that no attack{within(head.white_box.epsilon)}, known or not, gets more than "
                    f"{percent(head.proved)} of {head.proved.n:,} images misclassified and not flagged.")  # fmt: skip
    return " ".join(said)


def tiles(run: Report, head: Headline) -> list[Tile]:
    """The numbers to remember."""
    shown = []
    if head.accuracy:
        shown.append(Tile(percent(head.accuracy), _sure(head.accuracy), "of benign images classified correctly"))
    if head.fpr:
        asked = f"of benign images flagged; {share(run.model.fpr)} was asked for"
        shown.append(Tile(percent(head.fpr), _sure(head.fpr), asked))
    if head.areas:
        each = ", ".join(f"{attack_name(r.attack)} {r.value:.3f}" for r in head.areas)
        least = min(head.areas, key=lambda record: record.value)
        sure = f"lowest {with_count(interval(least, '{:.3f}', 1), least.n)}"
        shown.append(Tile(_span(head.areas), sure, f"AUC of attacks made on a substitute: {each}"))
    if head.caught:
        least = min(head.caught, key=lambda record: record.value)
        about = (f"of {attack_name(least.attack)} images flagged at a false-positive rate of 5{NBSP}%; no other attack "
                 "is detected less often")  # fmt: skip
        shown.append(Tile(percent(least), _sure(least), about))
    if head.white_box and head.worst:
        about = (f"SR@{head.worst.metric[3:]}{NBSP}%: images on which {_worst_of(head.white_box)} on the detector "
                 f"itself succeeds{within(head.white_box.epsilon)}; lower is better")  # fmt: skip
        shown.append(Tile(percent(head.worst), _sure(head.worst), about))
    if head.white_box and head.proved:
        about = (f"certified SR@{share(head.proved.asked or 0)}: images on which an attack could succeed"
                 f"{within(head.white_box.epsilon)}; of all others it is proved that none can")  # fmt: skip
        shown.append(Tile(f"≤ {percent(head.proved)}", _sure(head.proved), about))
    return shown


def check_counts(checks: Sequence[Check]) -> tuple[Cell, ...]:
    """How many checks passed and how many did not; nothing if there are none."""
    counts = {status: sum(check.status == status for check in checks) for status in ("pass", "warn", "fail")}
    return tuple(Cell(f"{count} {status}", kind=status) for status, count in counts.items()) if checks else ()


def _worst_of(box: WhiteBox) -> str:
    return f"the worst of {suite_size(box)} attacks" if suite_size(box) > 1 else "the worst attack"


def _sure(number: Number) -> str:
    return with_count(interval(number), number.n)


def _span(areas: Sequence[Record]) -> str:
    low, high = (f"{pick(area.value for area in areas):.3f}" for pick in (min, max))
    return low if low == high else f"{low}–{high}"
