"""Gradients through defences that have none, or another one each time (Athalye et al. 2018, "Obfuscated gradients").

Both wrap a model into one that attacks can follow; judge what they found on the model itself.
"""

from collections.abc import Callable
from dataclasses import fields
from typing import Any

import torch
from torch import Tensor, nn

from twinlatent.arguments import whole
from twinlatent.attacks.models import Attackable, as_model
from twinlatent.errors import TwinlatentError
from twinlatent.outputs import Outputs

Transform = Callable[[Tensor], Tensor]
"""Images (n, channels, H, W) → images of any size."""


class BPDA(nn.Module):
    """Backward pass differentiable approximation: `transform` forwards, the gradient of `stand_in` backwards.

    `model` sees exactly what it would see without this: model(transform(images)).
    """

    def __init__(self, model: Attackable, transform: Transform, stand_in: Transform | None = None) -> None:
        super().__init__()
        self.model, self.transform, self.stand_in = model, transform, stand_in or nn.Identity()

    def forward(self, images: Tensor) -> Outputs:
        """The outputs for transformed images."""
        smooth = self.stand_in(images)
        with torch.no_grad():
            exact = self.transform(images.detach())
        if exact.shape != smooth.shape:
            raise TwinlatentError(f"the transform makes {tuple(exact.shape)} of {tuple(images.shape)}, its stand-in "
                                  f"{tuple(smooth.shape)}; give one of the same shape")  # fmt: skip
        return as_model(self.model)(exact + (smooth - smooth.detach()))


class ExpectationOverTransformation(nn.Module):
    """EOT: the mean of `draws` answers of a model that draws random numbers, and so the mean of their gradients.

    Within `run` its draws are made from the seed.
    """

    def __init__(self, model: Attackable, draws: int = 10) -> None:
        super().__init__()
        self.model, self.draws = model, whole("draws", draws)

    def forward(self, images: Tensor) -> Outputs:
        """The mean outputs."""
        answers = [as_model(self.model)(images) for _ in range(self.draws)]
        return Outputs(*(_mean([getattr(answer, field.name) for answer in answers]) for field in fields(Outputs)))


def _mean(parts: list[Any]) -> Any:
    """The mean of tensors, or None of Nones."""
    return None if parts[0] is None else torch.stack(parts).mean(0)


def bpda(model: Attackable, transform: Transform, stand_in: Transform | None = None) -> BPDA:
    """A model behind a transform that cannot be differentiated, made attackable.

    Args:
        model: sees the transformed images.
        transform: such as rounding, compression or a median filter; its gradient is not used.
        stand_in: a differentiable function much like it; None: the identity.
    """
    return BPDA(model, transform, stand_in)


def expectation(model: Attackable, draws: int = 10) -> ExpectationOverTransformation:
    """A randomised model, averaged over `draws` answers, so that attacks see no chance.

    Args:
        model: draws anew at each call, in evaluation mode too.
        draws: at least 1; the cost of a step grows with it.
    """
    return ExpectationOverTransformation(model, draws)
