"""Which records belong together: in a table, in a curve, in the summary."""

from collections.abc import Iterable

from twinlatent.evaluation.results import BESIDE, MEAN, MISCLASSIFIED_ONLY, Record
from twinlatent.evaluation.results.white_boxes import (
    HEADLINE,
    Records,
    WhiteBox,
    ceiling_curve,
    curve,
    detectors,
    grouped,
    interval,
    main_white_box,
    of_model,
    overall,
    percentage,
    white_boxes,
)

__all__ = [
    "BENIGN_C3",
    "BENIGN_PASS",
    "CONDITIONS",
    "HEADLINE",
    "Records",
    "SIZE",
    "WhiteBox",
    "black_box",
    "ceiling_curve",
    "conditions",
    "curve",
    "detectors",
    "find",
    "grouped",
    "interval",
    "main_white_box",
    "misclassified_only",
    "of_model",
    "overall",
    "percentage",
    "substitutes",
    "white_boxes",
]

CONDITIONS = ("sr_c1c2", "sr_c1c2c3")
BENIGN_PASS, BENIGN_C3, SIZE = "benign_pass_c1c2", "benign_c3", "l2_rms255"


def substitutes(records: Iterable[Record]) -> tuple[str, ...]:
    """Names of the substitutes that have numbers of their own."""
    return tuple(dict.fromkeys(r.substitute for r in records if r.substitute not in (None, MEAN)))


def misclassified_only(record: Record) -> bool:
    """Whether it is taken over those attacked images alone that the substitute misclassifies."""
    return record.budget.endswith(MISCLASSIFIED_ONLY)


def black_box(records: Iterable[Record]) -> list[Records]:
    """Of attacks on substitutes, `overall`: a group a budget, in it all images and misclassified ones."""
    found = (r for r in overall(records) if r.metric in ("auc", "attack_success") or r.metric.startswith("tpr@"))
    attacked = (r for r in found if r.attack != "none")
    groups = grouped(attacked, lambda r: r.budget.removesuffix(MISCLASSIFIED_ONLY))
    return [group for group in groups if any(r.metric != "attack_success" for r in group)]


def conditions(records: Iterable[Record]) -> list[Records]:
    """C1, C2 and C3: a group a suite and score, with the size of changes and the shares of benign images that pass.

    C3 asks for no score, so the benign images that meet it are in each group of their suite.
    """
    records = list(records)
    wanted = (*CONDITIONS, BENIGN_PASS, SIZE)
    groups = grouped((r for r in records if r.metric in wanted), lambda r: (_suite(r), r.score))
    ceilings = [r for r in records if r.metric == BENIGN_C3]
    return [(*group, *(r for r in ceilings if _suite(r) == _suite(group[0])))
            for group in groups if any(r.metric in CONDITIONS for r in group)]  # fmt: skip


def _suite(record: Record) -> str:
    return record.budget.partition(BESIDE)[0]


def find(records: Iterable[Record], **fields: object) -> Record | None:
    """The first record with these values."""
    return next((r for r in records if all(getattr(r, name) == value for name, value in fields.items())), None)
