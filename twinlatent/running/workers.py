"""Running units in worker processes of this machine; one that dies is replaced, and its unit done again."""

import multiprocessing
import pickle
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from twinlatent.errors import TwinlatentError, brief
from twinlatent.loading import files_run
from twinlatent.provenance import provenance
from twinlatent.running.cores import physical_cores
from twinlatent.running.units import Here, Places, Runner, Told, Unit, nothing_told
from twinlatent.running.worker import DONE, FAILED, KEPT, READY, Start, serve

AGAIN = 2
"""So often a unit is done again whose worker died."""
PATIENCE = 5.0
"""Seconds a worker has to end by itself."""
GUARD = "if __name__ == '__main__':"


def on_stderr(line: str) -> None:
    """Say a line where it is no part of the answer."""
    print(line, file=sys.stderr, flush=True)


@dataclass(frozen=True)
class Workers(Runner):
    """Runs units in so many processes, each with its own copy of what is given.

    Processes are started afresh (`spawn`), so that nothing of this one's state, CUDA's neither, is in them.

    Attributes:
        number: of processes, at least 1.
        threads: that torch may use in each. Results can differ in bits between numbers of threads, so work that shall
            be the same without workers is done with as many.
        say: gets a line when a worker died.
        asked: whether somebody asked for them; else this process does all of it where what is given cannot be sent.
    """

    number: int
    threads: int = 1
    say: Callable[[str], None] = field(default=on_stderr, compare=False)
    asked: bool = True

    def run(self, stages: Sequence[Sequence[Unit]], given: Any, places: Places, told: Told = nothing_told) -> None:
        """See `Runner`.

        Raises:
            TwinlatentError: besides, what is given cannot be sent to another process.
        """
        if not any(stages):
            return
        with tempfile.TemporaryDirectory(prefix="twinlatent-") as folder:
            try:
                start = _start(given, Path(folder), self.threads, places)
            except TwinlatentError as error:
                if self.asked:
                    raise
                self.say(f"{error}. One process does all of it")
                Here().run(stages, given, places, told)
                return
            with _Crew(self, start).working() as crew:
                for stage in stages:
                    crew.do(stage, told)


def runner_of(workers: int | Runner | None, threads: int = 1) -> Runner:
    """Who runs units: this process alone for 1 or None, else so many workers; a runner is itself.

    Raises:
        TwinlatentError: less than one worker.
    """
    if isinstance(workers, Runner):
        return workers
    if workers is not None and (isinstance(workers, bool) or not isinstance(workers, int) or workers < 1):
        raise TwinlatentError(f"workers is {workers!r}; give a whole number of at least 1, such as "
                              f"{physical_cores()}, the cores of this machine")  # fmt: skip
    return Here() if workers in (None, 1) else Workers(workers, threads)


def _start(given: Any, folder: Path, threads: int, places: Places) -> Start:
    """What every worker is told first; what is given goes through a file, which all of them map into memory once."""
    import torch

    path = folder / "given.pt"
    try:
        torch.save(given, path)
    except (pickle.PicklingError, AttributeError, TypeError, RuntimeError) as error:
        raise TwinlatentError(f"a part of this cannot be sent to worker processes ({brief(error)}); define it at the "
                              "top of a file, or do without (--workers 1, workers=1)") from error  # fmt: skip
    return Start(path, files_run(), threads, provenance(), dict(places))


@dataclass
class _Worker:
    """A process, its end of the pipe, what it is doing, and whether it said that it can."""

    number: int
    process: BaseProcess
    connection: Connection
    unit: Unit | None = None
    ready: bool = False


