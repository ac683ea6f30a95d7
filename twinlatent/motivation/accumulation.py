"""Algorithm 2: attack F_p past D, keep the images that fool it with the labels it gives them, teach D, and again.

Letters: n images attacked in each iteration, m images kept, C classes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from twinlatent.claims import clear
from twinlatent.data import LabelledImages
from twinlatent.data.split import seeded
from twinlatent.method.networks import PlainNetwork, build_classifier
from twinlatent.method.training import STATE_FILE, TOTAL, Keeping, TrainingState, train_rounds
from twinlatent.motivation.attacking import (
    ATTACKED,
    Attacking,
    AttackUnit,
    Watched,
    begin_in,
    lower_precision,
)
from twinlatent.motivation.settings import MotivationSettings
from twinlatent.running.together import some_folder
from twinlatent.running.units import Here, Runner
from twinlatent.torch_state import CPU, own_random_state

HERE = Here()
UNTAUGHT = 0.6931471805599453
"""D's loss, log 2, before it learnt anything."""


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
        seconds: it took, over all resumptions; what was killed between two savings of the state is not in it.
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
    runner: Runner = HERE,
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
        runner: who attacks the batches of an iteration, all of which meet the same D; it is taught here.
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
    watched = Watched(placed(classifier, device), discriminator, settings.precision)
    (classes,) = classifier.plan.output_shape
    work = Attacking(watched, benign, classes, settings, device)
    batches, lessons, alone = len(work.parts), _Lessons(state, work), isinstance(runner, Here)

    def turn(kept: Path) -> dict[str, Any]:
        iteration, part = divmod(state.round, batches)
        found = work.found(AttackUnit(iteration, part), kept, runner, title, progress)
        state.add(*found, iteration)
        if teach and part == batches - 1:
            state.loss = lessons.teach()
        return {"iteration": iteration + 1, "kept": state.kept, TOTAL: state.loss}

    resume = folder is not None and (folder / STATE_FILE).exists()
    keeping = Keeping(folder, identity or {}, resume, batches, progress and alone)
    with some_folder(folder and folder / ATTACKED) as kept:
        begin_in(kept, {"seed": settings.seed, **(identity or {})})
        train_rounds(state, partial(turn, kept), iterations * batches, keeping, title=title, note=_note)
    if folder is not None:
        clear(folder / ATTACKED)
    return state.vulnerable


def _note(record: Mapping[str, Any]) -> str:
    return f"iteration {record['iteration']}, {record['kept']} kept, D's loss {record[TOTAL]:.3f}"


@dataclass(frozen=True)
class _Lessons:
    """What D is taught."""

    state: Accumulation
    attacking: Attacking

    def teach(self) -> float:
        """Train D on benign images (0) and all of X_v (1); the mean loss of the last quarter of the steps."""
        state, asked, device = self.state, self.attacking.settings, self.attacking.device
        images, batch, steps = self.attacking.benign.images, asked.learning_batch, asked.discriminator_steps
        if state.kept == 0:
            return state.loss
        state.module.train()
        kinds = torch.arange(2.0, device=device).repeat_interleave(batch)
        losses = []
        for _ in range(steps):
            benign = images[torch.randint(len(images), (batch,), generator=state.generator)]
            rows = torch.randint(state.kept, (batch,), generator=state.generator)
            both = torch.cat([benign, state.images[rows] / 255]).to(device)
            state.optimiser.zero_grad()
            with lower_precision(asked.precision, both):
                odds = state.module(both)[:, 0]
            loss = F.binary_cross_entropy_with_logits(odds.float(), kinds)
            loss.backward()
            state.optimiser.step()
            losses.append(loss.item())
        tail = losses[-max(1, steps // 4) :]
        return sum(tail) / len(tail)
