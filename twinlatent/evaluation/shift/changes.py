"""Mild changes that honest images undergo on their way: each with a name, and at three strengths.

Which they are and how strong was fixed before anything was measured, with the milder corruptions of MNIST-C and
CIFAR-10-C as a guide (N. Mu and J. Gilmer 2019; D. Hendrycks and T. Dietterich 2019). Letters: n images, H and W height
and width.
"""

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage
from torch import Tensor

from twinlatent.attacks.attack import seeds_of
from twinlatent.data.split import seeded
from twinlatent.data.validation import check_images
from twinlatent.errors import TwinlatentError
from twinlatent.torch_state import fresh_torch

Pixels = NDArray[np.float64]
"""One image, (channels, H, W) in [0, 1]."""
SIDE = 28
"""Amounts in pixels are those of an image of this side; they grow in proportion to the shorter side of others."""
STRENGTHS = (1, 2, 3)
DIRECTIONS = ((-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1))


@dataclass(frozen=True)
class Change:
    """A kind of change.

    Attributes:
        made: (image, amount, draws) → image, which may leave [0, 1] a little.
        amounts: how much at strengths 1, 2 and 3.
        meaning: of the amount, with its unit, for a reader.
        in_pixels: whether the amount grows with the image.
    """

    made: Callable[[Pixels, float, torch.Generator], Pixels]
    amounts: tuple[float, float, float]
    meaning: str
    in_pixels: bool = False

    def amount(self, strength: int, side: int) -> float:
        """Of a strength, for images whose shorter side has so many pixels."""
        amount = self.amounts[strength - 1]
        return amount * side / SIDE if self.in_pixels else amount


def _blur(image: Pixels, sigma: float, _: torch.Generator) -> Pixels:
    return np.asarray(ndimage.gaussian_filter(image, (0, sigma, sigma), mode="nearest"))


def _resampling(image: Pixels, share: float, _: torch.Generator) -> Pixels:
    height, width = image.shape[1:]
    small = max(1, round(share * width)), max(1, round(share * height))

    def there_and_back(plane: Pixels) -> Pixels:
        shrunk = Image.fromarray(plane.astype(np.float32)).resize(small, Image.Resampling.BILINEAR)
        return np.asarray(shrunk.resize((width, height), Image.Resampling.BILINEAR), dtype=np.float64)

    return np.stack([there_and_back(plane) for plane in image])


def _jpeg(image: Pixels, quality: float, _: torch.Generator) -> Pixels:
    stored = np.rint(255 * image).astype(np.uint8)
    pictures = [stored.transpose(1, 2, 0)] if len(stored) == 3 else [*stored]
    read = []
    for picture in pictures:
        buffer = io.BytesIO()
        Image.fromarray(np.ascontiguousarray(picture)).save(buffer, format="JPEG", quality=round(quality))
        read.append(np.asarray(Image.open(buffer), dtype=np.float64) / 255)
    return read[0].transpose(2, 0, 1) if len(stored) == 3 else np.stack(read)


def _noise(image: Pixels, sigma: float, draws: torch.Generator) -> Pixels:
    return image + sigma * torch.randn(image.shape, generator=draws, dtype=torch.float64).numpy()


def _brightness(image: Pixels, step: float, draws: torch.Generator) -> Pixels:
    return image + step * _either(draws)


def _contrast(image: Pixels, factor: float, _: torch.Generator) -> Pixels:
    mean = image.mean()
    return np.asarray(mean + factor * (image - mean))


def _shift(image: Pixels, pixels: float, draws: torch.Generator) -> Pixels:
    down, right = DIRECTIONS[int(torch.randint(len(DIRECTIONS), (), generator=draws))]
    far = float(round(pixels)) if pixels >= 1 else pixels
    return np.stack([ndimage.shift(plane, (far * down, far * right), order=3, mode="nearest") for plane in image])


def _rotation(image: Pixels, degrees: float, draws: torch.Generator) -> Pixels:
    angle = degrees * _either(draws)
    return np.stack([ndimage.rotate(plane, angle, reshape=False, order=3, mode="nearest") for plane in image])


def _either(draws: torch.Generator) -> int:
    """1 or −1."""
    return 1 - 2 * int(torch.randint(2, (), generator=draws))


CHANGES: Mapping[str, Change] = {
    "blur": Change(_blur, (0.5, 0.75, 1.0), "Gaussian of so many pixels σ", in_pixels=True),
    "resampling": Change(_resampling, (0.8, 0.65, 0.5), "shrunk to this share of the side and enlarged, bilinear"),
    "jpeg": Change(_jpeg, (90, 75, 50), "JPEG of this quality"),
    "noise": Change(_noise, (0.02, 0.05, 0.1), "Gaussian of this σ, of the range"),
    "brightness": Change(_brightness, (0.05, 0.1, 0.2), "so much of the range added or taken"),
    "contrast": Change(_contrast, (0.9, 0.75, 0.5), "differences from the image's mean times this"),
    "shift": Change(_shift, (1, 2, 3), "so many pixels in one of eight directions, border repeated", in_pixels=True),
    "rotation": Change(_rotation, (5, 10, 15), "so many degrees, either way, border repeated"),
}
"""By name, in the order of tables."""


@fresh_torch()
def changed(images: Tensor, change: str, strength: int, *, seed: int = 0) -> Tensor:
    """Images after a change, which depends on nothing but the image, the change, its strength and the seed.

    What is drawn (noise, directions, signs) comes from a seed made of the image's bytes, the same at every strength.

    Example:
        >>> image = torch.zeros(1, 1, 8, 8)
        >>> image[..., 3:5, 3:5] = 1
        >>> changed(image, "contrast", 3).amax().item()
        0.53125

    Args:
        images: float (n, channels, H, W) in [0, 1], of any size and number of channels.
        change: one of `CHANGES`.
        strength: 1, 2 or 3.
        seed: of what is drawn, with each image's bytes.

    Returns:
        float32 (n, channels, H, W) in [0, 1], on the CPU.

    Raises:
        TwinlatentError: there is no such change or strength, or images are none.
    """
    if change not in CHANGES or strength not in STRENGTHS:
        raise TwinlatentError(f"change {change!r} of strength {strength} is unknown; choose from {', '.join(CHANGES)}, "
                              f"strength {', '.join(map(str, STRENGTHS))}")  # fmt: skip
    images = check_images(images, channels=None)[0].detach().cpu()
    how = CHANGES[change]
    amount = how.amount(strength, min(images.shape[-2:]))
    pairs = zip(images.double().numpy(), seeds_of(images, seed).tolist(), strict=True)
    made = [how.made(image, amount, seeded(own)) for image, own in pairs]
    return torch.from_numpy(np.stack(made).clip(0, 1)).float()
