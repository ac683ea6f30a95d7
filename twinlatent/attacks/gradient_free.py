"""Attacks that need no gradient of the attacked model: Square, noise, transfer. If they win, gradients are masked."""

from dataclasses import dataclass
from functools import partial
from typing import Unpack

import torch
from torch import Tensor

from twinlatent.arguments import real, understood, whole
from twinlatent.attacks.attack import (
    Attack,
    Found,
    RunOptions,
    again,
    run,
    seed_list,
)
from twinlatent.attacks.balls import Ball, LInf, Norm, ball_of, draw_each, generator_of
from twinlatent.attacks.models import Attackable, as_model, frozen, no_probabilities
from twinlatent.attacks.objectives import Margin, Objective
from twinlatent.attacks.results import AttackResult
from twinlatent.criteria import Aim, Criterion, HitsTarget, Misclassified
from twinlatent.outputs import Model

SHARES = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
"""After so many of 10,000 queries, or that share of fewer, Square's windows are halved in area."""


@dataclass(frozen=True)
class Square(Attack):
    """Random search with square windows in L∞ (Andriushchenko et al. 2020, algorithms 1 and 2).

    It starts from vertical stripes of ±ε; each query sets a random window to ±ε, a sign for each channel, and keeps it
    where the objective rises.

    Args:
        epsilon: L∞ radius.
        queries: model evaluations an image, at least 1, that of the image as it is being the first.
        objective: what to raise; needs no gradient.
        first_share: share of the pixels in the first window, in (0, 1].
        early_stop: leave an image alone after its first success.

    Raises:
        TwinlatentError: a setting is out of its range.
    """

    epsilon: float
    queries: int = 1000
    objective: Objective = Margin()
    first_share: float = 0.8
    early_stop: bool = True

    def __post_init__(self) -> None:
        understood(self, epsilon=LInf(self.epsilon).epsilon, queries=whole("queries", self.queries),
                   first_share=real("first_share", self.first_share, above=0, most=1))  # fmt: skip

    def __call__(self, model: Model, images: Tensor, aim: Aim, criterion: Criterion) -> Found:
        with torch.no_grad():
            return self._search(model, images, aim, criterion)

    def _search(self, model: Model, images: Tensor, aim: Aim, criterion: Criterion) -> Found:
        channels, width = images.shape[1], images.shape[3]
        stripes, draws = self._draws(aim, channels, width)
        stripes, draws = stripes.to(images), draws.to(images)
        rows, change = torch.arange(len(images), device=images.device), self.epsilon * stripes.expand_as(images)
        found = self._asked(model, images, aim, criterion)  # the image as it is
        best = images.new_full((len(images),), -torch.inf)
        for number in range(self.queries - 1):
            left = rows if not self.early_stop else rows[~found.success[rows]]
            if not len(left):
                break
            at = slice(None) if len(left) == len(rows) else torch.isin(rows, left)
            rows, change, best, images, aim = left, change[at], best[at], images[at], aim[at]
            tried = change
            if number:
                tried = torch.where(*self._window(draws[rows, number], images, number), change)
            new = self._asked(model, (images + tried).clamp(0, 1), aim, criterion)
            found = found.merged(new, rows)
            risen = new.rank > best
            change = torch.where(risen[:, None, None, None], tried, change)
            best = torch.maximum(best, new.rank)
        return found

    def _asked(self, model: Model, images: Tensor, aim: Aim, criterion: Criterion) -> Found:
        outputs = model(images)
        return Found.iterate(images, criterion(outputs, aim), self.objective(outputs, aim)).counted(1)

    def _window(self, draws: Tensor, images: Tensor, number: int) -> tuple[Tensor, Tensor]:
        """Where the window of each image is, (n, 1, H, W), and ±ε for each channel, (n, channels, 1, 1)."""
        height, width = images.shape[-2:]
        share = self.first_share / 2 ** sum(number / self.queries * 10_000 > step for step in SHARES)
        side = min(max(1, round((share * height * width) ** 0.5)), height, width)
        top, left = ((draws[:, i] * (size - side + 1)).floor() for i, size in enumerate((height, width)))
        row = torch.arange(height, device=images.device)[None] - top[:, None]
        column = torch.arange(width, device=images.device)[None] - left[:, None]
        inside = ((row >= 0) & (row < side))[:, None, :, None] & ((column >= 0) & (column < side))[:, None, None, :]
        return inside, self.epsilon * _signs(draws[:, 2:])[:, :, None, None]

    def _draws(self, aim: Aim, channels: int, width: int) -> tuple[Tensor, Tensor]:
        """Signs of the stripes (n, channels, 1, width); place and signs of each query (n, queries, 2 + channels)."""
        stripes, queries = [], []
        for seed in seed_list(aim):
            draw = partial(torch.rand, generator=generator_of(seed), device="cpu", dtype=torch.float32)
            stripes.append(_signs(draw(channels, 1, width)))
            queries.append(draw(self.queries, 2 + channels))
        return torch.stack(stripes), torch.stack(queries)


