"""Algorithm 2: attack F_p past D, keep the images that fool it with the labels it gives them, teach D, and again.

Letters: n images attacked in each iteration, m images kept, C classes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from twinlatent.attacks.attack import run
from twinlatent.attacks.models import frozen
from twinlatent.criteria import HitsTarget, Misclassified
from twinlatent.data import LabelledImages
from twinlatent.data.split import SEED_LIMIT, seeded
from twinlatent.method.networks import PlainNetwork, build_classifier
from twinlatent.method.training import STATE_FILE, TOTAL, Keeping, TrainingState, train_rounds
from twinlatent.motivation.settings import MotivationSettings, Precision
from twinlatent.outputs import Outputs
from twinlatent.torch_state import CPU, own_random_state

UNTAUGHT = 0.6931471805599453
"""D's loss, log 2, before it learnt anything."""


def lower_precision(precision: Precision, images: Tensor) -> torch.autocast:
    """Within the block layers compute in `precision`, on the device of the images."""
    return torch.autocast(images.device.type, torch.bfloat16, enabled=precision == "bfloat16")


class Watched(nn.Module):
    """F_p with D beside it: the suspicion of every class is D's output, the probability of being adversarial.

    Args:
        classifier: F_p.
        discriminator: D, one log-odds an image.
        precision: layers are computed in it; answers are float32.
    """

    def __init__(self, classifier: nn.Module, discriminator: nn.Module, precision: Precision = "float32") -> None:
        super().__init__()
        self.classifier, self.discriminator, self.precision = classifier, discriminator, precision

    def forward(self, images: Tensor) -> Outputs:
        """Answers for images (n, 1, H, W)."""
        with lower_precision(self.precision, images):
            logits, odds = self.classifier(images), self.discriminator(images)
        return Outputs(logits.float(), torch.sigmoid(odds.float()).expand_as(logits))


def new_discriminator(settings: MotivationSettings, image_shape: tuple[int, ...]) -> PlainNetwork:
    """D before it is taught anything: Algorithm 2 attacks once with it, and the paper does not say what it is then.

    `random`: fresh weights, as any network's. `neutral`: its last layer is zero, so that it gives every image ½ and the
    first attack is not led by random weights.
    """
    with own_random_state(CPU, settings.seed):
        network = build_classifier(settings.discriminator, image_shape)
    if settings.untaught == "neutral":
        for parameter in network.layers[-1].parameters():
            nn.init.zeros_(parameter)
    return network


def placed(network: PlainNetwork, device: torch.device) -> PlainNetwork:
    """The network on a device, in channels-last memory, where attacks on it are twice as fast on a CPU."""
    moved: PlainNetwork = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return moved


@dataclass
class Accumulation(TrainingState):
    """D, the module that is trained, and (X_v, Y_v) as far as it was gathered.

    Attributes:
        images: uint8 (limit·n, 1, H, W), X_v in 255ths; the first `kept` rows are filled.
        labels: int64 (limit·n,), Y_v.
        sources: int64 (limit·n,), which benign image each was made from.
        kept: m.
        added: images that were kept in each iteration begun.
        loss: D's, after it was last taught.
    """

    images: Tensor = field(default_factory=lambda: torch.empty(0))
    labels: Tensor = field(default_factory=lambda: torch.empty(0))
    sources: Tensor = field(default_factory=lambda: torch.empty(0))
    kept: int = 0
    added: list[int] = field(default_factory=list)
    loss: float = UNTAUGHT

    def tensors(self) -> dict[str, Tensor]:
        """Those of the training, and the filled rows."""
        return super().tensors() | {name: getattr(self, name)[: self.kept] for name in ("images", "labels", "sources")}

    def counts(self) -> dict[str, Any]:
        """Those of the training, and what was kept."""
        return super().counts() | {"kept": self.kept, "added": list(self.added), "loss": self.loss}

    def restore(self, tensors: Mapping[str, Tensor], counts: Mapping[str, Any]) -> None:
        """Take over what `tensors` and `counts` of another state gave."""
        super().restore(tensors, counts)
        for name in ("images", "labels", "sources"):
            getattr(self, name)[: self.kept] = tensors[name]

    def add(self, images: Tensor, labels: Tensor, sources: Tensor, iteration: int) -> None:
        """Keep images (k, 1, H, W), already in 255ths, of an iteration counted from 0."""
        rows = slice(self.kept, self.kept + len(labels))
        self.images[rows], self.labels[rows], self.sources[rows] = images, labels, sources
        self.kept += len(labels)
        self.added += [0] * (iteration + 1 - len(self.added))
        self.added[iteration] += len(labels)

    @property
    def vulnerable(self) -> "VulnerableImages":
        """What was gathered."""
        return VulnerableImages(self.images[: self.kept], self.labels[: self.kept], self.sources[: self.kept],
                                tuple(self.added), self.seconds)  # fmt: skip


@dataclass(frozen=True)
class VulnerableImages:
    """(X_v, Y_v): images with the wrong labels that F_p gives them.

    Attributes:
        images: uint8 (m, 1, H, W), in 255ths.
        labels: int64 (m,), what F_p takes them for, never the true label.
        sources: int64 (m,), which benign image each was made from.
        added: how many each iteration gave.
        seconds: it took, over all resumptions.
    """

    images: Tensor
    labels: Tensor
    sources: Tensor
    added: tuple[int, ...]
    seconds: float

    def __len__(self) -> int:
        return len(self.labels)


