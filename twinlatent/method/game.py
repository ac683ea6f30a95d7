"""Algorithm 1: the mini-max game between an adversary who knows the detector and the class VAEs.

A round is an adversary's turn (attack images of other classes towards class c, for every c at once) and a defender's
turn (one step on l^c with benign images of c and the attacked ones). Letters: C classes, B images a class.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from twinlatent.attacks.carlini_wagner import approach
from twinlatent.attacks.models import frozen
from twinlatent.data import LabelledImages
from twinlatent.data.augmentation import Augmentation
from twinlatent.data.split import checked_seed, seeded
from twinlatent.method.batches import BatchSampler
from twinlatent.method.class_vaes import ClassVAEs
from twinlatent.method.densities import log_standard_normal
from twinlatent.method.losses import LossSettings, LossTerms, loss_terms
from twinlatent.method.networks import plan
from twinlatent.method.outsider import OutsiderSettings, moved_away, new_outsider, teach
from twinlatent.method.radii import ascend_within, drawn_shares
from twinlatent.method.training import TOTAL, Keeping, Schedule, TrainingState, share_of_rate, train_rounds
from twinlatent.torch_state import Device, check_device, fresh_torch

REFERENCE_MEMORY = 0.9
"""The benign levels the adversary aims at are running means that keep this much each round."""
TrainingAttack = Literal["mim", "pgd", "cw"]
_OUTSIDER = "outsider."
"""Begins the names of the outsider's tensors in a checkpoint."""
WATCHED_IMAGES = 500
"""How many benign training images the logged accuracy is taken over."""


class AdversarySettings(BaseModel):
    """The training attack A_W; by default a short MIM_W."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    attack: TrainingAttack = "mim"
    """MIM_W starts at the image and has momentum; PGD_W starts at a random point of the ball and has none; CW-L2_W has
    no ball, and makes the smallest L2 change with which an image of another class looks like a benign one of c."""
    epsilon: float = Field(0.4, ge=0, le=1)
    """L∞ radius of MIM_W and PGD_W after the ramp."""
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


class GameSettings(BaseModel):
    """Everything that decides a training but the images and the seed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    encoder: str
    decoder: str
    loss: LossSettings = LossSettings()
    adversary: AdversarySettings = AdversarySettings()
    augment: Augmentation = Augmentation()
    rounds: int = Field(1000, ge=1)
    batch: int = Field(32, ge=1)
    """Images of each kind, a class and round."""
    ramp: float = Field(0.3, ge=0, le=1)
    """Share of the rounds over which ε grows to its full size."""
    unattacked: float = Field(0.25, ge=0, lt=1)
    """Share of the other classes' images that the defender gets unattacked."""
    underway: float = Field(0.0, ge=0, le=1)
    """Share of the attacked images that the defender of the class they come from gets, too, as vulnerable ones: each
    moved back to a point between the image and what the attack made of it, so that small changes are seen that leave
    the label as it is. The paper has none: there the class of an attacked image learns nothing from it."""
    underway_from: float = Field(0.05, ge=0, le=1)
    underway_to: float = Field(0.6, ge=0, le=1)
    """Such a point lies between these shares of the whole way, uniformly."""
    outsider: OutsiderSettings = OutsiderSettings()
    optimiser: Literal["adam", "sgd"] = "adam"
    learning_rate: float = Field(2e-3, gt=0)
    schedule: Schedule = "cosine"
    """`cosine`: up over the first tenth of the rounds, then down to nothing along half a cosine."""
    stop_success: float = Field(0.0, ge=0, le=1)
    """Stop when the adversary meets C1 and C2 on no more than this share of images ..."""
    stop_rounds: int = Field(0, ge=0)
    """... for this many rounds in a row at full ε; 0 never stops early."""
    checkpoint_every: int = Field(50, ge=1)
    watch_every: int = Field(10, ge=1)
    """Rounds between two measurements of the accuracy."""


