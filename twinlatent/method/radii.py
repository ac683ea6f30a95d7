"""Training attacks in a ball, the same for all images, or in L∞ one of its own for each."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from pydantic import ValidationInfo
from torch import Tensor

from twinlatent.attacks.balls import IMAGE, Norm, ball_of
from twinlatent.attacks.iterative import ascend
from twinlatent.attacks.steps import SignStep, step_in


def within_the_box(epsilon: float, info: ValidationInfo) -> float:
    """A setting's radius, refused if it is more than the whole box in L∞; the field `norm` stands before it.

    Raises:
        ValueError: it is.
    """
    if epsilon > 1 and info.data.get("norm") == "linf":
        raise ValueError("in L∞ give at most 1, the whole box")
    return epsilon


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


def ascend_within(
    gain: Callable[[Tensor], Tensor],
    images: Tensor,
    epsilon: float,
    *,
    smallest: float,
    steps: int,
    stride: float,
    step_size: float | None,
    decay: float,
    random_start: bool,
    generator: torch.Generator,
    norm: Norm = "linf",
) -> Tensor:
    """Raise `gain` by projected steps, each image within a radius of its own from `smallest`·ε to ε.

    Args:
        gain: images → one number an image.
        images: (..., channels, H, W) in [0, 1].
        epsilon: the largest radius.
        smallest: 1 for the whole ε everywhere; else logarithms of radii are drawn evenly.
        steps: how many.
        stride: a step is this × radius / steps.
        step_size: instead, the same for all.
        decay: of the momentum.
        random_start: begin at a random point of the ball.
        generator: of radii and random starts.
        norm: of the ball; radii of an image's own are for L∞ alone.
    """
    if smallest == 1:
        ball = ball_of(norm, epsilon)
        step = step_in(ball, step_size or stride * epsilon / steps, decay)
        return ascend(gain, images, ball, step, steps, random_start=random_start, generator=generator)
    radii = epsilon * drawn_shares(images, smallest, generator)
    sizes = stride * radii / steps if step_size is None else torch.full_like(radii, step_size)
    return ascend(gain, images, OwnRadii(radii), OwnSteps(sizes, decay), steps, random_start=random_start,
                  generator=generator)  # fmt: skip


def drawn_shares(images: Tensor, smallest: float, generator: torch.Generator) -> Tensor:
    """From `smallest` to 1 for each of images (..., channels, H, W), logarithms evenly: (..., 1, 1, 1)."""
    shares = smallest ** torch.rand(images.shape[: IMAGE[0]], generator=generator).to(images.device)
    return shares[..., None, None, None]
