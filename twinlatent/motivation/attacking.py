"""The attack of Algorithm 2, a batch of benign images at a time: here, or as units of whoever runs such.

All batches of an iteration meet the same D, so none needs another one.
"""

import json
import zlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import torch
from torch import Tensor, nn

from twinlatent.attacks.attack import run
from twinlatent.attacks.models import frozen
from twinlatent.claims import clear
from twinlatent.code_digest import LEARNING, code_identity
from twinlatent.criteria import HitsTarget, Misclassified
from twinlatent.data import LabelledImages
from twinlatent.data.split import SEED_LIMIT, seeded
from twinlatent.files import replacing, write_json
from twinlatent.interrupts import at_once
from twinlatent.motivation.settings import MotivationSettings, Precision
from twinlatent.outputs import Outputs
from twinlatent.running.together import run_all
from twinlatent.running.units import Heard, Here, Places, Runner

ATTACKED = "attacked"
"""What units call the folder of attacked batches; its name below that of the accumulation."""
IDENTITY = "identity.json"
"""File in it that says whose they are."""
Found = tuple[Tensor, Tensor, Tensor]
"""Images uint8 (k, 1, H, W) that fool F_p, what it takes them for, and which benign image each was made from."""


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


@dataclass(frozen=True)
class Attacking:
    """What batches have in common.

    Attributes:
        watched: F_p and D as they are in this iteration.
        benign: all that are attacked.
        classes: how many.
        settings: attack, batches, seed.
        device: where to compute.
    """

    watched: Watched
    benign: LabelledImages
    classes: int
    settings: MotivationSettings
    device: torch.device

    @property
    def parts(self) -> tuple[Tensor, ...]:
        """Rows of the benign images of each batch."""
        return torch.split(torch.arange(len(self.benign)), self.settings.batch)

    def attacked(self, iteration: int, part: int) -> Found:
        """Attack a batch, and leave out what does not fool F_p."""
        rows = self.parts[part]
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
        return rounded.byte().cpu()[fooled], labels[fooled], rows[fooled]

    def _targets(self, iteration: int) -> Tensor:
        """A wrong class for each benign image, each as likely, drawn anew for every iteration."""
        generator = seeded((self.settings.seed + iteration) % SEED_LIMIT)
        shift = torch.randint(1, self.classes, (len(self.benign),), generator=generator)
        return (self.benign.labels + shift) % self.classes

    def found(self, unit: "AttackUnit", folder: Path, runner: Runner, title: str, progress: bool) -> Found:
        """What a batch's file holds; where there is none it is attacked first.

        Others attack all that are left of the iteration. Files of earlier ones, which the state has, are removed.
        """
        there = read_found(folder / unit.file)
        if there is not None:
            return there
        for path in folder.glob("iteration-*.npz"):
            if not path.name.startswith(unit.begin):
                path.unlink(missing_ok=True)
        if isinstance(runner, Here):
            unit(self, {ATTACKED: folder}, lambda _: None)
        else:
            rest = (AttackUnit(unit.iteration, part) for part in range(unit.part, len(self.parts)))
            units = [one for one in rest if read_found(folder / one.file) is None]
            with at_once():
                run_all(runner, [units], self, {ATTACKED: folder}, name=f"{title}, iteration {unit.iteration + 1}",
                        progress=progress)  # fmt: skip
        there = read_found(folder / unit.file)
        assert there is not None, "a unit keeps its file"
        return there


def begin_in(folder: Path, whose: Mapping[str, Any]) -> None:
    """Remove what a folder holds of work that is not this one."""
    path, now = folder / IDENTITY, json.loads(json.dumps({**whose, **code_identity(LEARNING)}))
    with suppress(OSError, ValueError):
        if json.loads(path.read_text(encoding="utf-8")) == now:
            return
    clear(folder)
    write_json(path, now)


def read_found(path: Path) -> Found | None:
    """What a unit found; None where there is nothing, or nothing whole."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            images, labels, sources = (torch.from_numpy(arrays[name]) for name in ("images", "labels", "sources"))
    except (OSError, ValueError, KeyError, EOFError, BadZipFile, zlib.error):
        return None
    return images, labels, sources


@dataclass(frozen=True)
class AttackUnit:
    """A batch of an iteration, both counted from 0."""

    iteration: int
    part: int

    @property
    def name(self) -> str:
        """For bars and errors."""
        return f"iteration {self.iteration + 1}, batch {self.part + 1}"

    @property
    def steps(self) -> int:
        """One file."""
        return 1

    @property
    def file(self) -> str:
        """Name of what it keeps."""
        return f"{self.begin}{self.part:06}.npz"

    @property
    def begin(self) -> str:
        """Of the names of all files of its iteration."""
        return f"iteration-{self.iteration + 1}-"

    @property
    def keeps(self) -> Mapping[str, Sequence[str]]:
        """See `Unit`."""
        return {ATTACKED: (self.file,)}

    @property
    def needs(self) -> Mapping[str, Sequence[str]]:
        """Nothing: it is given F_p and D."""
        return {}

    def __call__(self, given: Attacking, places: Places, heard: Heard) -> None:
        """Attack it, unless its file is there."""
        path = places[ATTACKED] / self.file
        if read_found(path) is None:
            images, labels, sources = (one.numpy() for one in given.attacked(self.iteration, self.part))
            with replacing(path) as temporary:
                np.savez_compressed(temporary, images=images, labels=labels, sources=sources)
        heard(path)
