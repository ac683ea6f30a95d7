"""A class's own images, part of the way to what an attack towards another class makes of them."""

import math
from dataclasses import replace
from typing import Self

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor

from twinlatent.method.negatives.strategy import Negatives, Round, Setup


class PartwaySettings(BaseModel):
    """How many, and how far they go.

    Small changes that leave the label as it is are seen by this. In the paper the class of an attacked image learns
    nothing from it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    share: float = Field(0.0, ge=0, le=1)
    """Share of the attacked images that the class they come from gets, too, moved back towards the image; 0: none."""
    nearest: float = Field(0.05, ge=0, le=1)
    farthest: float = Field(0.6, ge=0, le=1)
    """Such a point lies between these shares of the whole way, uniformly."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.nearest > self.farthest:
            raise ValueError(f"nearest is {self.nearest}, farther than farthest, {self.farthest}")
        return self

    def made(self, setup: Setup) -> Negatives | None:
        """The kind; None where its share is 0."""
        return Partway(self, setup.classes) if self.share else None


class Partway(Negatives):
    """Points between images of a class and what the adversary made of them."""

    def __init__(self, settings: PartwaySettings, classes: int) -> None:
        self._settings, self._classes = settings, classes

    def arrange(self, of_round: Round, generator: torch.Generator) -> Round:
        """With others that are the benign images of a class that is a random shift away."""
        shift = int(torch.randint(1, self._classes, (1,), generator=generator))
        return replace(of_round, others=of_round.benign.roll(shift, 0), shift=shift)

    def images(self, of_round: Round, attacked: Tensor, generator: torch.Generator) -> Tensor:
        """Of each class the first attacked images, the share rounded up, each at a point of its own."""
        own = attacked.roll(-of_round.shift, 0)
        return between(of_round.benign[:, of_round.spared :], own, self._settings, generator)


def between(benign: Tensor, attacked: Tensor, settings: PartwaySettings, generator: torch.Generator) -> Tensor:
    """Points between the first images and what the attack made of them, (C, b, channels, H, W), b the rounded-up share.

    Args:
        benign: (C, B, channels, H, W).
        attacked: the same images.
        settings: share and ends of the way.
        generator: of the points.
    """
    rows = slice(math.ceil(settings.share * benign.shape[1]))
    start, whole = benign[:, rows], (attacked - benign)[:, rows]
    share = torch.rand(start.shape[:2], generator=generator).to(start.device)
    share = settings.nearest + (settings.farthest - settings.nearest) * share
    return start + share[..., None, None, None] * whole
