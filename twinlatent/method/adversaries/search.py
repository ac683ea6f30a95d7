"""An adversary who searches: MIM_W, PGD_W or CW-L2_W against the class VAEs, all classes at once.

Letters: C classes, B images a class.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Self

import torch
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from torch import Tensor
from torch.nn import functional as F

from twinlatent.attacks.balls import Norm
from twinlatent.attacks.carlini_wagner import approach
from twinlatent.attacks.models import frozen
from twinlatent.method.class_vaes import ClassEncoders, ClassVAEs
from twinlatent.method.densities import log_standard_normal
from twinlatent.method.losses import log_ratio
from twinlatent.method.networks import straight_through
from twinlatent.method.radii import ascend_within, drawn_shares, within_the_box

REFERENCE_MEMORY = 0.9
"""The benign levels the adversary aims at are running means that keep this much each round."""
TrainingAttack = Literal["mim", "pgd", "cw"]


class AdversarySettings(BaseModel):
    """The training attack A_W; by default a short MIM_W."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    attack: TrainingAttack = "mim"
    """MIM_W starts at the image and has momentum; PGD_W starts at a random point of the ball and has none; CW-L2_W has
    no ball, and makes the smallest L2 change with which an image of another class looks like a benign one of c."""
    norm: Norm = "linf"
    """Of the ball of MIM_W and PGD_W: L∞, or L2 (l2)."""
    epsilon: float = Field(0.4, ge=0)
    """Its radius after the ramp."""
    steps: int = Field(12, ge=1)
    smallest: float = Field(1.0, gt=0, le=1)
    """Share of ε that the smallest radius of MIM_W and PGD_W has: each image gets one of its own between that and ε,
    evenly on a logarithmic scale; so do the steps of CW-L2_W. 1 gives every image the whole (the paper)."""
    step_size: float | None = Field(None, gt=0)
    """None for `stride` × radius / steps, which follows the ramp."""
    stride: float = Field(2.5, gt=0)
    decay: float = Field(0.9, ge=0)
    """Momentum of MIM_W."""
    learning_rate: float = Field(0.25, gt=0)
    """Of CW-L2_W, after the ramp."""
    c: float = Field(1.0, gt=0)
    """Weight of CW-L2_W's objective against ‖δ‖²; there is no search for it."""
    objective: Literal["bypass", "ratio"] = "bypass"
    """What it raises: log P_r^c − γ·l_pass (the paper), or log P_r^c − log P_v^c without a reference."""
    bypass_weight: float = Field(1.0, ge=0)
    """γ."""
    reference: Literal["mean", "quantile"] = "mean"
    """l_pass = max(0, log P_v^c − reference): the benign mean (the paper), or the benign quantile that a detector
    would use as threshold."""
    quantile: float = Field(0.95, gt=0, lt=1)
    target: Literal["all", "hardest", "random"] = "all"
    """In a game of `one_batch`, which raises log P_r^c − log P_v^c, of classes c other than the image's own: the log of
    the sum of exponentials of all; the largest; or that of a random class, drawn once an image and round."""

    _fits = field_validator("epsilon")(within_the_box)

    @model_validator(mode="after")
    def _radii_fit_the_norm(self) -> Self:
        if self.norm == "l2" and self.smallest < 1:
            raise ValueError(f"smallest is {self.smallest}; radii of an image's own are for norm linf, leave it at 1")
        return self

    def turn(
        self,
        vaes: ClassVAEs,
        levels: Tensor,
        benign: Tensor,
        images: Tensor,
        epsilon: float,
        generator: torch.Generator,
    ) -> "AdversaryTurn":
        """Play it, see `adversary_turn`; another adversary is another class with this method."""
        return adversary_turn(vaes, levels, benign, images, epsilon, self, generator)


@dataclass(frozen=True)
class AdversaryTurn:
    """What the adversary did in a round.

    Attributes:
        images: (C, B, channels, H, W), attacked towards each class c.
        levels: (2, C), the running benign levels after this round, see `GameState`.
        success: share of the images that meet C1 and C2 for c: log P_v^c below and log P_r^c above the benign levels.
        passed: share whose log P_v^c − log P_r^c is within the lower 95 % of this batch's benign images of c.
    """

    images: Tensor
    levels: Tensor
    success: float
    passed: float


