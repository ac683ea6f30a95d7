"""Images of other classes: attacked towards the class, or as they are."""

import math
from dataclasses import replace

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from twinlatent.method.negatives.strategy import Negatives, Round, Setup


class BenignSettings(BaseModel):
    """Benign images of other classes."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    share: float = Field(0.25, ge=0, lt=1)
    """Share of the other classes' images that a class gets as they are; the rest are attacked. The paper has none."""

    def made(self, _setup: Setup) -> Negatives | None:
        """The kind; None where its share is 0."""
        return Benign(self) if self.share else None


class Benign(Negatives):
    """Benign images of other classes, which are spared by the adversary."""

    def __init__(self, settings: BenignSettings) -> None:
        self._share = settings.share

    def arrange(self, of_round: Round, _generator: torch.Generator) -> Round:
        """With the share spared, rounded down."""
        spared = int(self._share * of_round.others.shape[1])
        return replace(of_round, spared=spared)

    def images(self, of_round: Round, attacked: Tensor, generator: torch.Generator) -> Tensor:  # noqa: ARG002
        """Those that were spared."""
        return of_round.others[:, : of_round.spared]


class AttackedSettings(BaseModel):
    """Images of other classes, attacked towards the class."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    share: float = Field(1.0, ge=0, le=1)
    """Share of the attacked images that the class they are attacked towards gets; 1 is the paper's Algorithm 1."""

    def made(self, _setup: Setup) -> Negatives | None:
        """The kind; None where its share is 0."""
        return Attacked(self) if self.share else None


class Attacked(Negatives):
    """What the adversary made of images of other classes."""

    def __init__(self, settings: AttackedSettings) -> None:
        self._share = settings.share

    def images(self, of_round: Round, attacked: Tensor, generator: torch.Generator) -> Tensor:  # noqa: ARG002
        """The first of them, the share rounded up."""
        return attacked[:, : math.ceil(self._share * attacked.shape[1])]
