"""A suite in units: what each attack makes of a batch, or all of them in turn, by whoever runs units."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from twinlatent.attacks.attack import BATCH, Attack
from twinlatent.attacks.models import Attackable
from twinlatent.attacks.suite_runs import IDENTITY, SuiteResult, batch_numbers, file_of, run_suite
from twinlatent.running.portions import Portion
from twinlatent.running.shards import Shard
from twinlatent.running.together import run_all, some_folder
from twinlatent.running.units import Heard, Here, Places, Runner
from twinlatent.torch_state import computing_with

FOLDER = "folder"
"""What units call the place of a suite."""


@dataclass(frozen=True)
class SuiteUnit:
    """One batch under one attack; or, where an attack sees what earlier ones left, under all of them in turn.

    Attributes:
        batch: its number.
        size: of batches.
        attacks: how many there are.
        attack: name; None: all.
    """

    batch: int
    size: int
    attacks: int
    attack: str | None = None

    @property
    def name(self) -> str:
        """For bars and errors."""
        first = self.batch * self.size
        return f"{self.attack or 'the suite'}, images {first} to {first + self.size - 1}"

    @property
    def steps(self) -> int:
        """Files it keeps."""
        return self.attacks if self.attack is None else 1

    @property
    def keeps(self) -> Mapping[str, Sequence[str]]:
        """See `Unit`."""
        return {FOLDER: (IDENTITY, file_of(self.attack or "*", self.batch, self.size))}

    @property
    def needs(self) -> Mapping[str, Sequence[str]]:
        """Nothing."""
        return {}

    def __call__(self, given: "SuiteGiven", places: Places, heard: Heard) -> None:
        """See `Unit`."""
        names = None if self.attack is None else frozenset({self.attack})
        given.run(places[FOLDER], Portion(frozenset({self.batch}), names, heard), progress=False)


@dataclass(frozen=True, eq=False)
class SuiteGiven:
    """What `run_suite` is called with.

    Attributes:
        attacks, model, images, labels: its arguments.
        options: the others, but for those that say where, by whom and whether to show bars.
    """

    attacks: Mapping[str, Attack]
    model: Attackable
    images: Tensor
    labels: Tensor
    options: Mapping[str, Any]

    def run(self, folder: Path | None, portion: Portion, *, overwrite: bool = False, progress: bool) -> SuiteResult:
        """Call it."""
        return run_suite(self.attacks, self.model, self.images, self.labels, **self.options, folder=folder,
                         overwrite=overwrite, portion=portion, progress=progress)  # fmt: skip

    @property
    def units(self) -> list[SuiteUnit]:
        """All of it, the attacks that take longest first, as suites have them last."""
        size = self.options.get("batch_size", BATCH)
        batches, count = batch_numbers(len(self.images), size), len(self.attacks)
        if self.options.get("remaining_only", False):
            return [SuiteUnit(batch, size, count) for batch in batches]
        return [SuiteUnit(batch, size, count, name) for name in reversed(list(self.attacks)) for batch in batches]

    def do(self, runner: Runner, folder: Path, shard: Shard | None, *, overwrite: bool, progress: bool) -> None:
        """Let the units be run, or those of a shard; what they make is kept in the folder."""
        self.run(folder, Portion(frozenset()), overwrite=overwrite, progress=False)  # whose the folder is
        units = self.units if shard is None else shard.mine(self.units)
        run_all(runner, [units], self, {FOLDER: folder}, name="attacks", progress=progress)


def run_suite_by(
    runner: Runner, given: SuiteGiven, *, folder: Path | None, portion: Portion, overwrite: bool, progress: bool
) -> SuiteResult:
    """`run_suite` by a runner of units, with the same answer bit for bit."""
    if isinstance(runner, Here) or portion.batches is not None:
        return given.run(folder, portion, overwrite=overwrite, progress=progress)
    with computing_with(runner.threads), some_folder(folder) as kept:
        given.do(runner, kept, None, overwrite=overwrite, progress=progress)
        return given.run(kept, portion, progress=False)
