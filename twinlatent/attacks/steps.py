"""How a gradient becomes a step. Gradients are (..., channels, H, W); a norm is one image's, never the batch's."""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from twinlatent.arguments import real, understood
from twinlatent.attacks.balls import IMAGE, L2, Ball, unit

TINY = torch.finfo(torch.float32).tiny
"""Keeps a zero gradient from dividing by zero."""


class Step(Protocol):
    """Turns gradients into steps."""

    def direction(self, gradient: Tensor, momentum: Tensor) -> tuple[Tensor, Tensor]:
        """The step to add to the images, and the new momentum (zeros at the start)."""
        ...


@dataclass(frozen=True)
class SignStep:
    """Step of `size` along sign(g), g ← decay·g + ∇L/‖∇L‖₁: steepest in L∞.

    Decay 0 is PGD's step (Madry et al. 2018), decay above 0 is MIM's (Dong et al. 2018).

    Raises:
        TwinlatentError: `size` or `decay` is negative.
    """

    size: float
    decay: float = 0.0

    def __post_init__(self) -> None:
        understood(self, size=real("step size", self.size, least=0), decay=real("decay", self.decay, least=0))

    def direction(self, gradient: Tensor, momentum: Tensor) -> tuple[Tensor, Tensor]:
        """size·sign(g), and g."""
        momentum = accumulated(gradient, momentum, self.decay)
        return momentum.sign().mul_(self.size), momentum


@dataclass(frozen=True)
class UnitStep:
    """Step of length `size` along g/‖g‖₂, g ← decay·g + ∇L/‖∇L‖₁: steepest in L2.

    Decay 0 is PGD's step, decay above 0 is MIM's (Dong et al. 2018). No gradient, no step.

    Raises:
        TwinlatentError: `size` or `decay` is negative.
    """

    size: float
    decay: float = 0.0

    def __post_init__(self) -> None:
        understood(self, size=real("step size", self.size, least=0), decay=real("decay", self.decay, least=0))

    def direction(self, gradient: Tensor, momentum: Tensor) -> tuple[Tensor, Tensor]:
        """size·g/‖g‖₂, and g."""
        momentum = accumulated(gradient, momentum, self.decay)
        return self.size * unit(momentum), momentum


def step_in(ball: Ball, size: float, decay: float = 0.0) -> SignStep | UnitStep:
    """The steepest step in the ball's norm."""
    return UnitStep(size, decay) if isinstance(ball, L2) else SignStep(size, decay)


def accumulated(gradient: Tensor, momentum: Tensor, decay: float) -> Tensor:
    """g ← decay·g + ∇L/‖∇L‖₁; without decay ∇L itself, since only its direction matters."""
    if decay == 0:
        return gradient
    largest = gradient.abs().amax(IMAGE, keepdim=True)
    gradient = gradient / largest.clamp_min(TINY)  # first, so that no sum of tiny numbers underflows
    norm = gradient.abs().sum(IMAGE, keepdim=True)
    return (decay * momentum).add_(gradient.div_(norm.clamp_min(TINY)))
