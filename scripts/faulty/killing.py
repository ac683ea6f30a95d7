"""Processes killed with SIGKILL at random moments, or when they are about to open, rename or remove a certain file.

Nothing that was kept is lost, no more is done again than what was under way, and what is resumed ends the same. Others
are stopped by SIGTERM and Ctrl-C, and say so.
"""

import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from faulty.forked import Process, ended, forked
from faulty.works import Work
from twinlatent.failures import INTERRUPTED
from twinlatent.files import SCRAP

LIMIT = 900.0
"""Seconds that one run may take."""
CHANGING = ("os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.chmod", "os.truncate")
"""Events of Python's that tell of operations on files, besides `open`."""


@dataclass
class Killed:
    """What became of a command that was killed again and again.

    Attributes:
        kills: how often.
        finished: how many runs came to an end, in spite of these; of a server, how often it was started again.
        identical: how many of them left the same as one that was never killed; of a server, after how many kills its
            log had every verdict that went out.
        wrong: what was lost, or how a run failed.
        pieces: rounds, batches, photographs or files of one run; None where that is not counted.
        again: how many pieces were begun again, in all runs: at most one for each kill.
        while_writing: kills that left half a file behind, which nobody reads and the next run removes.
        operations: on files of one run, where it was killed at these.
        verdicts: of a server, how many went out; each is in the log.
    """

    kills: int = 0
    finished: int = 0
    identical: int = 0
    wrong: list[str] = field(default_factory=list)
    pieces: int | None = None
    again: int | None = None
    while_writing: int = 0
    operations: int | None = None
    verdicts: int | None = None


SUMS = ("kills", "finished", "identical", "again", "while_writing", "verdicts")
"""What of `Killed` adds up over portions of the kills."""


def killed(work: Work, kills: int, draw: random.Random, folder: Path) -> Killed:
    """Run a command, kill it at random moments, resume it, and see to it that it ends as if nothing had been."""
    runs, number = _Runs(work, folder), 0
    while runs.found.kills < kills and not runs.found.wrong:
        runs.killed_at_random(folder / f"{work.name}-{number}", kills, draw)
        number += 1
    return runs.found


def killed_at_operations(work: Work, most: int, draw: random.Random, folder: Path, portion: slice) -> Killed:
    """The same, each run being killed once, just before one of its operations on files: all of them, or `most`.

    Args:
        portion: which of these.
    """
    runs, counted = _Runs(work, folder), folder / "operations"
    if runs.found.wrong:
        return runs.found
    place = folder / f"{work.name}-counted"
    ended(_struck(work.call(place), place, 0, counted), runs.said, LIMIT)
    runs.found.operations = count = counted.stat().st_size
    for number in draw.sample(range(1, count + 1), min(most, count))[portion]:
        place = folder / f"{work.name}-at-{number}"
        runs.killed_once(place, _struck(work.call(place), place, number, counted))
        if runs.found.wrong:
            runs.found.wrong[-1] = f"killed at operation {number} of {count}, {runs.found.wrong[-1]}"[:400]
            break
    return runs.found


def stopped(work: Work, stops: int, draw: random.Random, folder: Path) -> Killed:
    """The same by SIGTERM and Ctrl-C in turn: it ends in one line, with 130, and leaves nothing but what it keeps."""
    runs, number = _Runs(work, folder), 0
    while runs.found.kills < stops and not runs.found.wrong:
        runs.stopped_once(folder / f"{work.name}-{number}", (signal.SIGTERM, signal.SIGINT)[number % 2], draw)
        number += 1
        if number > 10 * stops:
            runs.found.wrong.append(f"of {number} signals {runs.found.kills} came before the end")
    return runs.found


def _struck(call: Callable[[], None], place: Path, number: int, counted: Path) -> Callable[[], None]:
    """A call that is killed at that operation on a file below a place; each is noted. 0: never.

    To open one for writing counts twice: a process is killed before, and afterwards, when nothing is written yet.
    """

    def struck() -> None:
        left, below = number, str(place)
        file = os.open(counted, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)

        def die(*_: object) -> None:
            os.kill(os.getpid(), signal.SIGKILL)

        def heard(event: str, given: tuple[object, ...]) -> None:
            nonlocal left
            opened = event == "open" and isinstance(given[2], int) and given[2] & (os.O_WRONLY | os.O_RDWR)
            if (opened or event in CHANGING) and isinstance(given[0], str | Path) and str(given[0]).startswith(below):
                for after in (False, True) if opened else (False,):
                    os.write(file, b".")
                    left -= 1
                    if not left:
                        sys.setprofile(lambda _, what, __: die() if what == "c_return" else None) if after else die()

        sys.addaudithook(heard)
        call()

    return struck


