"""What a worker process does: take units, do them, say what it kept. It ends with the process that started it."""

import os
import pickle
import shutil
import signal
import threading
import traceback
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import parent_process
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from twinlatent import provenance
from twinlatent.loading import run_again
from twinlatent.memory import keep_freed_memory
from twinlatent.running.units import Places, Unit

READY, KEPT, DONE, FAILED = "ready", "kept", "done", "failed"
"""What a worker says: that it can begin; with a path; that a unit is done; with an exception and its traceback."""


@dataclass(frozen=True)
class Start:
    """What a worker is told first.

    Attributes:
        given: file of what units have in common, see `Runner.run`.
        files: of the user's, run before, since what is given may be defined in them.
        threads: torch may use.
        origin: of the run; what is done here is done by it.
        places: see `Runner.run`.
    """

    given: Path
    files: Sequence[Path]
    threads: int
    origin: provenance.Provenance
    places: Places


def serve(connection: Connection, start: Start) -> None:
    """Do the units that come through the connection, until None comes or whoever sends them is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of Ctrl-C every process hears; whoever started this one ends it
    _end_with_parent(start.given.parent)
    with provenance.working_for(start.origin), suppress(EOFError, OSError):
        try:
            given = _begin(start)
        except Exception as error:
            connection.send((FAILED, *sendable(error)))
            return
        connection.send((READY, None))
        while (unit := connection.recv()) is not None:
            connection.send(_done(unit, given, start.places, connection))


def _begin(start: Start) -> Any:
    """Everything as in the driver; torch's answers in bits depend on its threads, too."""
    import torch

    keep_freed_memory()
    torch.set_num_threads(start.threads)
    run_again(start.files)
    return torch.load(start.given, mmap=True, weights_only=False)


def _done(unit: Unit, given: Any, places: Places, connection: Connection) -> tuple[Any, ...]:
    try:
        unit(given, places, lambda path: connection.send((KEPT, path)))
    except Exception as error:
        return (FAILED, *sendable(error))
    return DONE, None


def sendable(error: Exception) -> tuple[Exception, str]:
    """The error, or what it says where it cannot be sent; and its traceback."""
    text = traceback.format_exc()
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}"), text
    return error, text


def _end_with_parent(folder: Path) -> None:
    """End this process as soon as the one that started it is gone, whatever either is doing; its folder goes, too."""
    parent = parent_process()
    if parent is None:
        return

    def watch() -> None:
        wait([parent.sentinel])
        shutil.rmtree(folder, ignore_errors=True)
        os._exit(1)

    threading.Thread(target=watch, name="parent", daemon=True).start()
