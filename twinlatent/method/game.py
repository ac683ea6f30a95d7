"""Algorithm 1: the mini-max game between an adversary who knows the detector and the class VAEs.

A round is an adversary's turn (attack images of other classes towards class c, for every c at once) and a defender's
turn (one step on l^c with benign images of c and the negatives: attacked ones, and other kinds that settings ask
for). Letters: C classes, B images a class.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, cast

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor

from twinlatent.attacks.models import frozen
from twinlatent.data import LabelledImages
from twinlatent.data.augmentation import Augmentation
from twinlatent.data.split import checked_seed, seeded
from twinlatent.method.adversaries.search import AdversarySettings, log_densities
from twinlatent.method.batches import BatchSampler
from twinlatent.method.class_vaes import ClassVAEs
from twinlatent.method.losses import LossSettings, LossTerms, loss_terms
from twinlatent.method.negatives import Negatives, NegativesSettings, Round, Setup
from twinlatent.method.plans import plan
from twinlatent.method.training import TOTAL, Keeping, Schedule, TrainingState, share_of_rate, train_rounds
from twinlatent.torch_state import Device, check_device, fresh_torch

WATCHED_IMAGES = 500
"""How many benign training images the logged accuracy is taken over."""


class GameSettings(BaseModel):
    """Everything that decides a training but the images and the seed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    FORMER: ClassVar[Mapping[str, str]] = {
        "unattacked": "negatives.benign.share",
        "underway": "negatives.partway.share",
        "underway_from": "negatives.partway.nearest",
        "underway_to": "negatives.partway.farthest",
        "outsider": "negatives.surrogate",
    }
    """What settings were called in version 0.1.0, and are called now."""

    encoder: str
    decoder: str
    loss: LossSettings = LossSettings()
    adversary: AdversarySettings = AdversarySettings()
    negatives: NegativesSettings = NegativesSettings()
    augment: Augmentation = Augmentation()
    rounds: int = Field(1000, ge=1)
    batch: int = Field(32, ge=1)
    """Images of each kind, a class and round."""
    ramp: float = Field(0.3, ge=0, le=1)
    """Share of the rounds over which ε grows to its full size."""
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

    @model_validator(mode="before")
    @classmethod
    def _of_version_0_1_0(cls, values: Any) -> Any:
        """Settings that a detector file of that version holds, by their names of today."""
        if not isinstance(values, dict) or "negatives" in values:
            return values
        kept = {name: value for name, value in values.items() if name not in cls.FORMER}
        negatives: dict[str, dict[str, Any]] = {}
        for name in cls.FORMER.keys() & values.keys():
            _, kind, *setting = cls.FORMER[name].split(".")
            negatives.setdefault(kind, {}).update({setting[0]: values[name]} if setting else values[name])
        return kept | {"negatives": negatives} if negatives else kept


