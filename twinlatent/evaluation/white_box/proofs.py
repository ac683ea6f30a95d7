"""Certified SR@FPR: at each point the images of which it is proved that no attack there succeeds.

Attacks find a floor of what an adversary can do, certificates a ceiling: attacked ≤ truth ≤ proved. What is proved of a
ball holds in every smaller one, so an image for which a certificate fails is not asked again in a larger one.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from twinlatent.attacks.balls import Norm
from twinlatent.attacks.suite_runs import with_slack
from twinlatent.data import LabelledImages
from twinlatent.evaluation.metrics import rate
from twinlatent.evaluation.protocol import Point
from twinlatent.evaluation.results import ANY, BOUNDS, CERTIFIED, OF_ATTACKED, Row, Rows
from twinlatent.evaluation.white_box.kept_proofs import KeptProofs
from twinlatent.method.calibrated import CalibratedDetector
from twinlatent.method.certificate import CERTIFIED_AT_ONCE, Undecided, bounded, certify_rates
from twinlatent.progress import bar


@dataclass(frozen=True)
class Proofs:
    """What is proved of a detector at several points.

    Attributes:
        holds: radius and rate → bool (n,), of the images attacked there those for which no attack can succeed.
        beyond: the same at the main radius, of more images.
        undecided: why nothing is proved; empty where something could be.
    """

    holds: Mapping[Point, Tensor] = field(default_factory=dict)
    beyond: Mapping[Point, Tensor] = field(default_factory=dict)
    undecided: str = ""

    def rows(self, score: str) -> list[Rows]:
        """Certified SR@FPR at each point."""
        kinds = ((self.holds, OF_ATTACKED), (self.beyond, BOUNDS))
        return [made for holds, budget in kinds for made in certified_rows(holds, score, budget)]


def certified_rows(holds: Mapping[Point, Tensor], score: str, budget: str, norm: Norm = "linf") -> list[Rows]:
    """The shares of images for which a certificate fails: what no attack can exceed, rate by rate.

    As attacks in L2 do, certificates there tell the radius in the budget's name.
    """
    found: dict[tuple[float, str], list[Row]] = {}
    for point, held in sorted(holds.items()):
        lost = rate(int((~held).sum()), len(held))
        epsilon, called = (
            (point.epsilon, budget) if norm == "linf" else (None, f"{budget}, L2 radius {point.epsilon:g}")
        )
        found.setdefault((point.fpr, called), []).append(Row(CERTIFIED, ANY, epsilon, score, lost))
    return [Rows(tuple(rows), called, asked=fpr) for (fpr, called), rows in found.items()]


def prove(
    detector: CalibratedDetector,
    attacked: LabelledImages,
    wins: Mapping[Point, Tensor],
    more: LabelledImages | None = None,
    epsilon: float = 0.0,
    *,
    folder: Path | None = None,
    progress: bool = True,
) -> Proofs:
    """Certify at every point the images that were attacked there, and at one radius more images.

    Args:
        detector: of any kind; what is not ours is left undecided.
        attacked: the attacked images, with their true labels.
        wins: radius and rate → bool (n,), of the first n of them, as in `OperatingPoints`.
        more: images to certify at `epsilon`, at each of its rates; left out if they are no more than the attacked ones,
            or if nothing is proved of these.
        epsilon: radius of the main point.
        folder: keeps what is proved.
        progress: whether to show bars.
    """
    counts = {len(won) for won in wins.values()}
    main, kept = [point for point in wins if point.epsilon == epsilon], KeptProofs(folder) if folder else None
    try:
        holds: dict[Point, Tensor] = {}
        for count in sorted(counts):
            there = [point for point, won in wins.items() if len(won) == count]
            holds |= holds_at(detector, attacked.subset(slice(count)), there, kept=kept, progress=progress)
        beyond = {}
        if more is not None and len(more) > len(attacked) and any(bool(holds[point].any()) for point in main):
            beyond = holds_at(detector, more, main, kept=kept, progress=progress)
    except Undecided as error:
        return Proofs(undecided=str(error))
    return Proofs(holds, beyond)


def holds_at(
    detector: CalibratedDetector,
    images: LabelledImages,
    points: Iterable[Point],
    *,
    norm: Norm = "linf",
    kept: KeptProofs | None = None,
    progress: bool = True,
) -> dict[Point, Tensor]:
    """Radius and rate → bool (n,): images of which it is proved that no attack there succeeds.

    Changes may be larger than the radius by as much as a suite overlooks, `with_slack`.

    Args:
        detector: ours.
        images: with their true labels.
        points: radii, in L∞ at most 1, and rates that the calibration can tell.
        norm: of the radii.
        kept: has what was proved before an interruption, and gets the rest.
        progress: whether to show a bar.

    Raises:
        Undecided: no bound is known for such a detector.
    """
    points = sorted(points)
    radii, rates = sorted({point.epsilon for point in points}), sorted({point.fpr for point in points})
    found: dict[Point, Tensor] = {}
    left = torch.arange(len(images))
    levels = [bounded(detector).bounds(fpr).thresholds[fpr] for fpr in rates] if kept else []

    def proved(epsilon: float, some: LabelledImages) -> Tensor:
        """bool (rates, n)."""
        reach = min(1.0, with_slack(epsilon)) if norm == "linf" else with_slack(epsilon)
        made = certify_rates(detector, some.images, some.labels, reach, rates, norm=norm)
        return torch.stack([certificate.holds for certificate in made])

    with bar("certificate", len(radii) * len(images), show=progress) as shown:
        for epsilon in radii:
            held = torch.zeros(len(rates), len(images), dtype=torch.bool)
            for rows in left.split(CERTIFIED_AT_ONCE) if len(left) else ():
                some = images.subset(rows)
                make = partial(proved, epsilon, some)
                asked = (detector.fingerprint, detector.score, levels, norm, epsilon, some.images, some.labels)
                held[:, rows] = kept.of(asked, make) if kept else make()
                shown.advance(len(rows))
            shown.advance(len(images) - len(left))
            found |= {Point(epsilon, fpr): row for fpr, row in zip(rates, held, strict=True)}
            left = held.any(0).nonzero()[:, 0]
    return {point: found[point] for point in points}
