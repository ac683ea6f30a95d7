"""What a Ray task does: one unit in folders of its own; each file goes back to the driver as soon as it is kept."""

import pickle
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from twinlatent import provenance
from twinlatent.code_digest import code_identity
from twinlatent.errors import TwinlatentError
from twinlatent.loading import run_sources
from twinlatent.memory import keep_freed_memory
from twinlatent.running.carried import Changes, File, Packed
from twinlatent.running.units import Places, Unit
from twinlatent.running.worker import DONE, FAILED, KEPT, sendable

Said = tuple[Any, ...]
"""KEPT, place and name of a file that a unit told of, or None, and files that changed; DONE; or FAILED, an exception
and its traceback."""


@dataclass(frozen=True)
class Common:
    """What all units of a run have in common; it lies in Ray's store once.

    Attributes:
        given: see `Runner.run`.
        sources: of the user's files, in which what is given may be defined.
        threads: torch may use.
        origin: of the run.
        code: see `code_identity`.
    """

    given: Packed
    sources: Sequence[tuple[str, bytes]]
    threads: int
    origin: provenance.Provenance
    code: Mapping[str, str]


def do_unit(common: Sequence[Any], unit: bytes, files: Sequence[Any]) -> Iterator[Said]:
    """Do a unit, and say what it keeps while it does.

    Args:
        common: reference to a `Common` in Ray's store, in a list, so that Ray does not fetch it anew each time.
        unit: pickled.
        files: references to each `File` that the unit needs, or has kept before.
    """
    said: SimpleQueue[Said] = SimpleQueue()
    threading.Thread(target=_work, args=(common[0], unit, files, said), name="unit", daemon=True).start()
    while True:
        heard = said.get()
        yield heard
        if heard[0] in (DONE, FAILED):
            return


def _work(common: Any, pickled: bytes, files: Sequence[Any], said: "SimpleQueue[Said]") -> None:
    import ray
    import torch

    try:
        given, threads, origin = _begun(common)
        torch.set_num_threads(threads)  # counts for the thread that says it
        with tempfile.TemporaryDirectory(prefix="twinlatent-") as home, provenance.working_for(origin):
            do_apart(pickle.loads(pickled), given, ray.get(list(files)), Path(home), said.put)
    except Exception as error:
        said.put((FAILED, *sendable(error)))
    else:
        said.put((DONE,))


@lru_cache(maxsize=1)
def _begun(common: Any) -> tuple[Any, int, provenance.Provenance]:
    """What is given, unpacked once in this process, with the threads, and the run's origin on this machine."""
    import ray

    found: Common = ray.get(common)
    _check_code(found.code)
    keep_freed_memory()
    run_sources(found.sources)
    here = {"machine": provenance.provenance().machine}
    return found.given.unpacked(), found.threads, found.origin.model_copy(update=here)


def _check_code(wanted: Mapping[str, str]) -> None:
    """Refuse, before any work, what would refuse its results in the end."""
    here = code_identity()
    for name in wanted:
        if here.get(name) != wanted[name]:
            what = "another version of twinlatent" if name == "code" else f"{name} {here.get(name)}, not {wanted[name]}"
            raise TwinlatentError(f"a machine of the cluster has {what}; install the same on all of them")


def do_apart(unit: Unit, given: Any, files: Sequence[File], home: Path, say: Callable[[Said], None]) -> None:
    """Do a unit in folders of its own.

    Args:
        unit: to do.
        given: see `Runner.run`.
        files: that it needs, or has kept before.
        home: an empty folder.
        say: gets what is kept, with what else has changed since it was called before.
    """
    places = {name: home / name for name in {*unit.needs, *unit.keeps, *(file.place for file in files)}}
    for place in places.values():
        place.mkdir(parents=True, exist_ok=True)
    for file in files:
        file.write(places)
    changes = Changes(unit.keeps, places)

    def heard(path: Path) -> None:
        place = next(name for name, folder in places.items() if path.is_relative_to(folder))
        say((KEPT, (place, path.relative_to(places[place]).as_posix()), changes.take(path)))

    unit(given, _Places(home, places), heard)
    rest = changes.take()
    if rest:
        say((KEPT, None, rest))


class _Places(dict[str, Path]):
    """A place that a unit names neither for what it keeps nor for what it needs is a folder that is not there."""

    def __init__(self, home: Path, places: Places) -> None:
        super().__init__(places)
        self._home = home

    def __missing__(self, name: str) -> Path:
        return self._home / name