@dataclass
class GameState(TrainingState):
    """The state of a training, whose module are the class VAEs.

    Attributes:
        levels: running benign levels (2, C): log P_r^c that C2 asks for, log P_v^c that C1 allows.
        calm: rounds in a row in which the adversary failed.
        negatives: what a class must call vulnerable, by kind.
    """

    levels: Tensor = field(default_factory=lambda: torch.empty(2, 0))
    calm: int = 0
    negatives: dict[str, Negatives] = field(default_factory=dict)

    @property
    def vaes(self) -> ClassVAEs:
        """What is trained."""
        return cast(ClassVAEs, self.module)

    def tensors(self) -> dict[str, Tensor]:
        """With the levels, and what kinds of negatives learn along."""
        tensors = super().tensors() | {"levels": self.levels}
        for prefix, learner in self._learners():
            tensors |= {f"{prefix}{name}": tensor for name, tensor in learner.tensors().items()}
        return tensors

    def counts(self) -> dict[str, Any]:
        """With the calm rounds."""
        return super().counts() | {"calm": self.calm}

    def restore(self, tensors: Mapping[str, Tensor], counts: Mapping[str, Any]) -> None:
        """With the levels, the calm rounds, and what kinds of negatives learn along."""
        super().restore(tensors, counts)
        self.levels = tensors["levels"].to(self.levels.device)
        for prefix, learner in self._learners():
            own = {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}
            learner.restore(own, learner.counts())

    def _learners(self) -> Iterator[tuple[str, TrainingState]]:
        """What kinds of negatives learn along, with what begins the names of their tensors in a checkpoint."""
        for name, kind in self.negatives.items():
            if kind.state is not None:
                yield f"negatives.{name}.", kind.state


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
    begin: Callable[[], None] = lambda: None,
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
        begin: called before the first round, when all is checked.

    Raises:
        TwinlatentError: a class without images, a state that does not fit, or a loss that is not finite any more.
        KeyboardInterrupt: after Ctrl-C; with a folder the state was saved first.
    """
    seed, place = checked_seed(seed), check_device(device)
    sample = BatchSampler(data, classes, settings.batch, place, settings.augment)
    watched = _watched(data)
    state = new_state(tuple(data.images.shape[1:]), classes, settings, seed, place)
    identity = {"settings": settings.model_dump(), "seed": seed, "data": fingerprint}

    def turn() -> dict[str, Any]:
        of_round = Round(*sample(state.generator))
        for kind in state.negatives.values():
            of_round = kind.arrange(of_round, state.generator)
        epsilon = settings.adversary.epsilon * grown(state.round, settings.rounds, settings.ramp)
        attack = settings.adversary.turn(state.vaes, state.levels, of_round.benign, of_round.targets, epsilon,
                                         state.generator)  # fmt: skip
        state.levels = attack.levels
        negatives = [kind.images(of_round, attack.images, state.generator) for kind in state.negatives.values()]
        losses = [kind.loss(state.vaes, of_round, epsilon) for kind in state.negatives.values()]
        terms = defender_turn(state, of_round.benign, torch.cat(negatives, 1), settings, losses)
        at_full = epsilon == settings.adversary.epsilon
        state.calm = state.calm + 1 if at_full and attack.success <= settings.stop_success else 0
        record = _record(state, terms, settings, epsilon, watched)
        return record | {"success": attack.success, "passed": attack.passed}

    train_rounds(state, turn, settings.rounds,
                 Keeping(folder, identity, resume, settings.checkpoint_every, progress, begin), title="game",
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
    negatives = settings.negatives.made(Setup(image_shape, classes, seed, device))
    return GameState(vaes, optimiser, generator, levels=levels, negatives=negatives)


# --- the defender ------------------------------------------------------------------------------------------------


def defender_turn(
    state: GameState,
    benign: Tensor,
    negatives: Tensor,
    settings: GameSettings,
    losses: Sequence[Tensor | None] = (),
) -> LossTerms:
    """One step of the optimiser on the sum of l^c over classes.

    Args:
        state: changed in place.
        benign: (C, B, channels, H, W).
        negatives: (C, b, channels, H, W), what each class must call vulnerable.
        settings: of the game.
        losses: more of the loss, each (C,), from kinds of negatives that are no images.
    """
    for group in state.optimiser.param_groups:
        group["lr"] = settings.learning_rate * share_of_rate(state.round, settings.rounds, settings.schedule)
    reconstruct = state.round % settings.loss.reconstruct_every == 0
    terms = loss_terms(state.vaes, benign, negatives, settings.loss, state.generator, reconstruct=reconstruct)
    state.optimiser.zero_grad()
    more = [loss for loss in losses if loss is not None]
    sum(more, terms.total(settings.loss)).sum().backward()
    state.optimiser.step()
    return terms


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
    said = {name: value for kind in state.negatives.values() for name, value in kind.said().items()}
    return {"round": number, "epsilon": epsilon, TOTAL: total, **losses, **said, "accuracy": accuracy}


@torch.no_grad()
def _accuracy(vaes: ClassVAEs, watched: LabelledImages) -> float:
    """Share of benign training images that argmax of log P_r − log P_v classifies rightly."""
    device = next(vaes.parameters()).device
    with frozen(vaes):
        robust, vulnerable = log_densities(vaes, watched.images.to(device))
    return ((robust - vulnerable).argmax(0).cpu() == watched.labels).float().mean().item()
