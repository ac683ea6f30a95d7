"""A model that was trained on other numbers than [0, 1], made one of images in [0, 1]."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from twinlatent.arguments import real
from twinlatent.errors import TwinlatentError


class Normalised(nn.Module):
    """The model, shown (images − mean) / std: what it was trained on, while attacks see images in [0, 1].

    So a radius is one of pixels in [0, 1]. A model of images from 0 to 255 is `Normalised(model, 0, 1 / 255)`, one of
    images from −1 to 1 is `Normalised(model, 0.5, 0.5)`.

    Args:
        model: a module or function, whatever it answers.
        mean: of images in [0, 1]: a number, or one a channel.
        std: likewise, above 0.

    Raises:
        TwinlatentError: numbers out of their ranges, or not one a channel; when called, images of other channels.

    Example:
        >>> Normalised(nn.Identity(), 0.5, 0.25)(torch.ones(1, 1, 1, 1)).item()
        2.0
    """

    mean: Tensor
    std: Tensor

    def __init__(self, model: Callable[[Tensor], Any], mean: float | Sequence[float],
                 std: float | Sequence[float]) -> None:  # fmt: skip
        super().__init__()
        if not callable(model):
            raise TwinlatentError(f"the model is a {type(model).__name__}, which answers no images; give a module or "
                                  "function, of a pair of functions each by itself")  # fmt: skip
        self.model = model
        wanted = "that of images in [0, 1], so divide what is of images up to 255 by 255"
        self.register_buffer("mean", _a_channel([real("mean", one, most=1, wanted=wanted) for one in _listed(mean)]))
        self.register_buffer("std", _a_channel([real("std", one, above=0) for one in _listed(std)]))
        self._counts = {self.mean.shape[1], self.std.shape[1]} - {1}
        if len(self._counts) > 1:
            raise TwinlatentError(f"mean has {self.mean.shape[1]} channels, std {self.std.shape[1]}; give the same")

    def forward(self, images: Tensor) -> Any:
        """What the model answers to images (n, channels, H, W) in [0, 1]."""
        if self._counts - {images.shape[1]}:
            raise TwinlatentError(f"images {tuple(images.shape)} have {images.shape[1]} channels, mean and std "
                                  f"{max(self._counts)}; give one number, or one a channel")  # fmt: skip
        return self.model((images - self.mean) / self.std)


def _listed(values: Any) -> list[Any]:
    """One number or several, also of an array or tensor, as a list; `real` refuses what is none."""
    values = values.tolist() if hasattr(values, "tolist") else values
    return list(values) if isinstance(values, list | tuple) and values else [values]


def _a_channel(values: list[float]) -> Tensor:
    return torch.tensor(values, dtype=torch.float32)[None, :, None, None]
