"""FGSM, PGD and MIM: one loop over a ball, a step and a guide."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Unpack

import torch
from torch import Tensor

from twinlatent.arguments import understood, whole
from twinlatent.attacks.attack import Attack, Found, RunOptions, run, seed_list
from twinlatent.attacks.balls import Ball, Norm, ball_of, draw_each
from twinlatent.attacks.guides import Ascent, Guide
from twinlatent.attacks.models import Attackable
from twinlatent.attacks.objectives import LogOdds, Objective
from twinlatent.attacks.results import AttackResult
from twinlatent.attacks.search import Restarts
from twinlatent.attacks.steps import Step, step_in
from twinlatent.criteria import Aim, Criterion
from twinlatent.errors import TwinlatentError
from twinlatent.outputs import Model


@dataclass(frozen=True)
class Iterative(Attack):
    """Projected steps along a guide, x ← Π(x + step(∇)); the best iterate is kept, the start included.

    Among iterates that meet the criterion the one of highest rank is best, and any of them is better than those that do
    not.

    Args:
        ball: where the perturbed images may lie.
        step: how gradients become steps.
        steps: how many, at least 1.
        guide: where to go.
        random_start: begin at a random point of the ball.
        shrink: let the step size fall linearly from that of `step` to nothing.
        early_stop: leave an image alone after its first success, which is then what is kept.

    Raises:
        TwinlatentError: less than one step.
    """

    ball: Ball
    step: Step
    steps: int
    guide: Guide = Ascent()
    random_start: bool = False
    shrink: bool = False
    early_stop: bool = False

    def __post_init__(self) -> None:
        understood(self, steps=whole("steps", self.steps))

    def __call__(self, model: Model, images: Tensor, aim: Aim, criterion: Criterion) -> Found:
        found, rows = Found.nothing(images), torch.arange(len(images), device=images.device)
        centre, x = images, self._start(images, aim)
        momentum = torch.zeros_like(images)
        for number in range(self.steps + 1):
            last = number == self.steps
            x = x.detach().requires_grad_(not last)
            outputs = model(x)
            if last:
                rank, gradient = self.guide.rank(outputs, aim), None
            else:
                rank, gradient = self.guide.gradient(x, outputs, aim)
                gradient = gradient.nan_to_num(0, 0, 0)
            success = criterion(outputs, aim)
            found = found.merged(Found.iterate(x, success, rank, gradient), rows)
            if gradient is None:
                break
            if self.early_stop and bool(success.any()):
                left = ~success
                rows, x, centre, momentum, gradient = (t[left] for t in (rows, x, centre, momentum, gradient))
                aim = aim[left]
                if not len(rows):
                    break
            direction, momentum = self.step.direction(gradient, momentum)
            share = 1 - number / self.steps if self.shrink else 1.0
            x = self.ball.project(torch.add(x.detach(), direction, alpha=share), centre)
        return found

    def _start(self, images: Tensor, aim: Aim) -> Tensor:
        if not self.random_start:
            return images
        return draw_each(self.ball, images, seed_list(aim))


def ascend(
    objective: Callable[[Tensor], Tensor],
    images: Tensor,
    ball: Ball,
    step: Step,
    steps: int,
    *,
    random_start: bool = False,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Raise `objective` by projected steps and return the last iterate: the bare loop, as the game needs it.

    Args:
        objective: images → one number an image, of the leading shape of `images`.
        images: (..., channels, H, W) in [0, 1]; any leading dimensions.
        ball: where the perturbed images may lie.
        step: how gradients become steps.
        steps: how many.
        random_start: begin at a random point of the ball.
        generator: of the random start.
    """
    x = ball.random(images, generator) if random_start else images
    momentum = torch.zeros_like(images)
    for _ in range(steps):
        x = x.detach().requires_grad_()
        with torch.enable_grad():
            (gradient,) = torch.autograd.grad(objective(x).sum(), x)
        direction, momentum = step.direction(gradient, momentum)
        x = ball.project(x.detach() + direction, images)
    return x.detach()


def fgsm(
    model: Attackable,
    images: Tensor,
    labels: Tensor,
    *,
    epsilon: float,
    objective: Objective = LogOdds(),
    **options: Unpack[RunOptions],
) -> AttackResult:
    """Fast gradient sign method, x + ε sign(∇L) (Goodfellow et al. 2015); see `pgd` for the arguments."""
    ball = ball_of("linf", epsilon)
    return run(Iterative(ball, step_in(ball, ball.epsilon), 1, Ascent(objective)), model, images, labels, **options)


def pgd(
    model: Attackable,
    images: Tensor,
    labels: Tensor,
    *,
    epsilon: float,
    step_size: float = 0.01,
    steps: int = 40,
    objective: Objective = LogOdds(),
    norm: Norm = "linf",
    restarts: int = 1,
    shrink: bool = False,
    early_stop: bool = False,
    **options: Unpack[RunOptions],
) -> AttackResult:
    """Projected gradient descent from a random start, x ← Π(x + α sign(∇L)) (Madry et al. 2018).

    Args:
        model: an `nn.Module` or function, images → logits or `Outputs`.
        images: float (n, channels, H, W) in [0, 1].
        labels: int64 (n,), the true labels.
        epsilon: radius, at least 0.
        step_size: α.
        steps: number of steps, at least 1.
        objective: what to raise.
        norm: of the ball; in `l2` a step is α·∇L/‖∇L‖₂.
        restarts: random starts, at least 1; an image that was a success is left alone.
        shrink: let α fall linearly to nothing; with α near ε the stronger choice where nothing else is known.
        early_stop: leave an image alone after its first success. Faster, same success, smaller change.
        options: targets, criterion, seed and more, see `run`.
    """
    ball = ball_of(norm, epsilon)
    attack = Iterative(ball, step_in(ball, step_size), steps, Ascent(objective), True, shrink, early_stop)
    return run(Restarts(attack, restarts), model, images, labels, **options)


def mim(
    model: Attackable,
    images: Tensor,
    labels: Tensor,
    *,
    epsilon: float,
    step_size: float = 0.01,
    steps: int = 40,
    decay: float = 0.9,
    objective: Objective = LogOdds(),
    norm: Norm = "linf",
    random_start: bool = False,
    restarts: int = 1,
    early_stop: bool = False,
    **options: Unpack[RunOptions],
) -> AttackResult:
    """Momentum iterative method, g ← μg + ∇L/‖∇L‖₁, x ← Π(x + α sign(g)) (Dong et al. 2018); see `pgd`.

    It starts from the image itself unless `random_start` is set; more than one restart needs that.
    """
    ball = ball_of(norm, epsilon)
    restarts = whole("restarts", restarts)
    if restarts > 1 and not random_start:
        raise TwinlatentError(f"restarts is {restarts}, but each would start from the image; set random_start=True")
    attack = Iterative(ball, step_in(ball, step_size, decay), steps, Ascent(objective), random_start,
                       early_stop=early_stop)  # fmt: skip
    return run(Restarts(attack, restarts), model, images, labels, **options)
