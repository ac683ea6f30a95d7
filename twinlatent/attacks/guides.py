"""Where a gradient attack goes next: one objective's gradient, or two objectives' that take turns.

The two-objective guides are for detectors (Bryniarski et al. 2021, "Evading adversarial example detection defenses with
orthogonal projected gradient descent"): `classify` is raised to be misclassified, `evade` not to be flagged.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from twinlatent.attacks.balls import IMAGE, unit
from twinlatent.attacks.objectives import LogOdds, Objective
from twinlatent.criteria import Aim
from twinlatent.errors import TwinlatentError
from twinlatent.outputs import Outputs

NO_GRADIENT = (
    "the model's answers have no gradient with respect to the images; attack it with square or transfer, or give a "
    "differentiable stand-in with attacks.bpda"
)


class Guide(ABC):
    """Says how good images are and in which direction they get better."""

    @abstractmethod
    def rank(self, outputs: Outputs, aim: Aim) -> Tensor:
        """How near to success each image is, (n,); comparable between the iterates of one image."""

    @abstractmethod
    def gradient(self, images: Tensor, outputs: Outputs, aim: Aim) -> tuple[Tensor, Tensor]:
        """`rank` and a direction like `images`; `outputs` are those of `images`, which ask for a gradient."""


@dataclass(frozen=True)
class Ascent(Guide):
    """Up one objective."""

    objective: Objective = LogOdds()

    def rank(self, outputs: Outputs, aim: Aim) -> Tensor:
        return self.objective(outputs, aim)

    def gradient(self, images: Tensor, outputs: Outputs, aim: Aim) -> tuple[Tensor, Tensor]:
        value = self.objective(outputs, aim)
        return value.detach(), gradient_of(value, images)


@dataclass(frozen=True)
class Selective(Guide):
    """Up `classify` until the image is misclassified (is the target, if there is one), up `evade` while it is."""

    evade: Objective
    classify: Objective = LogOdds()

    def rank(self, outputs: Outputs, aim: Aim) -> Tensor:
        return _phase_rank(self.classify(outputs, aim), self.evade(outputs, aim), fooled(outputs, aim))

    def gradient(self, images: Tensor, outputs: Outputs, aim: Aim) -> tuple[Tensor, Tensor]:
        classify, evade, done = self.classify(outputs, aim), self.evade(outputs, aim), fooled(outputs, aim)
        chosen = torch.where(done, evade, classify)
        return _phase_rank(classify, evade, done).detach(), gradient_of(chosen, images)


@dataclass(frozen=True)
class Orthogonal(Guide):
    """As `Selective`, with the other objective's gradient projected out of the one that is followed."""

    evade: Objective
    classify: Objective = LogOdds()

    def rank(self, outputs: Outputs, aim: Aim) -> Tensor:
        return Selective(self.evade, self.classify).rank(outputs, aim)

    def gradient(self, images: Tensor, outputs: Outputs, aim: Aim) -> tuple[Tensor, Tensor]:
        classify, evade, done = self.classify(outputs, aim), self.evade(outputs, aim), fooled(outputs, aim)
        if not (classify.requires_grad or evade.requires_grad):
            raise TwinlatentError(NO_GRADIENT)
        up_classify, up_evade = (
            gradient_of(value, images, keep=True) if value.requires_grad else torch.zeros_like(images)
            for value in (classify, evade)
        )
        misclassified = done[:, None, None, None]
        direction = torch.where(misclassified, without(up_evade, up_classify), without(up_classify, up_evade))
        return _phase_rank(classify, evade, done).detach(), direction


def fooled(outputs: Outputs, aim: Aim) -> Tensor:
    """Whether each image is read as wanted, bool (n,)."""
    return outputs.labels != aim.labels if aim.targets is None else outputs.labels == aim.targets


def gradient_of(values: Tensor, images: Tensor, *, keep: bool = False) -> Tensor:
    """The gradient of each value with respect to its image; `keep` keeps the graph for another one.

    Raises:
        TwinlatentError: the values do not depend on the images in a way that has gradients.
    """
    if not values.requires_grad:
        raise TwinlatentError(NO_GRADIENT)
    (gradient,) = torch.autograd.grad(values.sum(), images, retain_graph=keep, allow_unused=True)
    return torch.zeros_like(images) if gradient is None else gradient


def without(gradient: Tensor, other: Tensor) -> Tensor:
    """`gradient` less its component along `other`, of each image."""
    along = unit(other)
    return gradient - (gradient * along).sum(IMAGE, keepdim=True) * along


def _phase_rank(classify: Tensor, evade: Tensor, done: Tensor) -> Tensor:
    """A rank in [−1, 1]: misclassified images above all others, within a phase by that phase's objective."""
    rank = torch.where(done, evade, classify)
    squashed = rank.sign() * (1 - 1 / (1 + rank.abs().log1p()))  # in [−1, 1], infinite ones too
    return torch.where(done, squashed + 1, squashed - 1) / 2
