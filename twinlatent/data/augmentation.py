"""Small changes of training images that leave their class as it is, for data sets of few images.

Letters: n images, H and W height and width in pixels.
"""

import math

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor
from torch.nn import functional as F


class Augmentation(BaseModel):
    """What is changed of each image whenever it is drawn for training; by default nothing.

    Nothing of it may be guessed from the images: it is asked for by whoever knows that a class stays what it is.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    flip: bool = False
    """Mirror half of the images left to right; not for what has a left and a right, such as arrows and letters."""
    shift: int = Field(0, ge=0)
    """Move by up to this many pixels up or down and left or right; the border is repeated."""
    brightness: float = Field(0.0, ge=0, lt=1)
    """Multiply all pixels by a factor from 1 − this to 1 + this; what gets brighter than 1 is cut off."""
    blur: float = Field(0.0, ge=0, le=10)
    """Blur by a Gaussian whose σ is from 0 to this many pixels; the border is repeated."""
    rotation: float = Field(0.0, ge=0, le=180)
    """Turn about the middle by up to this many degrees either way, between pixels linearly; the border is repeated."""
    contrast: float = Field(0.0, ge=0, lt=1)
    """Multiply all differences from the image's mean by a factor from 1 − this to 1 + this."""
    offset: float = Field(0.0, ge=0, lt=1)
    """Add a number from minus this to this to all pixels; what leaves [0, 1] is cut off."""
    noise: float = Field(0.0, ge=0, lt=1)
    """Add Gaussian noise whose σ is from 0 to this; what leaves [0, 1] is cut off."""


def augmented(images: Tensor, settings: Augmentation, generator: torch.Generator) -> Tensor:
    """Each image changed by draws of its own.

    Args:
        images: (..., channels, H, W) in [0, 1].
        settings: what is drawn; where all is off, nothing is, and `images` itself comes back.
        generator: of the draws, on the CPU.

    Returns:
        images of the same shape in [0, 1].
    """
    whole = images.flatten(0, -4) if images.ndim > 4 else images
    n, changed = len(whole), whole
    if settings.flip:
        mirrored = torch.rand(n, generator=generator) < 0.5
        changed = torch.where(mirrored.to(whole.device)[:, None, None, None], changed.flip(-1), changed)
    if settings.shift:
        moves = torch.randint(-settings.shift, settings.shift + 1, (2, n), generator=generator).to(whole.device)
        changed = _moved(_moved(changed, moves[0], -2), moves[1], -1)
    if settings.brightness:
        factors = 1 + settings.brightness * (2 * torch.rand(n, generator=generator) - 1)
        changed = (changed * factors.to(whole.device)[:, None, None, None]).clamp_max(1)
    if settings.blur:
        sigmas = settings.blur * torch.rand(n, generator=generator)
        changed = _blurred(changed, sigmas.to(whole.device), math.ceil(3 * settings.blur))
    if settings.rotation:
        angles = math.radians(settings.rotation) * (2 * torch.rand(n, generator=generator) - 1)
        changed = _turned(changed, angles.to(whole.device))
    if settings.contrast:
        mean = changed.mean((1, 2, 3), keepdim=True)
        changed = (mean + (1 + settings.contrast * _either_way(changed, generator)) * (changed - mean)).clamp(0, 1)
    if settings.offset:
        changed = (changed + settings.offset * _either_way(changed, generator)).clamp(0, 1)
    if settings.noise:
        sigmas = settings.noise * torch.rand(n, 1, 1, 1, generator=generator)
        changed = (changed + (sigmas * torch.randn(changed.shape, generator=generator)).to(whole.device)).clamp(0, 1)
    return changed.view(images.shape)


def _either_way(images: Tensor, generator: torch.Generator) -> Tensor:
    """From −1 to 1 for each of images (n, channels, H, W): (n, 1, 1, 1)."""
    return (2 * torch.rand(len(images), 1, 1, 1, generator=generator) - 1).to(images.device)


def _blurred(images: Tensor, sigmas: Tensor, reach: int) -> Tensor:
    """(n, channels, H, W), each after a Gaussian of its own σ (n,), cut off at `reach` pixels."""
    n, channels, height, width = images.shape
    places = torch.arange(-reach, reach + 1, device=images.device)
    kernels = torch.exp(-0.5 * (places / sigmas[:, None].clamp_min(1e-3)) ** 2)
    weights = (kernels / kernels.sum(1, keepdim=True)).repeat_interleave(channels, 0)[:, None, :, None]
    planes = F.pad(images.reshape(1, n * channels, height, width), (reach,) * 4, mode="replicate")
    rows = F.conv2d(planes, weights, groups=n * channels)
    return F.conv2d(rows, weights.mT, groups=n * channels).view(images.shape).clamp(0, 1)


def _turned(images: Tensor, angles: Tensor) -> Tensor:
    """(n, channels, H, W), each turned counter-clockwise by its angle (n,), in radians."""
    height, width = images.shape[-2:]
    cos, sin, none = angles.cos(), angles.sin(), torch.zeros_like(angles)
    rows = [cos, -sin * height / width, none], [sin * width / height, cos, none]  # sides of 2, whatever the image
    places = F.affine_grid(
        torch.stack([torch.stack(row, 1) for row in rows], 1), list(images.shape), align_corners=False
    )
    return F.grid_sample(images, places, padding_mode="border", align_corners=False).clamp(0, 1)


def _moved(images: Tensor, moves: Tensor, axis: int) -> Tensor:
    """(n, channels, H, W), each moved along an axis by its number (n,) of pixels."""
    size = images.shape[axis]
    places = (torch.arange(size, device=images.device) - moves[:, None]).clamp(0, size - 1)
    shape = [len(images), 1, 1, 1]
    shape[axis] = size
    return images.gather(axis, places.view(shape).expand_as(images))
