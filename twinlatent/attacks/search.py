"""Searches around an attack: more starts, every target, and the weight γ of the bypass term, for each image."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from twinlatent.arguments import real, understood, whole
from twinlatent.attacks.attack import Attack, Found, again
from twinlatent.attacks.guides import fooled
from twinlatent.criteria import Aim, Criterion
from twinlatent.errors import TwinlatentError
from twinlatent.outputs import Model


@dataclass(frozen=True)
class Restarts(Attack):
    """An attack several times with other random draws; images that were a success are left alone.

    Raises:
        TwinlatentError: less than one time.
    """

    attack: Attack
    count: int

    def __post_init__(self) -> None:
        understood(self, count=whole("restarts", self.count))

    def __call__(self, model: Model, images: Tensor, aim: Aim, criterion: Criterion) -> Found:
        found = Found.nothing(images)
        for number in range(self.count):
            rows = _open(found)
            if len(rows):
                found = found.merged(self.attack(model, images[rows], again(aim, number)[rows], criterion), rows)
        return found


@dataclass(frozen=True)
class EveryTarget(Attack):
    """A targeted attack towards each wrong class, the likeliest first; images that were a success are left alone.

    Args:
        attack: run with wrong classes as targets.
        count: only so many of the likeliest; None: all.
        screen: a cheaper attack that is run towards every wrong class before; the likeliest are then the classes it
            came nearest to, by its own rank. None: those of the highest logits.

    Raises:
        TwinlatentError: a count below 1; when run, targets that were given.
    """

    attack: Attack
    count: int | None = None
    screen: Attack | None = None

    def __post_init__(self) -> None:
        if self.count is not None:
            understood(self, count=whole("count of targets", self.count))

    def __call__(self, model: Model, images: Tensor, aim: Aim, criterion: Criterion) -> Found:
        if aim.targets is not None:
            raise TwinlatentError("targets are given, but this attack tries every wrong class; leave them out")
        found, order = Found.nothing(images), _wrong_classes(model, images, aim)
        if self.screen is not None:
            found, nearness = _towards_each(self.screen, model, images, aim, criterion, found, order)
            order = order.gather(1, nearness.argsort(stable=True, dim=1, descending=True))
        return _towards_each(self.attack, model, images, aim, criterion, found, order[:, : self.count])[0]


def _towards_each(
    attack: Attack, model: Model, images: Tensor, aim: Aim, criterion: Criterion, found: Found, targets: Tensor
) -> tuple[Found, Tensor]:
    """Attack the images that are no success yet towards each column of targets (n, k).

    Returns:
        what is found then, and the rank of each attempt (n, k), −∞ where none was made.
    """
    ranks = images.new_full(targets.shape, -torch.inf)
    for number in range(targets.shape[1]):
        rows = _open(found)
        if len(rows):
            towards = replace(again(aim, number), targets=targets[:, number])[rows]
            new = attack(model, images[rows], towards, criterion)
            ranks[rows, number] = new.rank
            found = found.merged(new, rows)
    return found, ranks


@dataclass(frozen=True)
class GammaSearch(Attack):
    """An attack whose objective has a `Bypass` term, with γ searched for each image as CW searches its c.

    Of attempts that failed the least suspicious one that is misclassified is kept.

    After an attempt that failed, γ rises if the image is misclassified, since it was detected then, and falls if it
    is not. It moves by `factor` until an attempt failed on either side, then to the geometric mean of both.

    Args:
        attack: uses the aim's γ.
        searches: attempts an image, at least 1 (bs of the paper).
        start: first γ, above 0.
        factor: above 1.

    Raises:
        TwinlatentError: one of them is out of its range.
    """

    attack: Attack
    searches: int = 3
    start: float = 1.0
    factor: float = 10.0

    def __post_init__(self) -> None:
        understood(self, searches=whole("searches", self.searches), start=real("start of γ", self.start, above=0),
                   factor=real("factor of γ", self.factor, above=1))  # fmt: skip

    def __call__(self, model: Model, images: Tensor, aim: Aim, criterion: Criterion) -> Found:
        found = Found.nothing(images)
        gamma = images.new_full((len(images),), self.start)
        low, high = torch.zeros_like(gamma), torch.full_like(gamma, torch.inf)  # too low, too high: what failed so far
        for _ in range(self.searches):
            rows = _open(found)
            if not len(rows):
                break
            wanted = replace(aim, gamma=gamma)[rows]
            new = self.attack(model, images[rows], wanted, criterion)
            with torch.no_grad():
                outputs = model(new.images)
            misclassified, suspicion = fooled(outputs, wanted), outputs.suspicion_of_label
            rank = 2 * misclassified - suspicion / (1 + suspicion.abs())  # the attack's own ranks hang on γ
            found = found.merged(replace(new, rank=rank, gamma=gamma[rows]), rows)
            low[rows] = torch.where(misclassified, gamma[rows], low[rows])
            high[rows] = torch.where(misclassified, high[rows], gamma[rows])
            gamma = self._next(low, high)
        return replace(found, gamma_stuck=~found.success & ((low == 0) | high.isinf()))

    def _next(self, low: Tensor, high: Tensor) -> Tensor:
        """Between what was too low and what was too high, or further the same way; rows are positive throughout."""
        one_sided = torch.where(high.isinf(), low * self.factor, high / self.factor)
        return torch.where((low == 0) | high.isinf(), one_sided, (low * high).sqrt())


def _open(found: Found) -> Tensor:
    """Rows that are no success yet."""
    return (~found.success).nonzero()[:, 0]


def _wrong_classes(model: Model, images: Tensor, aim: Aim) -> Tensor:
    """The wrong classes of each image, likeliest first, (n, C − 1)."""
    with torch.no_grad():
        logits = model(images).logits
    order = logits.argsort(stable=True, dim=1, descending=True)
    return order[order != aim.labels[:, None]].reshape(len(images), -1)
