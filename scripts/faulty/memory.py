"""Memory of a server, and of one evaluation after the other, over some minutes of small work.

A server is looked at from outside, once a second. An evaluation holds much while it works, and the allocator of the C
library keeps some of what was freed, now 4 MB more and now less: so the memory between two evaluations is what counts,
once all that is free was given back.
"""

import ctypes
import gc
import http.client
import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np

from faulty.forked import Process, command, forked
from faulty.works import RECIPE, free_port

FLAT, STEADY = 1.02, 0.01
"""By so much the most may be more in the end, and by such a share memory may grow along the line of least squares."""
FEWEST = 4
"""Evaluations that there are in any case."""
PAUSE = 0.02
"""Seconds between two requests, so that others can work beside."""
REST = 1.0
"""Between two evaluations, as a multiple of what one takes, for the same reason."""
EVERY = 1.0
"""Seconds between two looks at a process."""


@dataclass
class Watched:
    """Memory of a process in MB, and what it holds open, at the beginning and in the end.

    Attributes:
        seconds: it worked.
        units: requests, or evaluations.
        memory: the most in the first third of what was seen, but for its first tenth, and in the last third.
        grown: by how much from the first look to the last, in MB along the line of least squares.
        files: open ones, the median of each.
        threads: likewise.
        flat: whether the most grew by at most a fiftieth, memory along the line by at most a hundredth, and the others
            by at most one.
    """

    seconds: float
    units: int
    memory: tuple[float, float]
    grown: float
    files: tuple[int, int]
    threads: tuple[int, int]
    flat: bool


def serving(detector: Path, seconds: float, folder: Path) -> Watched:
    """A server that is asked one thing after the other, images of several sizes and what it refuses among them."""
    port = free_port()
    server = forked(command("serve", detector, "--port", port, "--threads", 1, "--log", folder / "log.jsonl"),
                    folder / "serve.txt")  # fmt: skip
    bodies = [json.dumps(np.full((n, 1, 8, 8), 0.5).tolist()).encode() for n in (1, 3, 40)] + [b"{", b"", b"[[2]]"]
    try:
        _until(lambda: _asked(port, bodies[0]), server)
        return watched(server, seconds, lambda unit: _paused(_asked(port, bodies[unit % len(bodies)])))
    finally:
        server.kill()


def evaluating(detector: Path, seconds: float, folder: Path) -> Watched:
    """A process that makes one small evaluation after the other."""
    done = folder / "evaluations"
    done.write_text("")
    (folder / "tiny.toml").write_text(RECIPE, encoding="utf-8")
    process = forked(lambda: _evaluations(detector, folder, done), folder / "evaluate.txt")
    try:
        until = time.monotonic() + seconds
        while time.monotonic() < until or done.read_text().count("\n") < FEWEST:
            assert process.wait(0) is None, process.text[-300:]
            time.sleep(0.5)
    finally:
        process.kill()
    *sizes, _ = done.read_text().split("\n")
    return compared([json.loads(size) for size in sizes], len(sizes), seconds)


def _evaluations(detector: Path, folder: Path, done: Path) -> None:
    import twinlatent as tl

    split, model = tl.data.load("digits", progress=False), tl.load(detector)
    with done.open("a", buffering=1) as noted:
        while True:
            began = time.monotonic()
            tl.evaluate(model, split, suite="quick", steps=1, images=4, subset=2, blackbox_images=4, certified_images=2,
                        shift_images=10, substitutes=["cnn5"], recipe=folder / "tiny.toml",
                        folder=folder / "evaluation", overwrite=True, progress=False)  # fmt: skip
            noted.write(f"{json.dumps(_at_rest())}\n")
            time.sleep(REST * (time.monotonic() - began))


def _at_rest() -> tuple[float, int, int]:
    """What this process holds once all that is free was given back."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    return _size("self")


def watched(process: Process, seconds: float, unit: Callable[[int], bool]) -> Watched:
    """Do units for so long, and look at the process now and then."""
    began, seen, units = time.monotonic(), [_size(str(process.number))], 0
    while time.monotonic() - began < seconds:
        assert process.wait(0) is None, process.text[-300:]
        assert unit(units), "no answer"
        units += 1
        if time.monotonic() - began > EVERY * len(seen):
            seen.append(_size(str(process.number)))
    return compared(seen, units, time.monotonic() - began)


def compared(seen: list[tuple[float, int, int]], units: int, seconds: float) -> Watched:
    """What a process held at the beginning, of all that was seen of it, beside what it held in the end."""
    seen = seen[len(seen) // 10 :]  # at first caches are filled
    third = len(seen) // 3 + 1
    memory, files, threads = ((column[:third], column[-third:]) for column in zip(*seen, strict=True))
    most, files, threads = (max(memory[0]), max(memory[1])), _mostly(*files), _mostly(*threads)
    line = np.polynomial.Polynomial.fit(range(len(seen)), [size for size, *_ in seen], 1)
    grown = round(float(line(len(seen) - 1) - line(0)), 2)
    flat = most[1] <= FLAT * most[0] and grown <= STEADY * most[0]
    flat = flat and files[1] <= files[0] + 1 and threads[1] <= threads[0] + 1
    return Watched(round(seconds, 1), units, most, grown, files, threads, flat)


def _mostly(first: Sequence[float], last: Sequence[float]) -> tuple[int, int]:
    """Files come and go within a unit, and a lock between two: one that is never closed counts at all times."""
    return int(median(first)), int(median(last))


def _paused(answered: bool) -> bool:
    time.sleep(PAUSE)
    return answered


def _until(ready: Callable[[], bool], process: Process) -> None:
    until = time.monotonic() + 600
    while not ready():
        assert process.wait(0) is None, process.text[-300:]
        assert time.monotonic() < until, "it does not begin"
        time.sleep(0.05)


def _asked(port: int, body: bytes) -> bool:
    """Whether the server answers."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("POST", "/v1/models/digits/detect", body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        answer.read()
        return answer.status < 500
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _size(process: str) -> tuple[float, int, int]:
    """Megabytes that a process holds, its open files and its threads."""
    place = Path(f"/proc/{process}")
    pages = int((place / "statm").read_text().split()[1])
    megabytes = round(pages * os.sysconf("SC_PAGE_SIZE") / 1e6, 1)
    return megabytes, len(os.listdir(place / "fd")), len(os.listdir(place / "task"))
