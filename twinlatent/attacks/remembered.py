"""Attacks that need not be run again for an easier criterion.

Most attacks of a suite follow gradients that know no threshold: of it hangs only where they stop. Run for the strictest
criterion, such an attack passes all that it would have reached for an easier one, so that a memory of the first iterate
that met the easier one answers for it: the same image and verdict as those of a second run.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from twinlatent.attacks.attack import Attack, Found
from twinlatent.criteria import Aim, Criterion
from twinlatent.digest import digest
from twinlatent.files import replacing
from twinlatent.outputs import Model, Outputs

Key = tuple[str, str]
"""Digests of an attack and of a criterion."""
SHORT = 16
"""Digits of a digest in the name of a file."""


class Memory:
    """What attacks found for criteria that they were not run for.

    Args:
        folder: keeps it, so that a later process answers as this one would; files there are of the same model and code.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._found: dict[Key, dict[int, Tensor | None]] = {}

    def remembering(self, attacks: Mapping[str, Attack], easier: Sequence[Criterion]) -> dict[str, Attack]:
        """The attacks, each of which answers from this memory where it can, and fills it.

        Args:
            attacks: of this package, which ask the criterion of every iterate and let it decide only where to stop.
            easier: criteria met by whatever meets the one that they are run for.
        """
        return {name: Remembered(attack, tuple(easier), self) for name, attack in attacks.items()}

    def of(self, key: Key, seeds: Sequence[int]) -> list[Tensor | None] | None:
        """Of each image, known by its seed, the first iterate that met the criterion, or None; None if one is new."""
        known = self._found.get(key)
        if known is None:
            known = self._found[key] = self._read(key)
        return [known[seed] for seed in seeds] if all(seed in known for seed in seeds) else None

    def keep(self, key: Key, seeds: Sequence[int], first: Sequence[Tensor | None]) -> None:
        """Take in what `of` gives."""
        self._found.setdefault(key, self._read(key)).update(zip(seeds, first, strict=True))
        if self._folder is None:
            return
        met = np.array([image is not None for image in first])
        images = [image.cpu().numpy() for image in first if image is not None]
        number = int(digest(list(seeds))[:12], 16)
        with replacing(self._folder / f"{_called(key)}-{number:015d}.npz") as temporary:  # a name that claims knows
            np.savez_compressed(temporary, seeds=np.array(seeds), met=met, images=np.array(images))

    def _read(self, key: Key) -> dict[int, Tensor | None]:
        """What files say, but those that are not whole."""
        found: dict[int, Tensor | None] = {}
        for path in sorted(self._folder.glob(f"{_called(key)}-*.npz")) if self._folder is not None else ():
            with suppress(Exception):  # NumPy's and zip's readers raise nearly every type on damaged files
                with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
                    seeds, met, images = (archive[name] for name in ("seeds", "met", "images"))
                left = iter(torch.from_numpy(images))
                found |= {int(seed): next(left) if there else None for seed, there in zip(seeds, met, strict=True)}
        return found


def _called(key: Key) -> str:
    return "-".join(part[:SHORT] for part in key)


@dataclass(frozen=True, eq=False)
class Remembered(Attack):
    """An attack with a memory; see `Memory.remembering`."""

    attack: Attack
    easier: tuple[Criterion, ...] = field(repr=False)
    memory: Memory = field(repr=False)

    def __call__(self, model: Model, images: Tensor, aim: Aim, criterion: Criterion) -> Found:
        if aim.seeds is None:
            return self.attack(model, images, aim, criterion)
        seeds, called = aim.seeds.tolist(), digest(self.attack)
        known = self.memory.of((called, digest(criterion)), seeds)
        if known is not None:
            return _as_found(images, known)
        watch = _Watch(model, criterion, self.easier, len(images))
        numbered = replace(aim, rows=torch.arange(len(images), device=images.device))
        found = self.attack(watch.asked, images, numbered, watch)
        if watch.saw_all:
            for easier, first in zip(self.easier, watch.first, strict=True):
                self.memory.keep((called, digest(easier)), seeds, first)
        return found


def _as_found(images: Tensor, known: Sequence[Tensor | None]) -> Found:
    success = torch.tensor([image is not None for image in known], device=images.device)
    reached = [image if kept is None else kept.to(images) for image, kept in zip(images, known, strict=True)]
    return replace(Found.nothing(images), images=torch.stack(reached), success=success)


class _Watch(Criterion):
    """A criterion that notes, by the way, the first iterate of each image that meets each easier one."""

    def __init__(self, model: Model, wanted: Criterion, easier: Sequence[Criterion], count: int) -> None:
        self._model, self._wanted, self._easier = model, wanted, easier
        self._images: Tensor | None = None
        self._outputs: Outputs | None = None
        self._open = [torch.ones(count, dtype=torch.bool) for _ in easier]
        self.first: list[list[Tensor | None]] = [[None] * count for _ in easier]
        self.saw_all = True

    def asked(self, images: Tensor) -> Outputs:
        """The model's answers."""
        self._images, self._outputs = images, self._model(images)
        return self._outputs

    def __call__(self, outputs: Outputs, aim: Aim) -> Tensor:
        if outputs is not self._outputs or self._images is None or aim.rows is None:
            self.saw_all = False  # then nothing can be said of easier criteria
            return self._wanted(outputs, aim)
        rows = aim.rows.cpu()
        for easier, open_, first in zip(self._easier, self._open, self.first, strict=True):
            new = easier(outputs, aim).cpu() & open_[rows]
            for place in new.nonzero()[:, 0].tolist():
                first[int(rows[place])] = self._images[place].detach().clone()
            open_[rows[new]] = False
        return self._wanted(outputs, aim)