class _Crew:
    """The workers of one run."""

    def __init__(self, asked: Workers, start: Start) -> None:
        self._asked, self._start = asked, start
        self._context = multiprocessing.get_context("spawn")
        self._workers: dict[int, _Worker] = {}
        self._deaths: Counter[int] = Counter()

    @contextmanager
    def working(self) -> Iterator["_Crew"]:
        """Within the block there are workers; afterwards none is left, whatever happened."""
        try:
            yield self
            for worker in self._workers.values():
                with suppress(OSError):
                    worker.connection.send(None)
            for worker in self._workers.values():
                worker.process.join(PATIENCE)
        finally:
            for worker in self._workers.values():
                self._end(worker)

    def do(self, units: Sequence[Unit], told: Told) -> None:
        """Do all units of a stage."""
        waiting, left = list(units), len(units)
        while left:
            self._hand_out(waiting)
            watched: dict[Any, _Worker] = {}
            for worker in self._workers.values():
                watched |= {worker.connection: worker, worker.process.sentinel: worker}
            for worker in {id(watched[one]): watched[one] for one in wait(list(watched))}.values():
                left -= self._hear(worker, told, waiting)

    def _hand_out(self, waiting: list[Unit]) -> None:
        """Give every worker without a unit one of those that wait, the first of them first."""
        for number in range(1, self._asked.number + 1):
            worker = self._workers.get(number)
            if not waiting or (worker is not None and worker.unit is not None):
                continue
            if worker is None:
                worker = self._workers[number] = self._started(number)
            worker.unit = waiting.pop(0)
            with suppress(OSError):  # it is gone, which is heard next
                worker.connection.send(worker.unit)

    def _started(self, number: int) -> _Worker:
        ours, its = self._context.Pipe()
        process = self._context.Process(target=serve, args=(its, self._start), name=f"twinlatent worker {number}",
                                        daemon=True)  # fmt: skip
        try:
            with _no_interrupt():
                process.start()
        except OSError as error:
            raise TwinlatentError(f"worker {number} cannot be started ({brief(error)}); give fewer workers") from error
        finally:
            its.close()
        return _Worker(number, process, ours)

    def _hear(self, worker: _Worker, told: Told, waiting: list[Unit]) -> int:
        """Take in all that a worker says, and how many units it has done: 0 or 1."""
        done, gone, heard = 0, False, []
        try:
            while worker.connection.poll():
                heard.append(worker.connection.recv())
        except (EOFError, OSError):  # of the pipe; a unit's own error is among what was heard
            gone = True
        for kind, *said in heard:
            if kind == FAILED:
                error, text = said
                error.add_note(f"In worker {worker.number}:\n{text}")
                raise error
            unit = worker.unit
            worker.ready |= kind == READY
            if unit is not None and kind in (KEPT, DONE):
                told(unit, said[0] if kind == KEPT else None)
            if kind == DONE:
                worker.unit, done = None, 1
        if gone or (not worker.process.is_alive() and not worker.connection.poll()):
            self._bury(worker, waiting)
        return done

    def _bury(self, worker: _Worker, waiting: list[Unit]) -> None:
        """A worker is gone: its unit waits again, twice."""
        self._end(worker)
        del self._workers[worker.number]
        if worker.unit is None:
            return
        unit, how = worker.unit, _how(worker.process.exitcode)
        self._deaths[id(unit)] += 1
        line = f"worker {worker.number} (process {worker.process.pid}) {how} during {unit.name}"
        if self._deaths[id(unit)] > AGAIN:
            mend = "run again to resume, with fewer workers if memory is short"
            if not worker.ready:
                mend += f"; a script must do its work under {GUARD}"
            raise TwinlatentError(f"{line}, for the third time; what is done is kept; {mend}")
        self._asked.say(f"{line}; it is done again")
        waiting.insert(0, unit)

    def _end(self, worker: _Worker) -> None:
        """End a process at once: what it writes appears whole or not at all."""
        if worker.process.is_alive():
            worker.process.terminate()
            worker.process.join(PATIENCE)
        if worker.process.is_alive():
            worker.process.kill()
        worker.process.join()
        worker.connection.close()


@contextmanager
def _no_interrupt() -> Iterator[None]:
    """Processes started within the block never hear of Ctrl-C; this one does as soon as the block ends."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _how(code: int | None) -> str:
    """How a process ended, in words."""
    if code is not None and code < 0:
        with suppress(ValueError):
            return f"was ended by {signal.Signals(-code).name}"
    return f"ended with status {code}"
