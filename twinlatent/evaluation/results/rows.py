"""From measured numbers to records: a row is made by whoever measured it and goes unchanged into the record."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from twinlatent.data import Split
from twinlatent.evaluation.metrics import Rate
from twinlatent.evaluation.results.keeping import reused
from twinlatent.evaluation.results.records import MEAN, Record
from twinlatent.method.calibrated import CalibratedDetector
from twinlatent.provenance import Provenance


@dataclass(frozen=True)
class Row:
    """One measured number.

    Attributes:
        metric, attack, epsilon, score: as in `Record`.
        rate: the number, with n and interval.
    """

    metric: str
    attack: str
    epsilon: float | None
    score: str | None
    rate: Rate


@dataclass(frozen=True)
class Rows:
    """Numbers that rest on the same things.

    Attributes:
        rows: the numbers.
        budget: name of the attacks' budget.
        substitute: classifier that was attacked, or `MEAN`; None where there is none.
        origins: of the runs that made what the numbers rest on.
        asked: the false-positive rate that was asked for, of "fpr", "flagged_shift" and "sr_certified" alone.
    """

    rows: tuple[Row, ...]
    budget: str
    substitute: str | None = None
    origins: tuple[Provenance, ...] = ()
    asked: float | None = None


def mean_over_substitutes(parts: Sequence[Rows]) -> list[Rows]:
    """The mean over substitutes of each number, for each budget.

    Its interval has the means of the limits as limits: all attack the same images, so it is as wide as that of one. n
    is the smallest.
    """
    means = []
    for budget in dict.fromkeys(part.budget for part in parts):
        mine = [part for part in parts if part.budget == budget]
        found: dict[tuple[str, str, float | None, str | None], list[Row]] = {}
        for row in (row for part in mine for row in part.rows):
            found.setdefault((row.metric, row.attack, row.epsilon, row.score), []).append(row)
        rows = tuple(replace(same[0], rate=_mean([row.rate for row in same])) for same in found.values())
        means.append(Rows(rows, budget, MEAN, tuple(origin for part in mine for origin in part.origins)))
    return means


def _mean(numbers: Sequence[Rate]) -> Rate:
    def mean(values: Iterable[float]) -> float:
        return sum(values) / len(numbers)

    return Rate(mean(r.value for r in numbers), min(r.n for r in numbers), mean(r.low for r in numbers),
                mean(r.high for r in numbers))  # fmt: skip


def records_of(
    parts: Iterable[Rows],
    detector: CalibratedDetector,
    split: Split,
    seed: int,
    seconds: float,
    origin: Provenance,
) -> list[Record]:
    """Records of measured numbers, with what they rest on and the run `origin` that measured them."""
    return [
        Record(
            data=split.short_name,
            method=detector.method,
            trained_with=detector.trained_with,
            attack=row.attack,
            epsilon=row.epsilon,
            score=row.score,
            metric=row.metric,
            value=row.rate.value,
            n=row.rate.n,
            low=row.rate.low,
            high=row.rate.high,
            seed=seed,
            seconds=round(seconds, 1),
            **origin.model_dump(),
            budget=part.budget,
            substitute=part.substitute,
            reused=reused(part.origins, origin),
            asked=part.asked,
        )
        for part in parts
        for row in part.rows
    ]