def adversary_turn(
    vaes: ClassVAEs,
    levels: Tensor,
    benign: Tensor,
    images: Tensor,
    epsilon: float,
    settings: AdversarySettings,
    generator: torch.Generator,
) -> AdversaryTurn:
    """Attack images of other classes towards each class c: raise log P_r^c, keep log P_v^c under the benign level.

    Args:
        vaes: attacked as they are used later, with running statistics; left as they are.
        levels: (2, C), running benign levels of log P_r^c and log P_v^c; NaN before the first round.
        benign: (C, B, channels, H, W), images of c, for the levels.
        images: (C, b, channels, H, W), what is attacked.
        epsilon: radius of this round.
        settings: of the attack.
        generator: of random starts and radii.
    """
    with frozen(vaes), straight_through():
        with torch.no_grad():
            of_benign = log_densities(vaes, benign)
            levels = _moved_levels(levels, of_benign, settings)
        allowed = levels[1][:, None]

        def gain_of(robust: Tensor, vulnerable: Tensor) -> Tensor:
            if settings.objective == "ratio":
                return robust - vulnerable
            return robust - settings.bypass_weight * (vulnerable - allowed).clamp_min(0)

        def gain(images: Tensor) -> Tensor:
            return gain_of(*log_densities(vaes, images))

        enough = gain_of(*levels[:, :, None])  # what a typical benign image of c has
        attacked = _attack(gain, enough, images, epsilon, generator, settings)
        with torch.no_grad():
            robust, vulnerable = log_densities(vaes, attacked)
    success = (vulnerable < allowed) & (robust > levels[0][:, None])
    threshold = (of_benign[1] - of_benign[0]).quantile(0.95, 1, keepdim=True)
    passed = vulnerable - robust <= threshold
    return AdversaryTurn(attacked, levels, success.float().mean().item(), passed.float().mean().item())


def _attack(
    gain: Callable[[Tensor], Tensor], enough: Tensor, images: Tensor, epsilon: float, generator: torch.Generator,
    settings: AdversarySettings,
) -> Tensor:  # fmt: skip
    """Raise `gain` of images (C, B, channels, H, W); CW-L2_W only up to `enough` (C, 1), which is its κ = 0."""
    if settings.attack == "cw":
        ramp = epsilon / settings.epsilon if settings.epsilon else 1.0
        shares = drawn_shares(images, settings.smallest, generator) if settings.smallest < 1 else None
        return approach(lambda x: torch.minimum(gain(x), enough), images, c=settings.c, steps=settings.steps,
                        learning_rate=ramp * settings.learning_rate, shares=shares)  # fmt: skip
    return _ascend(gain, images, epsilon, generator, settings)


def _ascend(
    gain: Callable[[Tensor], Tensor], images: Tensor, epsilon: float, generator: torch.Generator,
    settings: AdversarySettings,
) -> Tensor:  # fmt: skip
    """MIM_W or PGD_W: raise `gain` of images (..., channels, H, W) within ε."""
    return ascend_within(gain, images, epsilon, smallest=settings.smallest, steps=settings.steps,
                         stride=settings.stride, step_size=settings.step_size,
                         decay=settings.decay if settings.attack == "mim" else 0.0,
                         random_start=settings.attack == "pgd", generator=generator, norm=settings.norm)  # fmt: skip


def log_densities(vaes: ClassVAEs, images: Tensor) -> tuple[Tensor, Tensor]:
    """log P_r^c and log P_v^c of images (C, B, channels, H, W) under their class's VAE, each (C, B)."""
    latents = vaes.encode(images)
    return log_standard_normal(latents.robust.mean), log_standard_normal(latents.vulnerable.mean)


def attack_batch(
    encoders: ClassEncoders,
    images: Tensor,
    labels: Tensor,
    epsilon: float,
    settings: AdversarySettings,
    generator: torch.Generator,
) -> Tensor:
    """Attack each image of one batch towards other classes than its own, by MIM_W or PGD_W, (B, channels, H, W).

    Gradients go straight through ramps, as those of the attacks that judge a detector do.

    Args:
        encoders: attacked as they are used later; left as they are.
        images: (B, channels, H, W).
        labels: int64 (B,).
        epsilon: radius of this round.
        settings: of the attack.
        generator: of random classes, starts and radii.
    """
    others = ~F.one_hot(labels, encoders.classes).bool().T
    if settings.target == "random":
        shift = torch.randint(1, encoders.classes, labels.shape, generator=generator).to(labels.device)
        others = F.one_hot((labels + shift) % encoders.classes, encoders.classes).bool().T

    def gain(x: Tensor) -> Tensor:
        ratio = log_ratio(encoders(x)).where(others, -torch.inf)
        return ratio.amax(0) if settings.target == "hardest" else ratio.logsumexp(0)

    with frozen(encoders), straight_through():
        return _ascend(gain, images, epsilon, generator, settings)


def _moved_levels(levels: Tensor, densities: tuple[Tensor, Tensor], settings: AdversarySettings) -> Tensor:
    """Running benign levels (2, C) after one more batch; the first batch is taken as it is."""
    robust, vulnerable = densities
    if settings.reference == "mean":
        now = torch.stack([robust.mean(1), vulnerable.mean(1)])
    else:
        low, high = robust.quantile(1 - settings.quantile, 1), vulnerable.quantile(settings.quantile, 1)
        now = torch.stack([low, high])
    return torch.where(levels.isnan(), now, REFERENCE_MEMORY * levels + (1 - REFERENCE_MEMORY) * now)
