"""Which test images are attacked, and at which points: radii and false-positive rates.

A perturbation that wins in a ball wins in every larger one, and one that passes a detector set to flag 10 % of benign
images passes it set to 5 %, whose thresholds are higher. That an attack lost at an easier point proves nothing.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor

from twinlatent.data import LabelledImages
from twinlatent.data.split import seeded
from twinlatent.errors import TwinlatentError

RATES = (0.01, 0.05, 0.10)
"""False-positive rates at which detection is reported, where the calibration images can tell them."""


@dataclass(frozen=True, order=True)
class Point:
    """L∞ radius and false-positive rate."""

    epsilon: float
    fpr: float

    def implies(self, other: "Point") -> bool:
        """Whether an image that is won here is won there: in a ball no smaller, past a threshold no stricter."""
        return self.epsilon <= other.epsilon and self.fpr >= other.fpr


def other_points(main: Point, epsilons: Iterable[float], fprs: Iterable[float]) -> list[Point]:
    """All points but the main one, the hardest for the attacker first: a win there is one at all that follow."""
    points = {Point(*pair) for pair in product(epsilons, fprs)} - {main}
    return sorted(points, key=lambda point: (point.epsilon, -point.fpr))


def won_before(wins: Mapping[Point, Tensor], point: Point) -> Tensor:
    """Images, bool (n,), that are won at the point since they were won at a harder one; `wins` has at least one."""
    won = torch.zeros_like(next(iter(wins.values())))
    for known, images in wins.items():
        if known.implies(point):
            won = won | images
    return won


def drawn_rows(count: int, images: int | None, seed: int) -> Tensor:
    """Positions of so many of `count` images, drawn by seed, in random order: a set may be sorted. None: all of them.

    Raises:
        TwinlatentError: there are not so many.
    """
    images = count if images is None else images
    if not (images == count or 1 <= images <= count):
        raise TwinlatentError(f"{images} test images are asked for; there are {count}")
    return torch.randperm(count, generator=seeded(seed))[:images]


def draw(data: LabelledImages, images: int | None, seed: int) -> LabelledImages:
    """So many of the images, see `drawn_rows`: any first few of them are a random sample, too."""
    return data.subset(drawn_rows(len(data), images, seed))
