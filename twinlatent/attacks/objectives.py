"""What an attack raises: functions of `Outputs` and `Aim`, one number an image; they add up and take weights.

>>> LogOdds() - 0.5 * Suspicion()
Weighted(terms=((1.0, LogOdds()), (-0.5, Suspicion(at='prediction'))))
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from twinlatent.arguments import real, understood, whole
from twinlatent.attacks.models import Attackable, as_model, frozen
from twinlatent.criteria import Aim
from twinlatent.errors import TwinlatentError
from twinlatent.outputs import Outputs, at_label
from twinlatent.torch_state import differentiable


class Objective(ABC):
    """(outputs of n images, aim) → (n,); attacks go up. With targets in the aim, up is towards them."""

    @abstractmethod
    def __call__(self, outputs: Outputs, aim: Aim) -> Tensor:
        """The value of each image."""

    def __add__(self, other: "Objective") -> "Weighted":
        """The sum."""
        return Weighted((*_terms(self), *_terms(other)))

    def __mul__(self, weight: float) -> "Weighted":
        """A multiple."""
        weight = real("weight", weight)
        return Weighted(tuple((weight * own, term) for own, term in _terms(self)))

    __rmul__ = __mul__

    def __sub__(self, other: "Objective") -> "Weighted":
        """The difference."""
        return self + -1.0 * other


def _terms(objective: Objective) -> tuple[tuple[float, Objective], ...]:
    return objective.terms if isinstance(objective, Weighted) else ((1.0, objective),)


@dataclass(frozen=True)
class Weighted(Objective):
    """Weighted sum of objectives."""

    terms: tuple[tuple[float, Objective], ...]

    def __call__(self, outputs: Outputs, aim: Aim) -> Tensor:
        return torch.stack([weight * term(outputs, aim) for weight, term in self.terms]).sum(0)


# --- to be misclassified ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class CrossEntropy(Objective):
    """The cross-entropy of the true label, or minus that of the target.

    In float32 it is 0, with no gradient, wherever the true logit leads by more than about 17; see `LogOdds`.
    """

    def __call__(self, outputs: Outputs, aim: Aim) -> Tensor:
        if aim.targets is not None:
            return -F.cross_entropy(outputs.logits, aim.targets, reduction="none")
        return F.cross_entropy(outputs.logits, aim.labels, reduction="none")


@dataclass(frozen=True)
class LogOdds(Objective):
    """log(e^CE − 1) = log Σ_{j≠y} e^{z_j} − z_y, CE the cross-entropy; with a target t, z_t − log Σ_{j≠t} e^{z_j}.

    Its gradient has the direction of the cross-entropy's, so FGSM, PGD and MIM take the same steps in exact arithmetic,
    but it never vanishes for large logits, and a detector's, which are differences of log-densities, are large.
    """

    def __call__(self, outputs: Outputs, aim: Aim) -> Tensor:
        sign, label = _direction(aim)
        return sign * (at_label(outputs.logits, label) - _others(outputs.logits, label).logsumexp(1))


@dataclass(frozen=True)
class Margin(Objective):
    """max_{j≠y} z_j − z_y, with a target z_t − max_{j≠t} z_j; at most `confidence` κ (Carlini and Wagner 2017)."""

    confidence: float = float("inf")

    def __post_init__(self) -> None:
        if self.confidence != float("inf"):
            understood(self, confidence=real("confidence", self.confidence))

    def __call__(self, outputs: Outputs, aim: Aim) -> Tensor:
        sign, label = _direction(aim)
        gap = at_label(outputs.logits, label) - _others(outputs.logits, label).amax(1)
        return (sign * gap).clamp_max(self.confidence)


@dataclass(frozen=True)
class RobustDensity(Objective):
    """log P_r of the target; without one, the largest among the wrong classes (paper, section 4.3)."""

    def __call__(self, outputs: Outputs, aim: Aim) -> Tensor:
        if outputs.robust is None:
            raise TwinlatentError("objective RobustDensity: this model has no robust log-density; take Margin instead")
        return _towards(outputs.robust, aim)


@dataclass(frozen=True, eq=False)
class LatentMatching(Objective):
    """Minus the squared distance to the nearest of a class's reference latents; see `latent_matching`.

    Args:
        references: (C, k, Z), row c holds latents, as class c sees them, of k benign images of c.
    """

    references: Tensor

    def __call__(self, outputs: Outputs, aim: Aim) -> Tensor:
        if outputs.latents is None:
            raise TwinlatentError("objective LatentMatching: this model has no latents; take Margin instead")
        by_class = outputs.latents.transpose(0, 1)  # (C, n, Z)
        references = self.references.to(by_class)
        squared = (by_class[:, :, None] - references[:, None]).square().sum(-1)  # (C, n, k)
        return _towards(-squared.amin(2).T, aim)


@differentiable()
@torch.no_grad()
def latent_matching(model: Attackable, images: Tensor, labels: Tensor, per_class: int = 8) -> LatentMatching:
    """`LatentMatching` towards the first benign images of each class that the model reads rightly.

    Args:
        model: gives latents.
        images: benign (n, channels, H, W) in [0, 1].
        labels: int64 (n,).
        per_class: k, how many references a class at most; each class gets as many as the poorest has.

    Raises:
        TwinlatentError: the model gives no latents, or a class has no image that is read rightly.
    """
    per_class = whole("per_class", per_class)
    with frozen(model):
        outputs = as_model(model)(images)
    if outputs.latents is None:
        raise TwinlatentError("latent matching: this model has no latents; take Margin instead")
    right = outputs.labels == labels
    rows = [(right & (labels == c)).nonzero()[:per_class, 0] for c in range(outputs.logits.shape[1])]
    k = min(len(found) for found in rows)
    if k == 0:
        raise TwinlatentError("latent matching: a class has no image that is read rightly; give more benign images")
    return LatentMatching(torch.stack([outputs.latents[found[:k], c] for c, found in enumerate(rows)]))


# --- to pass ------------------------------------------------------------------------------------------------------


At = Literal["prediction", "target"]
"""The class whose suspicion is meant: ŷ, or the target (ŷ where there is none)."""


@dataclass(frozen=True)
class Suspicion(Objective):
    """The suspicion: with a weight, the discriminator term of section 3, as in `LogOdds() - 10 * Suspicion()`."""

    at: At = "prediction"

    def __call__(self, outputs: Outputs, aim: Aim) -> Tensor:
        return at_label(outputs.suspicion, _meant(self.at, outputs, aim))


@dataclass(frozen=True, eq=False)
class Bypass(Objective):
    """−γ·l_pass, l_pass = max(0, s_ŷ − level_ŷ), s the suspicion: nothing is gained below the level (section 4.3).

    γ is the aim's, 1 unless it is searched (`GammaSearch`).

    Args:
        level: (C,), `Bounds.suspicion_mean` as in the paper, or a threshold of `Bounds.thresholds`; or one number for
            all classes.
        scale: `log` compares suspicions as they are; `probability` their exponentials, the literal reading where the
            suspicion is a log-density.
        at: class whose suspicion is meant.
    """

    level: Tensor | float
    scale: Literal["log", "probability"] = "log"
    at: At = "prediction"

    def __post_init__(self) -> None:
        if not isinstance(self.level, Tensor):
            understood(self, level=real("level", self.level))

    def __call__(self, outputs: Outputs, aim: Aim) -> Tensor:
        meant = _meant(self.at, outputs, aim)
        suspicion = at_label(outputs.suspicion, meant)
        level = self.level.to(suspicion) if isinstance(self.level, Tensor) else suspicion.new_tensor(self.level)
        level = level[meant] if level.ndim else level
        excess = suspicion.exp() - level.exp() if self.scale == "probability" else suspicion - level
        gamma = 1.0 if aim.gamma is None else aim.gamma
        return -gamma * excess.clamp_min(0)


# --- helpers ------------------------------------------------------------------------------------------------------


def _meant(at: At, outputs: Outputs, aim: Aim) -> Tensor:
    """The class that `at` means for each image."""
    return outputs.labels if at == "prediction" or aim.targets is None else aim.targets


def _direction(aim: Aim) -> tuple[float, Tensor]:
    """Up for the target, or down for the true label."""
    return (-1.0, aim.labels) if aim.targets is None else (1.0, aim.targets)


def _others(logits: Tensor, label: Tensor) -> Tensor:
    """The logits with that of `label` at −∞."""
    return logits.scatter(1, label[:, None], -torch.inf)


def _towards(values: Tensor, aim: Aim) -> Tensor:
    """The values (n, C) at the target, or the largest at a wrong class."""
    return _others(values, aim.labels).amax(1) if aim.targets is None else at_label(values, aim.targets)