@dataclass
class GameState(TrainingState):
    """The state of a training, whose module are the class VAEs.

    Attributes:
        levels: running benign levels (2, C): log P_r^c that C2 asks for, log P_v^c that C1 allows.
        calm: rounds in a row in which the adversary failed.
        outsider: the plain classifier that learns along, if there is one.
    """

    levels: Tensor = field(default_factory=lambda: torch.empty(2, 0))
    calm: int = 0
    outsider: TrainingState | None = None

    @property
    def vaes(self) -> ClassVAEs:
        """What is trained."""
        return cast(ClassVAEs, self.module)

    def tensors(self) -> dict[str, Tensor]:
        """With the levels and the outsider."""
        of_outsider = {} if self.outsider is None else self.outsider.tensors()
        return super().tensors() | {"levels": self.levels} | {f"{_OUTSIDER}{n}": t for n, t in of_outsider.items()}

    def counts(self) -> dict[str, Any]:
        """With the calm rounds."""
        return super().counts() | {"calm": self.calm}

    def restore(self, tensors: Mapping[str, Tensor], counts: Mapping[str, Any]) -> None:
        """With the levels, the calm rounds and the outsider."""
        super().restore(tensors, counts)
        self.levels = tensors["levels"].to(self.levels.device)
        if self.outsider is not None:
            own = {n.removeprefix(_OUTSIDER): t for n, t in tensors.items() if n.startswith(_OUTSIDER)}
            self.outsider.restore(own, self.outsider.counts())


@fresh_torch()
def play(
    data: LabelledImages,
    classes: int,
    settings: GameSettings,
    *,
    seed: int = 0,
    folder: Path | None = None,
    resume: bool = False,
    fingerprint: str = "",
    device: Device = "cpu",
    progress: bool = True,
) -> GameState:
    """Play the game to its end and return the last state; its `vaes` are trained.

    Args:
        data: training images; every class must occur.
        classes: C.
        settings: of the game.
        seed: of weights, batches and noise. Same seed, data, settings and machine: same weights.
        folder: where `state.safetensors` and `log.jsonl` (one line a round) go; None keeps nothing.
        resume: resume from the state in `folder`, to the weights an uninterrupted game would have reached.
        fingerprint: of the data; a state of other data or settings is refused.
        device: where to compute.
        progress: whether to show a bar.

    Raises:
        TwinlatentError: a class without images, a state that does not fit, or a loss that is not finite any more.
        KeyboardInterrupt: after Ctrl-C; with a folder the state was saved first.
    """
    seed, place = checked_seed(seed), check_device(device)
    deal = BatchSampler(data, classes, settings.batch, place, settings.augment)
    watched = _watched(data)
    state = new_state(tuple(data.images.shape[1:]), classes, settings, seed, place)
    identity = {"settings": settings.model_dump(), "seed": seed, "data": fingerprint}

    def turn() -> dict[str, Any]:
        benign, others = deal(state.generator)  # each (C, B, channels, H, W)
        source = 0
        if settings.underway:  # the other images of class c are then all those of class c − source
            source = int(torch.randint(1, classes, (1,), generator=state.generator))
            others = benign.roll(source, 0)
        epsilon = settings.adversary.epsilon * grown(state.round, settings.rounds, settings.ramp)
        attacked, success, passed = adversary_turn(state, benign, others, epsilon, settings)
        if settings.underway:
            left = underway(benign, attacked.roll(-source, 0), settings, state.generator)
            attacked = torch.cat([attacked, left], 1)
        learnt = {}
        if state.outsider is not None:
            learnt = {"loss_outsider": teach(state.outsider, benign)}
            away = moved_away(state.outsider, benign, settings.outsider, state.generator)
            attacked = torch.cat([attacked, away], 1)
        terms = defender_turn(state, benign, attacked, settings)
        at_full = epsilon == settings.adversary.epsilon
        state.calm = state.calm + 1 if at_full and success <= settings.stop_success else 0
        record = _record(state, terms, settings, epsilon, watched)
        return record | learnt | {"success": success, "passed": passed}

    train_rounds(state, turn, settings.rounds,
                 Keeping(folder, identity, resume, settings.checkpoint_every, progress), title="game",
                 stopped=lambda: _stopped(state, settings),
                 note=lambda record: f"loss {record[TOTAL]:.1f}, adversary {record['passed']:.2f}")  # fmt: skip
    return state


