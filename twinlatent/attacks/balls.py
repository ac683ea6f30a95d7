"""Norm balls around images, cut to the box [0, 1]. Images are (..., channels, H, W); a norm is one image's."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor

from twinlatent.arguments import real, understood
from twinlatent.errors import TwinlatentError

Norm = Literal["linf", "l2"]
IMAGE = (-3, -2, -1)
"""The dimensions of one image."""


class Ball(Protocol):
    """Perturbations an attack may make."""

    @property
    def epsilon(self) -> float:
        """Its radius."""
        ...

    def project(self, images: Tensor, centre: Tensor) -> Tensor:
        """Images that lie in the ball around `centre` and in [0, 1]; those that do so already stay."""
        ...

    def random(self, centre: Tensor, generator: torch.Generator | None) -> Tensor:
        """Images drawn at random from the ball around `centre`, in [0, 1]."""
        ...


@dataclass(frozen=True)
class LInf:
    """‖δ‖_∞ ≤ epsilon.

    Raises:
        TwinlatentError: epsilon is not in [0, 1].
    """

    epsilon: float

    def __post_init__(self) -> None:
        radius = _radius(self.epsilon)
        if radius > 1:
            raise TwinlatentError(f"epsilon is {self.epsilon}; in L∞ give at most 1, the whole box; 8 grey levels are "
                                  "8/255")  # fmt: skip
        understood(self, epsilon=radius)

    def project(self, images: Tensor, centre: Tensor) -> Tensor:
        """Clip to [centre − ε, centre + ε] and to [0, 1]: the nearest such images."""
        change = (images - centre).clamp_(-self.epsilon, self.epsilon)
        return change.add_(centre).clamp_(0, 1)  # all in one piece of memory, which is what takes the time

    def random(self, centre: Tensor, generator: torch.Generator | None) -> Tensor:
        """Uniform noise in ±ε, clipped to [0, 1]."""
        noise = _on_its_device(torch.rand, centre, generator)
        return (centre + self.epsilon * (2 * noise - 1)).clamp(0, 1)


@dataclass(frozen=True)
class L2:
    """‖δ‖₂ ≤ epsilon, the root of the sum of squares over an image's pixels and channels.

    Raises:
        TwinlatentError: epsilon is negative or not a number.
    """

    epsilon: float

    def __post_init__(self) -> None:
        understood(self, epsilon=_radius(self.epsilon))

    def project(self, images: Tensor, centre: Tensor) -> Tensor:
        """Shrink δ to the ball, then clip to [0, 1], which shrinks it further."""
        change = images - centre
        size = l2_norm(change)
        return torch.where(size <= self.epsilon, images, centre + self.epsilon * unit(change)).clamp(0, 1)

    def random(self, centre: Tensor, generator: torch.Generator | None) -> Tensor:
        """Uniform in the ball, clipped to [0, 1]."""
        noise = _on_its_device(torch.randn, centre, generator)
        radius = _on_its_device(torch.rand, centre[..., :1, :1, :1], generator)
        size = self.epsilon * radius ** (1 / centre.shape[-3:].numel())
        return (centre + size * unit(noise)).clamp(0, 1)


def ball_of(norm: Norm, epsilon: float) -> LInf | L2:
    """The ball of a norm's name.

    Raises:
        TwinlatentError: the name is unknown or the radius no radius.
    """
    balls: dict[str, type[LInf] | type[L2]] = {"linf": LInf, "l2": L2}
    if not isinstance(norm, str) or norm not in balls:
        raise TwinlatentError(f"norm {norm!r} is unknown; choose linf or l2")
    return balls[norm](epsilon)


def l2_norm(change: Tensor) -> Tensor:
    """‖δ‖₂ of each image, with its dimensions kept at 1."""
    scaled, largest = _scaled(change)
    return largest * scaled.square().sum(IMAGE, keepdim=True).sqrt()


def unit(change: Tensor) -> Tensor:
    """δ/‖δ‖₂ of each image, 0 where δ is 0, however small or large it is."""
    scaled, _ = _scaled(change)
    return scaled / scaled.square().sum(IMAGE, keepdim=True).sqrt().clamp_min(1)


def _scaled(change: Tensor) -> tuple[Tensor, Tensor]:
    """δ with the largest entry of each image at ±1, so that no square under- or overflows, and what that entry was."""
    largest = change.abs().amax(IMAGE, keepdim=True)
    return change / torch.where(largest > 0, largest, 1), largest


def draw_each(ball: Ball, centre: Tensor, seeds: list[int]) -> Tensor:
    """A random point of each image's ball, from that image's own seed; n ≥ 1 images."""
    return torch.stack([ball.random(image, generator_of(seed)) for image, seed in zip(centre, seeds, strict=True)])


def generator_of(seed: int) -> torch.Generator:
    """A generator on the CPU, so that draws are the same on every device."""
    return torch.Generator().manual_seed(seed)


def _on_its_device(draw: Callable[..., Tensor], like: Tensor, generator: torch.Generator | None) -> Tensor:
    device = generator.device if generator is not None else like.device
    return draw(like.shape, generator=generator, device=device, dtype=torch.float32).to(like.device)


def _radius(epsilon: object) -> float:
    return real("epsilon", epsilon, least=0, wanted="a number of at least 0, such as 0.3")
