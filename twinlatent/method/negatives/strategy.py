"""What a class must call vulnerable, beside its own benign images: a strategy for each kind of such images.

Letters: C classes, B images a class.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from twinlatent.method.class_vaes import ClassVAEs
from twinlatent.method.training import TrainingState


@dataclass(frozen=True)
class Round:
    """The images of a round, before they are attacked.

    Attributes:
        benign: (C, B, channels, H, W), images of each class.
        others: (C, B, channels, H, W), for each class images of other ones.
        spared: so many of `others`, the first of each class, are not attacked.
        shift: 0, or where `others` of class c are `benign` of class c − shift, in their order.
    """

    benign: Tensor
    others: Tensor
    spared: int = 0
    shift: int = 0

    @property
    def targets(self) -> Tensor:
        """What the adversary attacks towards each class, (C, B − spared, channels, H, W)."""
        return self.others[:, self.spared :]


@dataclass(frozen=True)
class Setup:
    """Where a game is played.

    Attributes:
        image_shape: (channels, H, W).
        classes: C.
        seed: of the game.
        device: where it is computed.
    """

    image_shape: tuple[int, ...]
    classes: int
    seed: int
    device: torch.device


class Negatives(ABC):
    """One kind of images that a class must call vulnerable.

    A new kind is a new subclass with settings of its own, and a field of `NegativesSettings`. Subclasses are final.
    """

    def arrange(self, of_round: Round, _generator: torch.Generator) -> Round:
        """The round as this kind needs it before the adversary's turn; by default as it is."""
        return of_round

    @abstractmethod
    def images(self, of_round: Round, attacked: Tensor, generator: torch.Generator) -> Tensor:
        """The images of this round, (C, b, channels, H, W).

        Args:
            of_round: as all kinds arranged it.
            attacked: (C, B − spared, channels, H, W), what the adversary made of `Round.targets`.
            generator: of every random choice.
        """

    def loss(self, _vaes: ClassVAEs, _of_round: Round, _epsilon: float) -> Tensor | None:
        """What the defender lowers beside l^c, (C,), differentiable in the weights of the VAEs; by default nothing.

        For a kind that bounds what any image of a ball does, where others give examples.
        """
        return None

    def said(self) -> Mapping[str, float]:
        """What the log says of this kind in this round."""
        return {}

    @property
    def state(self) -> TrainingState | None:
        """What this kind learns along and a checkpoint must hold; None: nothing."""
        return None
