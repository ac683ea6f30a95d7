"""What long work is divided into, and who runs it.

Long work keeps a file for each finished batch and attack in a folder, and resumes from there. A `Unit` makes some of
these files and needs nothing of the other units of its stage. So whoever runs units, in whatever order and however
often, leaves the same files, and the work itself, run afterwards in one process, finds everything done and puts it
together: its numbers do not depend on who did what.

Another way to run units is another `Runner`: it calls each unit somewhere, with what was given, and sees to it that the
files lie in the driver's folders in the end.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

Places = Mapping[str, Path]
"""Folders that keep what is done, by what units call them."""
Heard = Callable[[Path], None]
"""Gets each file as soon as it is kept, whole, below one of the places."""


class Unit(Protocol):
    """A piece of work as a description that can be pickled: a frozen dataclass of names and numbers.

    Attributes:
        name: in a few words, for bars and errors, such as `points, images 50 to 99`; no other unit has it.
        steps: how many files it keeps, at most: for bars.
        keeps: place → patterns, as `Path.glob` takes them, of the files that it keeps. What of these is there already
            it does not do again, so who runs it elsewhere brings them there first.
        needs: place → patterns of files of earlier stages that it reads.
    """

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def steps(self) -> int: ...  # noqa: D102
    @property
    def keeps(self) -> Mapping[str, Sequence[str]]: ...  # noqa: D102
    @property
    def needs(self) -> Mapping[str, Sequence[str]]: ...  # noqa: D102

    def __call__(self, given: Any, places: Places, heard: Heard) -> None:
        """Do it: keep files below the places, and say each to `heard`, those too that were there before.

        Args:
            given: what all units of a run have in common, such as detector and images; not to be changed.
            places: see `Places`.
            heard: see `Heard`.
        """


Told = Callable[[Unit, Path | None], None]
"""Hears in the driver of each file of a unit as it comes, and of None when the unit is done."""


def nothing_told(unit: Unit, path: Path | None) -> None:
    """For whoever does not ask."""


class Runner(ABC):
    """Runs units, in any order and anywhere.

    Attributes:
        threads: torch's, with which units compute: whoever puts their files together uses as many, since answers can
            differ in bits between numbers of threads.
    """

    threads: int

    @abstractmethod
    def run(self, stages: Sequence[Sequence[Unit]], given: Any, places: Places, told: Told = nothing_told) -> None:
        """Run all units; those of a stage begin when all of the stage before are done.

        Returns when all files lie below the places, and leaves no process behind, however it ends. What came before an
        error or Ctrl-C is kept.

        Args:
            stages: of units, those that take longest first.
            given: sent once to whoever runs units, not once a unit.
            places: see `Places`; the folders may not exist yet.
            told: see `Told`; called in the driver's own thread.

        Raises:
            TwinlatentError: a unit failed, as it said itself; or its process died three times.
            KeyboardInterrupt: after Ctrl-C.
        """


@dataclass(frozen=True)
class Here(Runner):
    """Runs units one after the other, in this process, with as many threads as there are."""

    threads: int = 0

    def run(self, stages: Sequence[Sequence[Unit]], given: Any, places: Places, told: Told = nothing_told) -> None:
        """See `Runner`."""
        for unit in (unit for stage in stages for unit in stage):
            unit(given, places, lambda path, unit=unit: told(unit, path))  # type: ignore[misc]
            told(unit, None)