class _Runs:
    """Runs of a work, which are compared with one that was never killed."""

    def __init__(self, work: Work, folder: Path) -> None:
        self._work, self.said, self.found = work, folder / f"{work.name}.txt", Killed()
        place = folder / f"{work.name}-whole"
        began, before, process = time.monotonic(), self._begun(place), forked(work.call(place), self.said)
        self._until_it_begins(process, place)
        working = time.monotonic()
        process.wait(LIMIT)
        process.kill()
        self._seconds, self._working = time.monotonic() - began, time.monotonic() - working
        self._left = work.result(place)
        if process.status or self._left is None:
            self.found.wrong.append(f"it ends with status {process.status}: {process.text[-300:]}")
        elif work.begun is not None:
            self.found.pieces, self.found.again = self._begun(place) - before, 0
            if not self.found.pieces:
                self.found.wrong.append("it begins nothing that is counted")

    def killed_at_random(self, place: Path, kills: int, draw: random.Random) -> None:
        """One run from nothing to its end, killed as long as there are kills left."""
        before, had, kept = self._begun(place), self.found.kills, dict[str, object]()
        while True:
            process, last = forked(self._work.call(place), self.said), self.found.kills >= kills
            patience = self._seconds
            if self.found.kills % 2:  # to start takes most of the time of some, and would get most of the kills
                self._until_it_begins(process, place)
                patience = self._working
            if process.wait(LIMIT if last else draw.uniform(0, patience)) is not None or last:
                break
            process.kill()
            kept = self._looked_at(place, kept)
            if self.found.wrong:
                return
        self._finish(place, process, self.found.kills - had, before)

    def killed_once(self, place: Path, struck: Callable[[], None]) -> None:
        """One run that is ended by a signal of its own, and goes on to its end."""
        before, process = self._begun(place), ended(struck, self.said, LIMIT)
        if process.status != -signal.SIGKILL:
            self.found.wrong.append(f"it ends with status {process.status}: {process.text[-300:]}")
            return
        process.kill()
        self._looked_at(place, {})
        if not self.found.wrong:
            process = forked(self._work.call(place), self.said)
            process.wait(LIMIT)
            self._finish(place, process, 1, before)

    def stopped_once(self, place: Path, number: int, draw: random.Random) -> None:
        """One run that is asked to end once it has begun something, and goes on to its end."""
        before, process = self._begun(place), forked(self._work.call(place), self.said)
        self._until_it_begins(process, place)
        if process.wait(draw.uniform(0, self._working)) is None:
            os.kill(process.number, number)
            process.wait(60)
        process.kill()
        if process.status:
            said = process.text
            ours = [line for line in said.splitlines() if line.startswith("twinlatent: ")]
            if process.status != INTERRUPTED or len(ours) != 1 or "Traceback" in said:
                self.found.wrong.append(f"stopped, it ends with status {process.status}: {said[-300:]}")
            scraps = [path.name for path in place.rglob(".*")]
            self.found.wrong += [f"stopped, it leaves {scraps[0]} behind"] if scraps else []
            self._looked_at(place, {})
            process = forked(self._work.call(place), self.said)
            process.wait(LIMIT)
        if not self.found.wrong:
            self._finish(place, process, 1, before)

    def _until_it_begins(self, process: Process, place: Path) -> None:
        """Wait until a process has begun something, or ended; no longer where that is not known."""
        before, until = self._begun(place), time.monotonic() + LIMIT
        while self._work.begun and self._begun(place) == before and process.wait(0) is None:
            if time.monotonic() > until:
                break
            time.sleep(0.002)

    def _begun(self, place: Path) -> int:
        return 0 if self._work.begun is None else self._work.begun(place)

    def _looked_at(self, place: Path, before: dict[str, object]) -> dict[str, object]:
        """What a run keeps that was just killed; what was kept before must be the same, unless all is done."""
        self.found.kills += 1
        self.found.while_writing += any(SCRAP.fullmatch(path.name) for path in place.rglob(".*"))
        try:
            after = dict(self._work.kept(place))
        except Exception as error:
            self.found.wrong.append(f"what is kept cannot be read: {type(error).__name__}: {error}"[:300])
            return {}
        lost = [name for name in before if name not in after or after[name] != before[name]]
        if lost and self._work.result(place) is None:
            self.found.wrong.append(f"lost {len(lost)} of {len(before)}, {lost[0]} among them")
        return after

    def _finish(self, place: Path, process: Process, kills: int, before: int) -> None:
        """Look at what a run leaves; one that finds everything done by the killed one before may say so."""
        process.kill()  # it has ended, and so must its children
        result, wrong = self._work.result(place), self.found.wrong
        if process.status and not (process.status == 1 and result is not None and "already" in process.text):
            wrong.append(f"resumed, it ends with status {process.status}: {process.text[-300:]}")
            return
        self.found.finished += 1
        self.found.identical += result == self._left
        if result != self._left:
            wrong.append("resumed, it ends otherwise than one that was never killed")
        scraps = [path.name for path in place.rglob(".*")]
        if scraps and not process.status:
            wrong.append(f"resumed, it leaves {scraps[0]} behind")
        if self.found.pieces is not None and self.found.again is not None:
            again = self._begun(place) - before - self.found.pieces
            self.found.again += again
            if not 0 <= again <= kills:
                wrong.append(f"killed {kills} times, it begins {again} of {self.found.pieces} pieces again")
        shutil.rmtree(place, ignore_errors=True)
