"""The top of a page: one sentence a question, numbers to remember, and which checks did not pass."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from twinlatent.evaluation.records import Record, false_alarms
from twinlatent.evaluation.reports import Check
from twinlatent.evaluation.run_folder import EvaluationRun
from twinlatent.report import select
from twinlatent.report.page_parts import NBSP, Number, attack, interval, percent, share
from twinlatent.report.page_white_box import in_order, said_of_worst, suite_size
from twinlatent.report.select import WhiteBox


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


def headline(run: EvaluationRun) -> Headline:
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


def lead(run: EvaluationRun) -> str:
    """What was found, in a few sentences."""
    head, said, data = headline(run), [], escape(run.model.test_data)
    if head.accuracy:
        right = percent(head.accuracy)
        said.append(f"On {head.accuracy.n:,} {data} test images the detector reads {right} correctly.")
    if head.areas:
        count = len({record.attack for record in head.areas})
        attacks = f"{count} attacks" if count > 1 else f"one attack ({attack(head.areas[0].attack)})"
        said.append(f"It tells benign images from images attacked elsewhere with an AUC of {_span(head.areas)} over "
                    f"{attacks}")  # fmt: skip
        said[-1] += f", and flags {percent(head.fpr)} of benign images." if head.fpr else "."
    if head.white_box and head.worst:
        said.append(said_of_worst(head.white_box, head.worst))
    return " ".join(said)


def tiles(run: EvaluationRun) -> str:
    """The numbers to remember, each with its interval and number of images."""
    head, shown = headline(run), []
    if head.accuracy:
        shown.append((percent(head.accuracy), _sure(head.accuracy), "of benign images read correctly"))
    if head.fpr:
        asked = f"of benign images flagged; it was set to {share(run.model.fpr)}"
        shown.append((percent(head.fpr), _sure(head.fpr), asked))
    if head.areas:
        each = ", ".join(f"{attack(r.attack)} {r.value:.3f}" for r in head.areas)
        least = min(head.areas, key=lambda record: record.value)
        sure = f"lowest {interval(least, '{:.3f}', 1)} n{NBSP}{least.n:,}"
        shown.append((_span(head.areas), sure, f"AUC of attacks made on a substitute: {each}"))
    if head.caught:
        least = min(head.caught, key=lambda record: record.value)
        about = f"of {attack(least.attack)} images flagged at 5{NBSP}% false alarms, the attack it sees worst"
        shown.append((percent(least), _sure(least), about))
    if head.white_box and head.worst:
        shown.append((percent(head.worst), _sure(head.worst), _success(head.white_box, head.worst)))
    return "<ul class=tiles>" + "".join(f"<li><b>{n}</b><small>{sure}</small><span>{text}</span></li>"
                                        for n, sure, text in shown) + "</ul>" if shown else ""  # fmt: skip


def findings(checks: Sequence[Check]) -> str:
    """How many checks passed, and those that did not in full."""
    if not checks:
        return ""
    found = in_order(checks)
    counts = ", ".join(f'<span class="status {status}">{sum(c.status == status for c in found)} {status}</span>'
                       for status in ("pass", "warn", "fail"))  # fmt: skip
    shown = "".join(
        f"<li class={check.status}><span class=status>{check.status}</span> <b>{escape(check.name)}</b>: "
        f"{escape(check.finding)}</li>"
        for check in found
        if check.status != "pass"
    )
    listed = f"<ul class=findings>{shown}</ul>" if shown else ""
    return f"<div><p class=checked><b>Checks of this evaluation:</b> {counts}.</p>{listed}</div>"


def _success(box: WhiteBox, worst: Record) -> str:
    where = "" if box.epsilon is None else f" within L∞ {box.epsilon:g}"
    of = f"the worst of {suite_size(box)} attacks" if suite_size(box) > 1 else "the worst attack"
    return f"SR@{worst.metric[3:]}{NBSP}%: images that {of} on the detector itself wins{where}; lower is better"


def _sure(number: Number) -> str:
    return f"{interval(number)} n{NBSP}{number.n:,}".strip()


def _span(areas: Sequence[Record]) -> str:
    low, high = (f"{pick(area.value for area in areas):.3f}" for pick in (min, max))
    return low if low == high else f"{low}–{high}"
