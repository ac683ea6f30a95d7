"""Commands in processes of their own, forked off so that none imports torch anew; they can be killed at any moment.

This process must never have computed a gradient: PyTorch cannot be forked afterwards.
"""

import ctypes
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from twinlatent.files import SCRAP

DIES_WITH_PARENT = 1
"""PR_SET_PDEATHSIG of Linux."""
FAILED = 99
"""Status of a process that raised."""


@dataclass
class Process:
    """A process that was forked off, and leads a session of its own.

    Attributes:
        number: of the process.
        said: file that holds what it wrote.
        status: how it ended, None while it runs; a negative one is a signal.
    """

    number: int
    said: Path
    status: int | None = None

    @property
    def text(self) -> str:
        """What it wrote, its output and errors in one."""
        return self.said.read_text(encoding="utf-8", errors="replace")

    def wait(self, seconds: float = 600.0) -> int | None:
        """Its status; None if it still runs when the time is over."""
        until = time.monotonic() + seconds
        while self.status is None:
            done, status = os.waitpid(self.number, os.WNOHANG)
            if done:
                self.status = os.waitstatus_to_exitcode(status)
            elif time.monotonic() >= until:
                break
            else:
                time.sleep(0.002)
        return self.status

    def kill(self) -> None:
        """End it at once, by SIGKILL, and wait until its own children have noticed."""
        if self.status is None:
            os.kill(self.number, signal.SIGKILL)
            self.wait()
        until = time.monotonic() + 30
        while others := in_session(self.number):
            if time.monotonic() > until:
                for other in others:
                    with suppress(ProcessLookupError):
                        os.kill(other, signal.SIGKILL)
                raise AssertionError(f"{len(others)} processes outlive the one that was killed")
            time.sleep(0.01)


def in_session(leader: int) -> list[int]:
    """Processes that still run in the session of one that may be gone."""
    found = []
    for place in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, _, _, session = place.read_text().rpartition(")")[2].split()[:4]
            if int(session) == leader and state != "Z":
                found.append(int(place.parent.name))
    return found


def forked(call: Callable[[], None], said: Path) -> Process:
    """Start a call in a process of its own that writes into the file `said`."""
    sys.stdout.flush()
    sys.stderr.flush()
    number = os.fork()
    if number:
        return Process(number, said)
    status = FAILED
    try:
        os.setsid()
        ctypes.CDLL(None).prctl(DIES_WITH_PARENT, signal.SIGKILL)
        file = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        os.dup2(file, 1)
        os.dup2(file, 2)
        sys.stdout, sys.stderr = (open(number, "w", buffering=1, closefd=False) for number in (1, 2))  # noqa: SIM115
        call()
        status = 0
    except SystemExit as stop:
        status = stop.code if isinstance(stop.code, int) else int(bool(stop.code))
    except BaseException:
        traceback.print_exc()
    finally:
        with suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)


def command(*words: object, variables: Mapping[str, str] | None = None) -> Callable[[], None]:
    """A call of the command line, with some environment variables."""

    def call() -> None:
        from twinlatent import cli

        os.environ.update(variables or {})
        sys.argv = ["twinlatent", *map(str, words)]
        cli.main()

    return call


def ended(call: Callable[[], None], said: Path, seconds: float = 600.0) -> Process:
    """A call that ended by itself.

    Raises:
        AssertionError: it did not within that time.
    """
    process = forked(call, said)
    if process.wait(seconds) is None:
        process.kill()
        raise AssertionError(f"did not end within {seconds:.0f} s")
    return process


def one_line(process: Process) -> str:
    """What is wrong with how a process ended that should refuse: one line, status 1, no traceback."""
    lines = [line for line in process.text.splitlines() if line]
    ours = [line for line in lines if line.startswith("twinlatent: ")]
    if process.status == 1 and len(ours) == 1 and lines[-1] == ours[0] and "run again with --debug" not in ours[0]:
        if SCRAP.search(ours[0]):
            return f"names a temporary file: {ours[0]}"
        return "" if "Traceback" not in process.text else "shows a traceback"
    return f"ends with status {process.status} and says {process.text[-300:]!r}"
