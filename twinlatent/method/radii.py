"""An L∞ ball and sign steps of its own size for each image of a training attack."""

from dataclasses import dataclass

import torch
from torch import Tensor

from twinlatent.attacks.steps import SignStep


@dataclass(frozen=True)
class OwnRadii:
    """‖δ‖_∞ ≤ the image's radius, a `twinlatent.attacks.balls.Ball`.

    Attributes:
        radii: in [0, 1], of any shape that broadcasts to the images'.
    """

    radii: Tensor

    @property
    def epsilon(self) -> float:
        """The largest."""
        return float(self.radii.max())

    def project(self, images: Tensor, centre: Tensor) -> Tensor:
        """Clip to [centre − radius, centre + radius] and to [0, 1]."""
        return (centre + (images - centre).clamp(-self.radii, self.radii)).clamp_(0, 1)

    def random(self, centre: Tensor, generator: torch.Generator | None) -> Tensor:
        """Uniform noise in ±radius, clipped to [0, 1]."""
        noise = torch.rand(centre.shape, generator=generator).to(centre)
        return (centre + self.radii * (2 * noise - 1)).clamp(0, 1)


@dataclass(frozen=True)
class OwnSteps:
    """Sign steps of the image's size, with momentum of `decay`; a `twinlatent.attacks.steps.Step`.

    Attributes:
        sizes: of any shape that broadcasts to the images'.
    """

    sizes: Tensor
    decay: float

    def direction(self, gradient: Tensor, momentum: Tensor) -> tuple[Tensor, Tensor]:
        """sizes·sign(g), and g."""
        direction, momentum = SignStep(1.0, self.decay).direction(gradient, momentum)
        return direction.mul_(self.sizes), momentum