def new_state(image_shape: tuple[int, ...], classes: int, settings: GameSettings, seed: int,
              device: torch.device) -> GameState:  # fmt: skip
    """Fresh weights and optimiser from a seed."""
    generator = seeded(seed)
    encoder = plan(settings.encoder, image_shape, "encoder")
    latent = encoder.latent[0] if encoder.latent else 0
    vaes = ClassVAEs(encoder, plan(settings.decoder, (latent,), "decoder"), classes, generator).to(device)
    if settings.optimiser == "adam":
        optimiser: torch.optim.Optimizer = torch.optim.Adam(vaes.parameters(), lr=settings.learning_rate, fused=True)
    else:
        optimiser = torch.optim.SGD(vaes.parameters(), lr=settings.learning_rate, momentum=0.9, fused=True)
    levels = torch.full((2, classes), torch.nan, device=device)
    outsider = new_outsider(settings.outsider, image_shape, classes, seed, device) if settings.outsider.share else None
    return GameState(vaes, optimiser, generator, levels=levels, outsider=outsider)


# --- the two turns ------------------------------------------------------------------------------------------------


def adversary_turn(
    state: GameState, benign: Tensor, others: Tensor, epsilon: float, settings: GameSettings
) -> tuple[Tensor, float, float]:
    """Attack images of other classes towards each class c: raise log P_r^c, keep log P_v^c under the benign level.

    Returns:
        the images (C, B, channels, H, W), the first `unattacked` share of them as they were; the share of the
        attacked ones that meet C1 and C2 for c, log P_v^c below and log P_r^c above the benign levels; and the share
        whose log P_v^c − log P_r^c is within the lower 95 % of this batch's benign images of c.
    """
    vaes, adversary = state.vaes, settings.adversary
    spared = int(settings.unattacked * others.shape[1])
    with frozen(vaes):
        with torch.no_grad():
            of_benign = _log_densities(vaes, benign)
            state.levels = _moved_levels(state.levels, of_benign, adversary)
        allowed = state.levels[1][:, None]

        def gain_of(robust: Tensor, vulnerable: Tensor) -> Tensor:
            if adversary.objective == "ratio":
                return robust - vulnerable
            return robust - adversary.bypass_weight * (vulnerable - allowed).clamp_min(0)

        def gain(images: Tensor) -> Tensor:
            return gain_of(*_log_densities(vaes, images))

        enough = gain_of(*state.levels[:, :, None])  # what a typical benign image of c has
        attacked = _attack(gain, enough, others[:, spared:], epsilon, state.generator, adversary)
        with torch.no_grad():
            robust, vulnerable = _log_densities(vaes, attacked)
    success = (vulnerable < allowed) & (robust > state.levels[0][:, None])
    threshold = (of_benign[1] - of_benign[0]).quantile(0.95, 1, keepdim=True)
    passed = vulnerable - robust <= threshold
    return torch.cat([others[:, :spared], attacked], 1), success.float().mean().item(), passed.float().mean().item()


def underway(benign: Tensor, attacked: Tensor, settings: GameSettings, generator: torch.Generator) -> Tensor:
    """Points between images and what the attack made of them, (C, b, channels, H, W), b the setting's share.

    Args:
        benign: (C, B, channels, H, W).
        attacked: the same images, the first `unattacked` share of them as they were.
        settings: of the game.
        generator: of the points.
    """
    spared, b = int(settings.unattacked * benign.shape[1]), benign.shape[1]
    rows = slice(spared, spared + math.ceil(settings.underway * (b - spared)))
    start, whole = benign[:, rows], (attacked - benign)[:, rows]
    share = torch.rand(start.shape[:2], generator=generator).to(start.device)
    share = settings.underway_from + (settings.underway_to - settings.underway_from) * share
    return start + share[..., None, None, None] * whole