@dataclass(frozen=True)
class Noise(Attack):
    """Random points of the ball, half of them on its edge: what any attack must beat.

    Args:
        ball: to draw from.
        draws: how many an image, at least 1.
        objective: ranks them.

    Raises:
        TwinlatentError: less than one draw.
    """

    ball: Ball
    draws: int = 20
    objective: Objective = Margin()

    def __post_init__(self) -> None:
        understood(self, draws=whole("draws", self.draws))

    def __call__(self, model: Model, images: Tensor, aim: Aim, criterion: Criterion) -> Found:
        found, every = Found.nothing(images), torch.arange(len(images), device=images.device)
        with torch.no_grad():
            for number in range(self.draws):
                drawn = draw_each(self.ball, images, seed_list(again(aim, number)))
                if number % 2:
                    drawn = self.ball.project(images + 1e3 * (drawn - images).sign(), images)
                outputs = model(drawn)
                new = Found.iterate(drawn, criterion(outputs, aim), self.objective(outputs, aim))
                found = found.merged(new.counted(1), every)
        return found


@dataclass(frozen=True)
class Unchanged(Attack):
    """No attack: the images as they are, for the share of benign ones that meet a criterion by themselves."""

    def __call__(self, model: Model, images: Tensor, aim: Aim, criterion: Criterion) -> Found:
        with torch.no_grad():
            return Found.iterate(images, criterion(model(images), aim), images.new_zeros(len(images)))


@dataclass(frozen=True, eq=False)
class Transfer(Attack):
    """An attack on a substitute, whose outcome is shown to the model once.

    Args:
        substitute: an `nn.Module` or function of the attacker's own.
        attack: run on it, to be misclassified by it (as the target, if there is one).
        objective: ranks what came out.
    """

    substitute: Attackable
    attack: Attack
    objective: Objective = Margin()

    def __call__(self, model: Model, images: Tensor, aim: Aim, criterion: Criterion) -> Found:
        wanted = Misclassified() if aim.targets is None else HitsTarget()
        with frozen(self.substitute):
            there = self.attack(no_probabilities(as_model(self.substitute)), images, aim, wanted).images
        with torch.no_grad():
            outputs = model(there)
        return Found.iterate(there, criterion(outputs, aim), self.objective(outputs, aim)).counted(1)


def _signs(uniform: Tensor) -> Tensor:
    return torch.where(uniform < 0.5, -torch.ones_like(uniform), 1.0)


def square(
    model: Attackable,
    images: Tensor,
    labels: Tensor,
    *,
    epsilon: float,
    queries: int = 1000,
    objective: Objective = Margin(),
    early_stop: bool = True,
    **options: Unpack[RunOptions],
) -> AttackResult:
    """Square attack in L∞, without gradients (Andriushchenko et al. 2020); see `Square` and `run`."""
    return run(Square(epsilon, queries, objective, early_stop=early_stop), model, images, labels, **options)


def uniform_noise(
    model: Attackable,
    images: Tensor,
    labels: Tensor,
    *,
    epsilon: float,
    draws: int = 20,
    norm: Norm = "linf",
    objective: Objective = Margin(),
    **options: Unpack[RunOptions],
) -> AttackResult:
    """The best of several random perturbations of the same radius; see `Noise` and `run`."""
    return run(Noise(ball_of(norm, epsilon), draws, objective), model, images, labels, **options)


def transfer(
    model: Attackable,
    images: Tensor,
    labels: Tensor,
    *,
    substitute: Attackable,
    attack: Attack,
    **options: Unpack[RunOptions],
) -> AttackResult:
    """Attack a substitute and show what came out to the model; see `Transfer` and `run`."""
    return run(Transfer(substitute, attack), model, images, labels, **options)
