"""What a game is played with, and its state.

Letters: C classes, B images.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Self, cast

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor

from twinlatent.data.augmentation import Augmentation
from twinlatent.data.split import seeded
from twinlatent.method.adversaries.bound import BoundSettings
from twinlatent.method.adversaries.search import AdversarySettings
from twinlatent.method.binary import BinarySettings
from twinlatent.method.class_vaes import ClassVAEs
from twinlatent.method.losses import LossSettings
from twinlatent.method.negatives import Negatives, NegativesSettings, Setup
from twinlatent.method.networks import Weights
from twinlatent.method.notation import parse
from twinlatent.method.plans import plan
from twinlatent.method.training import Schedule, TrainingState

IDLE: Mapping[str, Sequence[str]] = {
    "one_batch": ("loss.margin_weight", "loss.error_penalty_weight", "loss.density", "loss.error_penalty_at",
                  "loss.reconstruct_every", "stop_success", "stop_rounds", "adversary.bypass_weight",
                  "adversary.reference", "adversary.quantile", "adversary.c", "adversary.learning_rate",
                  "negatives.partway.share", "negatives.surrogate.share"),
    "by_class": ("warm", "benign", "loss.others", "adversary.target"),
}  # fmt: skip
"""Settings that a deal does not read."""


class GameSettings(BaseModel):
    """Everything that decides a training but the images and the seed."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

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
    """Empty: none, nothing is reconstructed."""
    deal: Literal["by_class", "one_batch"] = "by_class"
    """`by_class` (the paper): a round has a batch of each class and as many images of others, and each class learns
    from its own. `one_batch`: a round has one batch, and every class learns from all of its images: each is benign for
    its class and attacked towards all others."""
    weights: Weights = "uniform"
    loss: LossSettings = LossSettings()
    adversary: AdversarySettings = AdversarySettings()
    bound: BoundSettings = BoundSettings()
    negatives: NegativesSettings = NegativesSettings()
    augment: Augmentation = Augmentation()
    binary: BinarySettings = BinarySettings()
    rounds: int = Field(1000, ge=0)
    """0: the encoders stay those of the start, and only what comes after the game is trained."""
    batch: int = Field(32, ge=1)
    """Images of each kind, a class and round; in `one_batch` of all classes together."""
    warm: float = Field(0.0, ge=0, le=1)
    """Share of the rounds before the adversary begins, in `one_batch`."""
    ramp: float = Field(0.3, ge=0, le=1)
    """Share of the rounds, after those, over which ε grows to its full size."""
    benign: float = Field(0.5, gt=0, le=1)
    """Weight κ of the benign images in `one_batch` once ε is full, 1 − κ being the adversary's; it falls from 1 as ε
    grows (Gowal et al. 2018)."""
    optimiser: Literal["adam", "sgd"] = "adam"
    learning_rate: float = Field(2e-3, gt=0)
    schedule: Schedule = "cosine"
    """`cosine`: up over the first tenth of the rounds, then down to nothing along half a cosine; `fall`: that without
    the first tenth; `steps`: a fifth after .6 of the rounds, a 25th after .85."""
    products: Literal["float32", "bfloat16"] = "float32"
    """What the encoders' shared layers multiply in while they are trained; bfloat16 is up to twice as fast on
    processors that have it, and rounds to 8 bits. The trained detector computes in float32."""
    clip: float = Field(0.0, ge=0)
    """Largest norm of the gradient, which is shortened to it; 0: as it is."""
    average: float = Field(0.0, ge=0, lt=1)
    """The detector gets a running mean of the weights, which keeps this share each round; 0: those of the last."""
    stop_success: float = Field(0.0, ge=0, le=1)
    """Stop when the adversary meets C1 and C2 on no more than this share of images ..."""
    stop_rounds: int = Field(0, ge=0)
    """... for this many rounds in a row at full ε; 0 never stops early."""
    checkpoint_every: int = Field(50, ge=1)
    watch_every: int = Field(10, ge=1)
    """Rounds between two measurements of the accuracy."""

    @model_validator(mode="after")
    def _fit_the_deal(self) -> Self:
        together = self.deal == "one_batch"
        if self.bound.share and not together:
            raise ValueError(f"bound.share is {self.bound.share}, and the deal by_class; bounds need deal one_batch")
        if not self.decoder and not together:
            raise ValueError("there is no decoder, and the deal by_class, which reconstructs; name one")
        if together and self.warm + self.ramp > 1:
            raise ValueError(f"warm and ramp are {self.warm} and {self.ramp}, together more than 1: ε is never full")
        if self.bound.share and _normalises(self.encoder):
            raise ValueError("bound.share needs an encoder without bn, which has no bounds while it is trained")
        if self.average and _normalises(self.encoder):
            raise ValueError("average needs an encoder without bn, whose statistics are no weights")
        self._refuse_idle()
        return self

    def _refuse_idle(self) -> None:
        """Refuse what the deal does not read, unless it is as it is by default or switched off."""
        for name in IDLE[self.deal]:
            *tables, last = name.split(".")
            table: BaseModel = self
            for part in tables:
                table = getattr(table, part)
            value, usual = getattr(table, last), type(table).model_fields[last].default
            if value not in (usual, 0):
                raise ValueError(f"{name} is {value}, which the deal {self.deal} does not read; leave it out")

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
        average: running mean of the weights, by name; empty where none is kept.
    """

    levels: Tensor = field(default_factory=lambda: torch.empty(2, 0))
    calm: int = 0
    negatives: dict[str, Negatives] = field(default_factory=dict)
    average: dict[str, Tensor] = field(default_factory=dict)

    @property
    def vaes(self) -> ClassVAEs:
        """What is trained."""
        return cast(ClassVAEs, self.module)

    def tensors(self) -> dict[str, Tensor]:
        """With the levels, and what kinds of negatives learn along."""
        tensors = super().tensors() | {"levels": self.levels}
        tensors |= {f"average.{name}": value for name, value in self.average.items()}
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
        self.average = {name: tensors[f"average.{name}"].to(value.device) for name, value in self.average.items()}
        for prefix, learner in self._learners():
            own = {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}
            learner.restore(own, learner.counts())

    def _learners(self) -> Iterator[tuple[str, TrainingState]]:
        """What kinds of negatives learn along, with what begins the names of their tensors in a checkpoint."""
        for name, kind in self.negatives.items():
            if kind.state is not None:
                yield f"negatives.{name}.", kind.state


def new_state(image_shape: tuple[int, ...], classes: int, settings: GameSettings, seed: int,
              device: torch.device) -> GameState:  # fmt: skip
    """Fresh weights and optimiser from a seed."""
    generator = seeded(seed)
    encoder = plan(settings.encoder, image_shape, "encoder")
    latent = (encoder.latent[0] if encoder.latent else 0) + (classes if encoder.shared else 0)
    decoder = plan(settings.decoder, (latent,), "decoder") if settings.decoder else None
    vaes = ClassVAEs(encoder, decoder, classes, generator, settings.weights).to(device)
    if settings.optimiser == "adam":
        optimiser: torch.optim.Optimizer = torch.optim.Adam(vaes.parameters(), lr=settings.learning_rate, fused=True)
    else:
        optimiser = torch.optim.SGD(vaes.parameters(), lr=settings.learning_rate, momentum=0.9, fused=True)
    unknown = torch.nan if settings.deal == "by_class" else 0.0  # `one_batch` has no levels
    levels = torch.full((2, classes), unknown, device=device)
    negatives = settings.negatives.made(Setup(image_shape, classes, seed, device))
    average = {name: value.detach().clone() for name, value in vaes.named_parameters() if settings.average}
    return GameState(vaes, optimiser, generator, levels=levels, negatives=negatives, average=average)


def _normalises(encoder: str) -> bool:
    return any(token.name == "bn" for token in parse(encoder).tokens)


def grown(round_: int, rounds: int, ramp: float, warm: float = 0.0) -> float:
    """Share of the full ε in a round: 0 over the first `warm` of the rounds, then rising to 1 over `ramp` of them."""
    since = round_ + 1 - warm * rounds
    if since <= 0:
        return 0.0
    return min(1.0, since / (ramp * rounds)) if ramp else 1.0
