"""Which records of attacks on one detector belong together: the suite, the worst of it over radii, what is proved."""

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from twinlatent.evaluation.results.parts import ModelCard
from twinlatent.evaluation.results.records import BOUNDS, CERTIFIED, MEAN, OF_ATTACKED, WORST, Record

if TYPE_CHECKING:
    from twinlatent.drawing.curves import Interval, SuccessCurve

Records = tuple[Record, ...]
SUITE, HEADLINE = "sr@", "sr@5"


def grouped(records: Iterable[Record], key: Callable[[Record], Hashable]) -> list[Records]:
    """Records with equal keys together, in the order in which the keys come first."""
    groups: dict[Hashable, list[Record]] = {}
    for record in records:
        groups.setdefault(key(record), []).append(record)
    return [tuple(group) for group in groups.values()]


def detectors(records: Iterable[Record]) -> list[Records]:
    """Records of one detector and seed belong together."""
    return grouped(records, lambda r: (r.data, r.method, r.trained_with, r.seed))


def of_model(records: Iterable[Record], model: ModelCard) -> Records:
    """Records of the detector on the card, `overall`; where there are none, of the first one."""
    groups = detectors(overall(records))
    own = [group for group in groups if (group[0].method, group[0].trained_with) == (model.method, model.trained_with)]
    return next(iter([*own, *groups]), ())


def overall(records: Iterable[Record]) -> Records:
    """All but those of a single substitute of several, whose mean stands for them."""
    return tuple(r for r in records if r.substitute in (None, MEAN))


@dataclass(frozen=True)
class WhiteBox:
    """Success of a suite against one detector under one score.

    Attributes:
        records: all of them, every metric being sr@k.
        epsilon: L∞ radius of the main point, where every attack was run on the most images; None: it has none.
        metric: sr@k of the main point.
        proved: what no attack can exceed, at the same points and elsewhere, every metric being sr_certified.
    """

    records: Records
    epsilon: float | None
    metric: str
    proved: Records = ()

    @property
    def attacks(self) -> Records:
        """Each attack at the main point, the strongest first."""
        there = (r for r in self.records if r.attack != WORST and (r.epsilon, r.metric) == (self.epsilon, self.metric))
        return tuple(sorted(there, key=lambda r: -r.value))

    @property
    def worst(self) -> Record | None:
        """The worst of all attacks at the main point."""
        return self._worst_at(self.metric)

    @property
    def headline(self) -> Record | None:
        """The worst at the main radius and 5 % false positives, or at the main point where that was not measured."""
        return self._worst_at(HEADLINE) or self.worst

    @property
    def points(self) -> Records:
        """The worst at every radius and rate."""
        return tuple(r for r in self.records if r.attack == WORST)

    def ceiling(self, floor: Record) -> Record | None:
        """What no attack can exceed on the same images, at the same radius and rate."""
        same = (r for r in self.proved if r.budget == OF_ATTACKED and r.n == floor.n)
        return next((r for r in same if (r.epsilon, _asked(r)) == (floor.epsilon, floor.metric)), None)

    @property
    def beyond(self) -> Records:
        """The same at the main radius, of more images."""
        return tuple(r for r in self.proved if r.budget == BOUNDS and r.epsilon == self.epsilon)

    @property
    def promise(self) -> Record | None:
        """The ceiling of the headline: of the most images, and only where something is proved of some."""
        floor = self.headline
        if floor is None:
            return None
        found = (*(r for r in self.beyond if _asked(r) == floor.metric), self.ceiling(floor))
        return next((r for r in found if r is not None and r.value < 1), None)

    @property
    def curves(self) -> "Mapping[str, SuccessCurve]":
        """The worst over radii, a curve a false-positive rate; empty where no radius is known."""
        return {rate: curve(found) for rate, found in self._by_rate.items()}

    @property
    def proved_curves(self) -> "Mapping[str, SuccessCurve]":
        """Of some of the same rates, what no attack can exceed."""
        ceilings = {rate: [self.ceiling(floor) for floor in found] for rate, found in self._by_rate.items()}
        return {rate: made for rate, found in ceilings.items() if (made := ceiling_curve(found))}

    @property
    def _by_rate(self) -> Mapping[str, Records]:
        points = sorted((r for r in self.points if r.epsilon is not None), key=lambda r: percentage(r.metric))
        return {f"false-positive rate {own[0].metric[3:]} %": own for own in grouped(points, lambda r: r.metric)}

    def _worst_at(self, metric: str) -> Record | None:
        return next((r for r in self.points if (r.epsilon, r.metric) == (self.epsilon, metric)), None)


def white_boxes(records: Iterable[Record]) -> list[WhiteBox]:
    """One for each budget and score."""
    records = tuple(records)
    found = (r for r in records if r.metric.startswith(SUITE))
    return [_white_box(group, records) for group in grouped(found, lambda r: (r.budget, r.score))]


def main_white_box(records: Iterable[Record], score: str) -> WhiteBox | None:
    """That of the detector's own score, or the first; the one with the most attacks where there are several."""
    boxes = white_boxes(records)
    own = [box for box in boxes if box.records[0].score == score] or boxes
    return max(own, key=lambda box: len(box.attacks), default=None)


def _white_box(group: Records, records: Records) -> WhiteBox:
    single = [r for r in group if r.attack != WORST] or group
    main = max(single, key=lambda r: (r.n, r.epsilon or 0, r.metric == HEADLINE))
    proved = tuple(r for r in records if r.metric == CERTIFIED and r.score == main.score)
    return WhiteBox(group, main.epsilon, main.metric, proved)


def _asked(proved: Record) -> str:
    """The sr@k that a certified rate bounds."""
    return f"{SUITE}{100 * (proved.asked or 0):g}"


def ceiling_curve(found: Sequence[Record | None]) -> "SuccessCurve | None":
    """Of what is proved at several radii; None where something is missing, or nothing is proved of any image."""
    there = [r for r in found if r is not None]
    return curve(there) if len(there) == len(found) and any(r.value < 1 for r in there) else None


def percentage(metric: str) -> float:
    """k of a metric such as sr@k or tpr@k."""
    return float(metric.partition("@")[2])


def interval(record: Record) -> "Interval":
    """Value, and the ends of its interval, the value itself where it has none."""
    low = record.value if record.low is None else record.low
    return record.value, low, record.value if record.high is None else record.high


def curve(records: Sequence[Record]) -> "SuccessCurve":
    """Over L∞ radii; records without one are left out."""
    rows = sorted((r.epsilon, *interval(r)) for r in records if r.epsilon is not None)
    epsilon, value, low, high = np.array(rows, dtype=np.float64).reshape(-1, 4).T
    return epsilon, value, low, high
