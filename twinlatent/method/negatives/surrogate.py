"""A class's own images, moved along the gradients of a surrogate: a plain classifier that learns beside the game.

It stands for attackers who know no detector. The game's adversary knows the class VAEs, and a class never sees what
attacks on an ordinary classifier make of its own images: changes so faint that it classifies them correctly and does
not flag them. With a surrogate the defender gets some of its own benign images moved away from their class, along the
surrogate's gradients, and takes them for vulnerable ones.

Letters: C classes, B images a class, n = C·B.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor
from torch.nn import functional as F

from twinlatent.attacks.balls import LInf, unit
from twinlatent.attacks.iterative import ascend
from twinlatent.attacks.models import as_model, frozen
from twinlatent.attacks.objectives import LogOdds
from twinlatent.criteria import Aim
from twinlatent.data.split import SEED_LIMIT
from twinlatent.errors import TwinlatentError
from twinlatent.method.negatives.strategy import Negatives, Round, Setup
from twinlatent.method.networks import build_classifier
from twinlatent.method.radii import drawn_shares
from twinlatent.method.training import TrainingState
from twinlatent.torch_state import CPU, own_random_state

OWN_SEED = 1_000_003
"""Added to the game's seed, so that weights are not those that an evaluation's attacker starts from."""


class SurrogateSettings(BaseModel):
    """The plain classifier, and how far images are moved along its gradients."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    share: float = Field(0.0, ge=0, le=1)
    """Share of a class's benign images that its defender gets, too, moved away from the class, as vulnerable ones. 0
    (the paper): there is no surrogate."""
    layers: str = "2(c(5,20) mp(2)) d(256)"
    """Of the classifier, in the paper's notation, without the last, sm(C). For 64×64 images it is another network than
    the substitute of evaluations."""
    learning_rate: float = Field(1e-3, gt=0)
    """Of Adam; one step a round on the benign images."""
    steps: int = Field(3, ge=1)
    size: float = Field(0.05, gt=0, le=1)
    """Root mean square over pixels of a move, all steps together, if all went the same way; what leaves [0, 1] is cut
    off."""
    smallest: float = Field(0.25, gt=0, le=1)
    """Share of that size that the smallest move has: each image has one of its own, logarithms drawn evenly."""
    signs: float = Field(0.25, ge=0, le=1)
    """Share of the images that are moved by signs of the gradient, as FGSM does, the others along it."""

    def made(self, setup: Setup) -> Negatives | None:
        """The kind, with a surrogate that has learnt nothing yet; None where its share is 0."""
        return Surrogate(self, setup) if self.share else None


class Surrogate(Negatives):
    """Benign images moved away from their class along the gradients of a classifier that learns along."""

    def __init__(self, settings: SurrogateSettings, setup: Setup) -> None:
        self._settings, self._learner = settings, new_surrogate(settings, setup)
        self._loss = math.nan

    def images(self, of_round: Round, attacked: Tensor, generator: torch.Generator) -> Tensor:  # noqa: ARG002
        """Of each class the first benign images, the share rounded up, after one step of learning."""
        self._loss = teach(self._learner, of_round.benign)
        return surrogate_negatives(self._learner, of_round.benign, self._settings, generator)

    def said(self) -> Mapping[str, float]:
        """Cross-entropy of the surrogate on the round's benign images."""
        return {"loss_surrogate": self._loss}

    @property
    def state(self) -> TrainingState:
        """The surrogate."""
        return self._learner


def new_surrogate(settings: SurrogateSettings, setup: Setup) -> TrainingState:
    """Fresh weights and optimiser; its generator is not used.

    Raises:
        TwinlatentError: layers that are none for these images.
    """
    last = f"sm({setup.classes})"
    try:
        with own_random_state(CPU, (setup.seed + OWN_SEED) % SEED_LIMIT):
            network = build_classifier(f"{settings.layers} {last}", setup.image_shape).to(setup.device)
    except TwinlatentError as error:
        raise TwinlatentError(f"setting negatives.surrogate.layers, to which {last} is added: {error}") from error
    optimiser = torch.optim.Adam(network.parameters(), settings.learning_rate, fused=True)
    return TrainingState(network, optimiser, torch.Generator())


def teach(surrogate: TrainingState, benign: Tensor) -> float:
    """One step on benign images (C, B, channels, H, W); their mean cross-entropy before it."""
    surrogate.optimiser.zero_grad()
    loss = F.cross_entropy(surrogate.module(benign.flatten(0, 1)), _labels(benign))
    loss.backward()
    surrogate.optimiser.step()
    return loss.item()


def surrogate_negatives(
    surrogate: TrainingState, benign: Tensor, settings: SurrogateSettings, generator: torch.Generator
) -> Tensor:
    """The first `share` of benign images of each class, less of that class for the surrogate: (C, b, channels, H, W).

    Args:
        surrogate: left as it is.
        benign: (C, B, channels, H, W) in [0, 1].
        settings: share and steps.
        generator: of sizes and signs.
    """
    benign = benign[:, : math.ceil(settings.share * benign.shape[1])]
    images, aim = benign.flatten(0, 1), Aim(_labels(benign))
    sizes = settings.size / settings.steps * drawn_shares(images, settings.smallest, generator)
    by_signs = torch.rand(sizes.shape, generator=generator).to(images.device) < settings.signs
    model, box = as_model(surrogate.module), LInf(1.0)
    with frozen(surrogate.module):
        moved = ascend(lambda x: LogOdds()(model(x), aim), images, box, MeanSquareStep(sizes, by_signs), settings.steps)
    return moved.view(benign.shape)


@dataclass(frozen=True)
class MeanSquareStep:
    """Steps of a root mean square over pixels; a `twinlatent.attacks.steps.Step`.

    Attributes:
        sizes: (n, 1, 1, 1), the root mean squares.
        by_signs: bool (n, 1, 1, 1), along sign(g) instead of g.
    """

    sizes: Tensor
    by_signs: Tensor

    def direction(self, gradient: Tensor, momentum: Tensor) -> tuple[Tensor, Tensor]:
        """sizes·√d·g/‖g‖₂ or sizes·sign(g), d pixels; no momentum."""
        along = gradient[0].numel() ** 0.5 * unit(gradient)
        return self.sizes * torch.where(self.by_signs, gradient.sign(), along), momentum


def _labels(benign: Tensor) -> Tensor:
    """(C·B,), the class of each of (C, B, ...)."""
    classes, each = benign.shape[:2]
    return torch.arange(classes, device=benign.device).repeat_interleave(each)