def defender_turn(state: GameState, benign: Tensor, attacked: Tensor, settings: GameSettings) -> LossTerms:
    """One step of the optimiser on the sum of l^c over classes."""
    for group in state.optimiser.param_groups:
        group["lr"] = settings.learning_rate * share_of_rate(state.round, settings.rounds, settings.schedule)
    reconstruct = state.round % settings.loss.reconstruct_every == 0
    terms = loss_terms(state.vaes, benign, attacked, settings.loss, state.generator, reconstruct=reconstruct)
    state.optimiser.zero_grad()
    terms.total(settings.loss).sum().backward()
    state.optimiser.step()
    return terms


def _attack(
    gain: Callable[[Tensor], Tensor], enough: Tensor, images: Tensor, epsilon: float, generator: torch.Generator,
    adversary: AdversarySettings,
) -> Tensor:  # fmt: skip
    """Raise `gain` of images (C, B, channels, H, W); CW-L2_W only up to `enough` (C, 1), which is its κ = 0."""
    if adversary.attack == "cw":
        ramp = epsilon / adversary.epsilon if adversary.epsilon else 1.0
        shares = drawn_shares(images, adversary.smallest, generator) if adversary.smallest < 1 else None
        return approach(lambda x: torch.minimum(gain(x), enough), images, c=adversary.c, steps=adversary.steps,
                        learning_rate=ramp * adversary.learning_rate, shares=shares)  # fmt: skip
    return ascend_within(gain, images, epsilon, smallest=adversary.smallest, steps=adversary.steps,
                         stride=adversary.stride, step_size=adversary.step_size,
                         decay=adversary.decay if adversary.attack == "mim" else 0.0,
                         random_start=adversary.attack == "pgd", generator=generator)  # fmt: skip


def _log_densities(vaes: ClassVAEs, images: Tensor) -> tuple[Tensor, Tensor]:
    """log P_r^c and log P_v^c, each (C, B)."""
    latents = vaes.encode(images)
    return log_standard_normal(latents.robust.mean), log_standard_normal(latents.vulnerable.mean)


def _moved_levels(levels: Tensor, densities: tuple[Tensor, Tensor], adversary: AdversarySettings) -> Tensor:
    """Running benign levels (2, C) after one more batch; the first batch is taken as it is."""
    robust, vulnerable = densities
    if adversary.reference == "mean":
        now = torch.stack([robust.mean(1), vulnerable.mean(1)])
    else:
        low, high = robust.quantile(1 - adversary.quantile, 1), vulnerable.quantile(adversary.quantile, 1)
        now = torch.stack([low, high])
    return torch.where(levels.isnan(), now, REFERENCE_MEMORY * levels + (1 - REFERENCE_MEMORY) * now)


def grown(round_: int, rounds: int, ramp: float) -> float:
    """Share of the full ε in a round, all of it after a share `ramp` of the rounds."""
    return min(1.0, (round_ + 1) / (ramp * rounds)) if ramp else 1.0


def _stopped(state: GameState, settings: GameSettings) -> bool:
    return 0 < settings.stop_rounds <= state.calm


# --- records ------------------------------------------------------------------------------------------------------


def _watched(data: LabelledImages) -> LabelledImages:
    """Images whose accuracy is logged, from all over the data, which may be sorted by class."""
    return data.subset(torch.linspace(0, len(data) - 1, min(WATCHED_IMAGES, len(data))).long())


def _record(
    state: GameState, terms: LossTerms, settings: GameSettings, epsilon: float, watched: LabelledImages
) -> dict[str, Any]:
    """One line of the log; the round is counted from 1, the accuracy is null in rounds it is not measured."""
    number = state.round + 1
    accuracy = _accuracy(state.vaes, watched) if number % settings.watch_every == 0 else None
    losses = {f"loss_{name}": value for name, value in terms.means().items()}
    total = terms.total(settings.loss).mean().item()
    return {"round": number, "epsilon": epsilon, TOTAL: total, **losses, "accuracy": accuracy}


@torch.no_grad()
def _accuracy(vaes: ClassVAEs, watched: LabelledImages) -> float:
    """Share of benign training images that argmax of log P_r − log P_v classifies rightly."""
    device = next(vaes.parameters()).device
    with frozen(vaes):
        robust, vulnerable = _log_densities(vaes, watched.images.to(device))
    return ((robust - vulnerable).argmax(0).cpu() == watched.labels).float().mean().item()
