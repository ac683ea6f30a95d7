"""FGSM, PGD and MIM: one loop over a ball, a step and an objective."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from twinlatent.attacks.balls import Ball, LInf
from twinlatent.attacks.models import Attackable, as_model, frozen
from twinlatent.attacks.objectives import Objective, cross_entropy
from twinlatent.attacks.steps import SignStep
from twinlatent.errors import TwinlatentError


@dataclass(frozen=True)
class AttackResult:
    """What an attack found for n images.

    Attributes:
        images: (n, channels, H, W), attacked images inside ball and box; the last iterate, as in the papers.
        labels: int64 (n,), what the model predicts for them.
        success: bool (n,), whether that differs from the true label; computed from `images`.
    """

    images: Tensor
    labels: Tensor
    success: Tensor


def ascend(
    objective: Callable[[Tensor], Tensor],
    images: Tensor,
    ball: Ball,
    step: SignStep,
    steps: int,
    *,
    random_start: bool = False,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Raise `objective` by projected steps and return the last iterate.

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
    model: Attackable, images: Tensor, labels: Tensor, *, epsilon: float, objective: Objective = cross_entropy
) -> AttackResult:
    """Fast gradient sign method, x + ε sign(∇L) (Goodfellow et al. 2015); see `pgd` for the arguments."""
    return _attack(model, images, labels, epsilon, SignStep(epsilon), 1, objective)


def pgd(
    model: Attackable,
    images: Tensor,
    labels: Tensor,
    *,
    epsilon: float,
    step_size: float = 0.01,
    steps: int = 40,
    seed: int = 0,
    objective: Objective = cross_entropy,
) -> AttackResult:
    """Projected gradient descent in L∞ from a random start, x ← Π(x + α sign(∇L)) (Madry et al. 2018).

    Args:
        model: an `nn.Module` or function, images → logits or `Outputs`. Its parameters, their gradients and its
            mode are left as found.
        images: float (n, channels, H, W) in [0, 1].
        labels: int64 (n,), the true labels.
        epsilon: radius, at least 0.
        step_size: α.
        steps: number of steps, at least 1.
        seed: of the random start.
        objective: what to raise.
    """
    step = SignStep(step_size)
    return _attack(model, images, labels, epsilon, step, steps, objective, random_start=True, seed=seed)


def mim(
    model: Attackable,
    images: Tensor,
    labels: Tensor,
    *,
    epsilon: float,
    step_size: float = 0.01,
    steps: int = 40,
    decay: float = 0.9,
    objective: Objective = cross_entropy,
) -> AttackResult:
    """Momentum iterative method, g ← μg + ∇L/‖∇L‖₁, x ← Π(x + α sign(g)) (Dong et al. 2018); see `pgd`."""
    return _attack(model, images, labels, epsilon, SignStep(step_size, decay), steps, objective)


def _attack(
    model: Attackable,
    images: Tensor,
    labels: Tensor,
    epsilon: float,
    step: SignStep,
    steps: int,
    objective: Objective,
    *,
    random_start: bool = False,
    seed: int = 0,
) -> AttackResult:
    if steps < 1:
        raise TwinlatentError(f"steps is {steps}; give at least 1")
    answer = as_model(model)
    generator = torch.Generator().manual_seed(seed)
    with frozen(model):
        attacked = ascend(lambda x: objective(answer(x), labels), images, LInf(epsilon), step, steps,
                          random_start=random_start, generator=generator)  # fmt: skip
        with torch.no_grad():
            predicted = answer(attacked).labels
    return AttackResult(attacked, predicted, predicted != labels)
