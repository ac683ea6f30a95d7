"""A cell of Table 1: Algorithm 2, F_v and its controls, and the numbers as records."""

import json
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from twinlatent.claims import claimed, refuse_present
from twinlatent.code_digest import LEARNING, code_identity
from twinlatent.data import LabelledImages, Split
from twinlatent.data.split import as_pictures
from twinlatent.errors import TwinlatentError
from twinlatent.evaluation.black_box import train_substitute
from twinlatent.evaluation.metrics import Rate, rate
from twinlatent.evaluation.protocol import draw
from twinlatent.evaluation.results import Record, read_json, read_records, write_records
from twinlatent.files import replacing, write_json
from twinlatent.method.networks import PlainNetwork
from twinlatent.motivation.accumulation import VulnerableImages, accumulate, new_discriminator
from twinlatent.motivation.learning import LEARNER, labels_of, learn, lessons
from twinlatent.motivation.settings import MotivationSettings
from twinlatent.provenance import Provenance, provenance
from twinlatent.running.units import Here, Runner
from twinlatent.running.workers import runner_of
from twinlatent.torch_state import Device, check_device, computing_with, fresh_torch

METHOD = "motivation"
ASKED, RECORDS, FIGURE = "asked.json", "results.json", "figure2.npz"
SHOWN = 8
"""Images of each label that are kept for Figure 2, at most."""


@dataclass(frozen=True)
class Vulnerability:
    """What a cell of Table 1 found.

    Attributes:
        records: its numbers.
        settings: what it was run with.
        images: uint8 (k, H, W), in colour (k, H, W, 3), images of X_v for Figure 2, `SHOWN` of each label at most.
        labels: (k,) name of each one's label Y_v.
        true: (k,) name of the class of the benign image it was made from.
    """

    records: tuple[Record, ...]
    settings: MotivationSettings
    images: NDArray[np.uint8]
    labels: NDArray[np.str_]
    true: NDArray[np.str_]


@fresh_torch()
def run_motivation(
    split: Split,
    settings: MotivationSettings,
    folder: Path,
    *,
    shared: Path | None = None,
    device: Device = "cpu",
    workers: int | Runner | None = None,
    progress: bool = True,
) -> Vulnerability:
    """Run section 3's experiment for one attack; what is in the folder already is not done again.

    F_p and F_v are those of Table 5; F_p is trained on all training images. The attack meets F_p beside D
    (`accumulation`); F_v and its controls (`learning`) see none of D and none of F_p. Test X_v is made from test images
    with the final D, which has learnt nothing from them; where no such image fools F_p, `test_xv_accuracy` is left out.

    Args:
        split: `train` is attacked and learnt, `test` is judged.
        settings: everything else.
        folder: keeps what is done, and the results.
        shared: keeps F_p, which does not depend on the attack; None: `folder`.
        device: where to compute.
        workers: so many processes attack, a batch each; None or 1: this one alone.
        progress: whether to show bars.

    Raises:
        TwinlatentError: more images than there are, a folder that holds another experiment, or an attack that fools F_p
            on no training image.
        KeyboardInterrupt: after Ctrl-C; the same call resumes, to the same numbers.
    """
    place, runner = check_device(device), runner_of(workers)
    asked = _asked(split, settings, folder)
    with claimed(folder), nullcontext() if isinstance(runner, Here) else computing_with(runner.threads):
        if not (folder / ASKED).exists():
            refuse_present(folder, (RECORDS, FIGURE), "other work")
        if (folder / RECORDS).exists():
            return read_motivation(folder)
        write_json(folder / ASKED, asked)
        origin = provenance()
        work = _Work(split, settings, folder, asked, place, runner, progress)
        target = train_substitute(split, seed=settings.seed, folder=shared or folder, progress=progress).network
        found = work.measured(target)
        records = [_record(split, settings, origin, found.seconds, *number) for number in found.numbers]
        _write_figure(folder / FIGURE, found.vulnerable, found.benign, split.class_names)
        write_records(folder / RECORDS, records)
        return read_motivation(folder)


def read_motivation(folder: Path) -> Vulnerability:
    """What `run_motivation` left in a folder.

    Raises:
        TwinlatentError: it holds no finished experiment, or a damaged one.
    """
    records = read_records(folder / RECORDS)
    try:
        asked = json.loads((folder / ASKED).read_text(encoding="utf-8"))
        with np.load(folder / FIGURE, allow_pickle=False) as arrays:
            shown = (arrays[name] for name in ("images", "labels", "true"))
            return Vulnerability(records, MotivationSettings.model_validate(asked["settings"]), *shown)
    except (OSError, ValueError, KeyError, BadZipFile) as error:
        damaged = f"{folder}: {ASKED} or {FIGURE} is missing or damaged; remove {RECORDS}; the same command resumes"
        raise TwinlatentError(damaged) from error