def accumulate(
    classifier: PlainNetwork,
    discriminator: PlainNetwork,
    benign: LabelledImages,
    settings: MotivationSettings,
    *,
    iterations: int,
    teach: bool = True,
    folder: Path | None = None,
    identity: Mapping[str, Any] | None = None,
    device: torch.device = CPU,
    title: str = "",
    progress: bool = True,
) -> VulnerableImages:
    """Gather (X_v, Y_v) from benign images, in Algorithm 2's loop.

    An image is kept if F_p errs on it once it is rounded to 255ths; an image that F_p reads rightly is left out, since
    it has no wrong label. D goes on learning from one iteration to the next, on as many benign images as images drawn
    from all of X_v, so that an iteration takes the same time whatever was gathered.

    Args:
        classifier: F_p.
        discriminator: D; trained in place.
        benign: (X_b, Y_b).
        settings: attack, networks, seed.
        iterations: how many.
        teach: train D after each.
        folder: keeps the state after each iteration and on Ctrl-C; the same call resumes from there.
        identity: JSON-able; what must be the same when it is resumed.
        device: where to compute.
        title: of the bar.
        progress: whether to show it.

    Raises:
        TwinlatentError: the folder holds other work.
        KeyboardInterrupt: after Ctrl-C.
    """
    room = iterations * len(benign)
    state = Accumulation(
        placed(discriminator, device),
        torch.optim.Adam(discriminator.parameters(), settings.learning_rate, fused=True),
        seeded(settings.seed),
        images=torch.empty((room, *benign.images.shape[1:]), dtype=torch.uint8),
        labels=torch.empty(room, dtype=torch.int64),
        sources=torch.empty(room, dtype=torch.int64),
    )
    batches = -(-len(benign) // settings.batch)
    (classes,) = classifier.plan.output_shape
    work = _Work(
        state, Watched(placed(classifier, device), discriminator, settings.precision), benign, classes, settings, device
    )

    def turn() -> dict[str, Any]:
        iteration, part = divmod(state.round, batches)
        work.attack(iteration, torch.arange(part * settings.batch, min((part + 1) * settings.batch, len(benign))))
        if teach and part == batches - 1:
            state.loss = work.teach()
        return {"iteration": iteration + 1, "kept": state.kept, TOTAL: state.loss}

    resume = folder is not None and (folder / STATE_FILE).exists()
    keeping = Keeping(folder, identity or {}, resume, batches, progress)
    train_rounds(state, turn, iterations * batches, keeping, title=title, note=_note)
    return state.vulnerable


def _note(record: Mapping[str, Any]) -> str:
    return f"iteration {record['iteration']}, {record['kept']} kept, D's loss {record[TOTAL]:.3f}"


@dataclass(frozen=True)
class _Work:
    """One iteration's parts."""

    state: Accumulation
    watched: Watched
    benign: LabelledImages
    classes: int
    settings: MotivationSettings
    device: torch.device

    def attack(self, iteration: int, rows: Tensor) -> None:
        """Attack the benign images `rows` and keep those that fool F_p."""
        chosen = self.benign.subset(rows)
        seed = (self.settings.seed + iteration) % SEED_LIMIT
        targets = self._targets(iteration)[rows].to(self.device) if self.settings.targets == "random" else None
        found = run(self.settings.attack(), self.watched, chosen.images.to(self.device), chosen.labels.to(self.device),
                    targets=targets, criterion=Misclassified() if targets is None else HitsTarget(), seed=seed,
                    batch_size=len(rows))  # fmt: skip
        rounded = found.images.mul(255).round()
        with torch.no_grad(), frozen(self.watched):
            labels = self.watched.classifier(rounded / 255).argmax(1).cpu()
        fooled = labels != chosen.labels
        self.state.add(rounded.byte().cpu()[fooled], labels[fooled], rows[fooled], iteration)

    def _targets(self, iteration: int) -> Tensor:
        """A wrong class for each benign image, each as likely, drawn anew for every iteration."""
        classes = self.classes
        generator = seeded((self.settings.seed + iteration) % SEED_LIMIT)
        shift = torch.randint(1, classes, (len(self.benign),), generator=generator)
        return (self.benign.labels + shift) % classes

    def teach(self) -> float:
        """Train D on benign images (0) and all of X_v (1); the mean loss of the last quarter of the steps."""
        state, batch, steps = self.state, self.settings.learning_batch, self.settings.discriminator_steps
        if state.kept == 0:
            return state.loss
        state.module.train()
        kinds = torch.arange(2.0, device=self.device).repeat_interleave(batch)
        losses = []
        for _ in range(steps):
            benign = self.benign.images[torch.randint(len(self.benign), (batch,), generator=state.generator)]
            rows = torch.randint(state.kept, (batch,), generator=state.generator)
            both = torch.cat([benign, state.images[rows] / 255]).to(self.device)
            state.optimiser.zero_grad()
            with lower_precision(self.settings.precision, both):
                odds = state.module(both)[:, 0]
            loss = F.binary_cross_entropy_with_logits(odds.float(), kinds)
            loss.backward()
            state.optimiser.step()
            losses.append(loss.item())
        tail = losses[-max(1, steps // 4) :]
        return sum(tail) / len(tail)
