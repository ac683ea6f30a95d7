"""SR@FPR: success of the worst attack over radii and false-positive rates, without attacking what is settled.

A perturbation that wins in a ball wins in every larger one, and one that passes a detector set to flag 10 % of benign
images passes it set to 5 %, whose thresholds are higher. So at one main point the whole suite attacks every image. At
every other point an image that was won at a harder one is won, and the rest are attacked anew, by the whole suite: an
attack that lost, here or elsewhere, proves nothing.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import torch
from torch import Tensor

from twinlatent.attacks.models import Attackable
from twinlatent.data import LabelledImages, Split
from twinlatent.evaluation.measured import RATES, Measured
from twinlatent.evaluation.metrics import rate
from twinlatent.evaluation.whitebox import WORST, WhiteBoxRun, WhiteBoxSettings, attack_detector
from twinlatent.method.calibrated import CalibratedDetector
from twinlatent.provenance import Provenance

Point = tuple[float, float]
"""Radius and false-positive rate."""


@dataclass(frozen=True)
class OperatingPoints:
    """What the worst attack does at each point.

    Attributes:
        main: every attack at the main point.
        wins: radius and rate → bool (n,), whether any attack won: on all images at the main point, on the first few
            of them at the others. Monotone by construction.
        origins: of the runs that attacked.
    """

    main: WhiteBoxRun
    wins: Mapping[Point, Tensor]
    origins: tuple[Provenance, ...]

    def measured(self, score: str) -> Iterator[Measured]:
        """A success rate of the worst attack at each point."""
        for (epsilon, fpr), won in self.wins.items():
            yield f"sr@{round(100 * fpr)}", WORST, epsilon, score, rate(int(won.sum()), len(won))


def operating_points(
    detector: CalibratedDetector,
    split: Split,
    settings: WhiteBoxSettings,
    epsilons: Sequence[float],
    *,
    fprs: Sequence[float] = RATES,
    drawn: LabelledImages | None = None,
    few: int | None = None,
    substitute: Attackable | None = None,
    folder: Path | None = None,
    progress: bool = True,
) -> OperatingPoints:
    """Attack at the main point, that of the settings, and settle all others from there.

    Args:
        detector: see `attack_detector`, as for all that is not named here.
        split: its data set.
        settings: of the main point; the goal is to be misclassified and not flagged, the norm L∞.
        epsilons: radii in [0, 1].
        fprs: false-positive rates; those the calibration images cannot tell are left out.
        drawn: test images to attack; None: those that the settings ask for.
        few: how many of them, the first ones, are attacked at the other points; None: all.
        substitute: classifier of the attacker's own.
        folder: keeps what is done, one folder a point.
        progress: whether to show bars.
    """
    origins: list[Provenance] = []

    def attack(asked: WhiteBoxSettings, images: LabelledImages | None) -> WhiteBoxRun:
        here = folder and folder / f"epsilon-{asked.epsilon:g}-fpr-{asked.fpr:g}"
        run = attack_detector(detector, split, asked, drawn=images, substitute=substitute, folder=here,
                              progress=progress)  # fmt: skip
        origins.extend(run.result.origins)
        return run

    main = attack(settings, drawn)
    some = main.benign.subset(slice(few))
    wins = {(settings.epsilon, settings.fpr): main.wins[WORST][:few]}
    for epsilon, fpr in _others(settings, epsilons, [f for f in fprs if f >= detector.calibration.finest_fpr]):
        won = _won_before(wins, epsilon, fpr)
        rows = (~won).nonzero()[:, 0]
        if len(rows):
            asked = settings.model_copy(update={"epsilon": epsilon, "fpr": fpr, "remaining_only": True})
            won[rows] = attack(asked, some.subset(rows)).wins[WORST]
        wins[epsilon, fpr] = won
    at_main = main.wins[WORST].clone()
    at_main[:few] |= _won_before(wins, settings.epsilon, settings.fpr)
    wins[settings.epsilon, settings.fpr] = at_main
    return OperatingPoints(main, dict(sorted(wins.items())), tuple(origins))


def _others(settings: WhiteBoxSettings, epsilons: Sequence[float], fprs: Sequence[float]) -> list[Point]:
    """The points but the main one, the hardest for the attacker first: a win there is one at all that follow."""
    points = set(product(epsilons, fprs)) - {(settings.epsilon, settings.fpr)}
    return sorted(points, key=lambda point: (point[0], -point[1]))


def _won_before(wins: Mapping[Point, Tensor], epsilon: float, fpr: float) -> Tensor:
    """Images that were won in a ball no larger, past a threshold no looser: they are won at this point, too.

    That an attack lost at an easier point proves nothing.
    """
    won = torch.zeros_like(next(iter(wins.values())))
    for (radius, rate_), known in wins.items():
        if radius <= epsilon and rate_ >= fpr:
            won = won | known
    return won