def _asked(split: Split, settings: MotivationSettings, folder: Path) -> dict[str, Any]:
    """What makes it the same experiment; refused if the folder holds another."""
    for name, answers in (("classifier", split.classes), ("discriminator", 1)):
        network = getattr(settings, name)
        if not network.endswith(f"sm({answers})"):
            raise TwinlatentError(f"{name} {network!r} must give {answers} answers; end it with sm({answers})")
    available, wanted = len(split.train), settings.images
    if wanted is not None and wanted > available:
        raise TwinlatentError(f"{wanted} training images are asked for; {split.short_name} has {available}")
    whose = {"data": split.fingerprint, "settings": settings.model_dump(), "code": code_identity(LEARNING)}
    asked: dict[str, Any] = json.loads(json.dumps(whose))
    if (folder / ASKED).exists() and read_json(folder / ASKED) != asked:
        raise TwinlatentError(f"{folder} holds an experiment with other data, settings or code; give another folder")
    return asked


# --- the work -----------------------------------------------------------------------------------------------------


Number = tuple[str, Rate]
"""Metric and value."""


@dataclass(frozen=True)
class _Found:
    numbers: list[Number]
    seconds: float
    vulnerable: VulnerableImages
    benign: LabelledImages


@dataclass(frozen=True)
class _Work:
    split: Split
    settings: MotivationSettings
    folder: Path
    identity: dict[str, Any]
    device: torch.device
    runner: Runner
    progress: bool

    def measured(self, target: PlainNetwork) -> _Found:
        """All stages, each from its folder as far as it was done."""
        split, settings = self.split, self.settings
        benign = draw(split.train, settings.images, settings.seed)
        judged = draw(split.test, min(settings.test_images, len(split.test)), settings.seed)
        discriminator = new_discriminator(settings, split.image_shape)
        name = settings.spent.attack
        vulnerable = accumulate(target, discriminator, benign, settings, iterations=settings.iterations,
                                runner=self.runner, title=f"{name}_d, training images",
                                **self._within("accumulated"))  # fmt: skip
        unseen = accumulate(target, discriminator, judged, settings, iterations=1, teach=False,
                            runner=self.runner, title=f"{name}_d, test images", **self._within("unseen"))  # fmt: skip
        if not len(vulnerable):
            raise TwinlatentError(f"{name} fooled F_p on no training image; give it more images or steps")
        attempts = len(benign) * settings.iterations
        numbers = [
            ("substitute_accuracy", self._accuracy(target, split.test)),
            ("attack_success", rate(len(vulnerable), attempts)),
            ("test_attack_success", rate(len(unseen), len(judged))),
        ]
        seconds = vulnerable.seconds + unseen.seconds
        for lesson, sample in lessons(vulnerable, benign, split.classes, settings.spent.epsilon, settings.seed).items():
            network, took = learn(sample, len(vulnerable), settings, split.image_shape, title=f"F_v, {lesson}",
                                  **self._within(lesson))  # fmt: skip
            seconds += took
            if lesson == LEARNER:
                numbers.append(("test_xb_accuracy", self._accuracy(network, split.test)))
                if len(unseen):
                    numbers.append(("test_xv_accuracy", self._accuracy(network, unseen)))
            else:
                numbers.append((f"control_{lesson}_accuracy", self._accuracy(network, split.test)))
        return _Found(numbers, seconds, vulnerable, benign)

    def _within(self, folder: str) -> dict[str, Any]:
        return {"folder": self.folder / folder, "identity": self.identity, "device": self.device,
                "progress": self.progress}  # fmt: skip

    def _accuracy(self, network: nn.Module, data: LabelledImages | VulnerableImages) -> Rate:
        right = labels_of(network, data.images, self.device) == data.labels
        return rate(int(right.sum()), len(right))


def _record(
    split: Split, settings: MotivationSettings, origin: Provenance, seconds: float, metric: str, found: Rate
) -> Record:
    images = settings.images or len(split.train)
    return Record.model_validate({
        "data": split.short_name,
        "method": METHOD,
        "trained_with": "none",
        "attack": settings.spent.attack,
        "epsilon": settings.spent.epsilon,
        "score": None,
        "metric": metric,
        "value": found.value,
        "n": found.n,
        "low": found.low,
        "high": found.high,
        "seed": settings.seed,
        "seconds": round(seconds, 1),
        **origin.model_dump(),
        "budget": f"section3, {images} images, {settings.iterations} iterations, {settings.targets} targets",
    })  # fmt: skip


# --- Figure 2 -----------------------------------------------------------------------------------------------------


def _write_figure(
    path: Path, vulnerable: VulnerableImages, benign: LabelledImages, class_names: tuple[str, ...]
) -> None:
    rows = torch.tensor(list(_shown(vulnerable, benign, len(class_names))))
    names = np.array(class_names)
    with replacing(path) as temporary:
        np.savez_compressed(
            temporary,
            images=as_pictures(vulnerable.images[rows]),
            labels=names[vulnerable.labels[rows].numpy()],
            true=names[benign.labels[vulnerable.sources[rows]].numpy()],
        )


def _shown(vulnerable: VulnerableImages, benign: LabelledImages, classes: int) -> Iterator[int]:
    """Rows of X_v of each label, made from different images, the true classes by turns."""
    true = benign.labels[vulnerable.sources]
    for label in range(classes):
        firsts: dict[int, int] = {}
        for row in (vulnerable.labels == label).nonzero()[:, 0].tolist():
            firsts.setdefault(int(vulnerable.sources[row]), row)
        own = list(firsts.values())
        by_class = [[row for row in own if true[row] == other] for other in range(classes)]
        yield from [row for turn in zip_longest(*by_class) for row in turn if row is not None][:SHOWN]
