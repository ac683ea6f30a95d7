"""Norm balls around images, cut to the box [0, 1]. Images are (..., channels, H, W); a norm is one image's."""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from twinlatent.errors import TwinlatentError


class Ball(Protocol):
    """Perturbations an attack may make."""

    def project(self, images: Tensor, centre: Tensor) -> Tensor:
        """The nearest images that lie in the ball around `centre` and in [0, 1]."""
        ...

    def random(self, centre: Tensor, generator: torch.Generator | None) -> Tensor:
        """Images drawn at random from the ball around `centre`, in [0, 1]."""
        ...


@dataclass(frozen=True)
class LInf:
    """‖δ‖_∞ ≤ epsilon.

    Raises:
        TwinlatentError: epsilon is negative or not a number.
    """

    epsilon: float

    def __post_init__(self) -> None:
        if not self.epsilon >= 0:
            raise TwinlatentError(f"epsilon is {self.epsilon}; give a number of at least 0, such as 0.3")

    def project(self, images: Tensor, centre: Tensor) -> Tensor:
        """Clip to [centre − ε, centre + ε] and to [0, 1]."""
        low, high = (centre - self.epsilon).clamp_min(0), (centre + self.epsilon).clamp_max(1)
        return torch.minimum(torch.maximum(images, low), high)

    def random(self, centre: Tensor, generator: torch.Generator | None) -> Tensor:
        """Uniform noise in ±ε, clipped to [0, 1]."""
        device = generator.device if generator is not None else centre.device
        noise = torch.rand(centre.shape, generator=generator, device=device).to(centre.device)
        return (centre + self.epsilon * (2 * noise - 1)).clamp(0, 1)
