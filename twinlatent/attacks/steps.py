"""How a gradient becomes a step. Gradients are (..., channels, H, W); a norm is one image's, never the batch's."""

from dataclasses import dataclass

import torch
from torch import Tensor

from twinlatent.errors import TwinlatentError

TINY = torch.finfo(torch.float32).tiny
"""Keeps a zero gradient from dividing by zero."""


@dataclass(frozen=True)
class SignStep:
    """Step of `size` along sign(g), g ← decay·g + ∇L/‖∇L‖₁.

    Decay 0 is PGD's step (Madry et al. 2018), decay above 0 is MIM's (Dong et al. 2018).

    Raises:
        TwinlatentError: `size` or `decay` is negative.
    """

    size: float
    decay: float = 0.0

    def __post_init__(self) -> None:
        if not (self.size >= 0 and self.decay >= 0):
            raise TwinlatentError(f"step size {self.size} and decay {self.decay} must be at least 0")

    def direction(self, gradient: Tensor, momentum: Tensor) -> tuple[Tensor, Tensor]:
        """The step to add to the images, and the new momentum (zeros at the start)."""
        largest = gradient.abs().amax((-1, -2, -3), keepdim=True)
        gradient = gradient / largest.clamp_min(TINY)  # first, so that no sum of tiny numbers underflows
        norm = gradient.abs().sum((-1, -2, -3), keepdim=True)
        momentum = self.decay * momentum + gradient / norm.clamp_min(TINY)
        return self.size * torch.sign(momentum), momentum
