"""An outsider in the game: a plain classifier that learns along, attacked by somebody who knows no detector.

The game's adversary knows the detector, and of photographs it makes smooth changes; those of attacks on an ordinary
classifier are faint noise, which the class of the image then reads rightly and does not flag. So the defender also sees
its own benign images moved away from their class as this classifier sees it, and takes them for vulnerable ones.

Letters: C classes, B images a class, n images.
"""

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
from twinlatent.method.networks import build_classifier
from twinlatent.method.training import TrainingState

OWN_SEED = 1_000_003
"""Added to the game's seed, so that the outsider is not the network that an evaluation's attacker trains."""
SIGNS_EVERY = 4
"""One of so many images is moved by signs of the gradient, as FGSM does, the others along it."""


class OutsiderSettings(BaseModel):
    """The plain classifier and what is made of its gradients."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    share: float = Field(0.0, ge=0, le=1)
    """Share of a class's benign images that its defender gets, too, moved away from their class as the outsider sees
    it, as vulnerable ones. 0 (the paper): there is no outsider."""
    layers: str = "2(c(5,20) mp(2)) d(256)"
    """Of the classifier, in the paper's notation, without the last."""
    learning_rate: float = Field(1e-3, gt=0)
    """Of Adam; one step a round on the benign images."""
    steps: int = Field(3, ge=1)
    smallest: float = Field(0.015, gt=0, le=1)
    """Least root mean square of the change over an image's pixels ..."""
    largest: float = Field(0.08, gt=0, le=1)
    """... and the largest; each image has its own, logarithms drawn evenly. Clipping to [0, 1] makes it less."""


def new_outsider(
    settings: OutsiderSettings, image_shape: tuple[int, ...], classes: int, seed: int, device: str | torch.device
) -> TrainingState:
    """Fresh weights and optimiser; its generator is not used."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed((seed + OWN_SEED) % SEED_LIMIT)
        network = build_classifier(f"{settings.layers} sm({classes})", image_shape)
    network.to(device)
    optimiser = torch.optim.Adam(network.parameters(), settings.learning_rate, fused=True)
    return TrainingState(network, optimiser, torch.Generator())


def teach(outsider: TrainingState, benign: Tensor) -> None:
    """One step on the cross-entropy of benign images (C, B, channels, H, W)."""
    outsider.optimiser.zero_grad()
    F.cross_entropy(outsider.module(benign.flatten(0, 1)), _labels(benign)).backward()
    outsider.optimiser.step()


def moved_away(
    outsider: TrainingState, benign: Tensor, settings: OutsiderSettings, generator: torch.Generator
) -> Tensor:
    """Benign images (C, B, channels, H, W) of each class, less of that class for the outsider; of the same shape.

    Args:
        outsider: left as it is.
        benign: in [0, 1].
        settings: of the steps.
        generator: of their sizes.
    """
    images, aim = benign.flatten(0, 1), Aim(_labels(benign))
    spread = torch.rand(len(images), 1, 1, 1, generator=generator).to(images.device)
    sizes = settings.smallest * (settings.largest / settings.smallest) ** spread / settings.steps
    by_signs = torch.arange(len(images), device=images.device)[:, None, None, None] % SIGNS_EVERY == 0
    model = as_model(outsider.module)
    with frozen(outsider.module):
        moved = ascend(lambda x: LogOdds()(model(x), aim), images, LInf(1.0), MeanSquareStep(sizes, by_signs),
                       settings.steps)  # fmt: skip
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
