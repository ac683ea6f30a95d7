"""Places and surroundings that are against a command: it ends in one line, loses nothing, and goes on afterwards."""

import functools
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from faulty.forked import Process, command, ended, forked, one_line
from faulty.works import Work, free_port

KIBIBYTE = 1024
ATTEMPTS = 20
"""To have two processes in one folder."""
ROOM = 64 * KIBIBYTE * KIBIBYTE
"""Bytes of a disk that is large."""


@dataclass
class Tried:
    """What was tried of a surrounding.

    Attributes:
        how: it was made.
        commands: that ran in it.
        refused: how many of them ended in one line.
        wrong: how the others failed, or what they lost.
    """

    how: str
    commands: int = 0
    refused: int = 0
    wrong: list[str] = field(default_factory=list)

    def met(self, name: str, complaint: str, *, refused: bool = False) -> None:
        """Count a command, and note what is wrong with it if anything is."""
        self.commands += 1
        self.refused += refused
        if complaint:
            self.wrong.append(f"{name}: {complaint}"[:400])


# --- a full disk, a folder that is read only ------------------------------------------------------------------------


@contextmanager
def small_disk(place: Path, size: int) -> Iterator[bool]:
    """A file system of so many bytes at a place, as far as this may be mounted; whether it was."""
    place.mkdir(parents=True)
    options = ["-t", "tmpfs", "-o", f"size={size}", "twinlatent-faults", str(place)]
    mounted = shutil.which("mount") is not None and _quiet("mount", *options)
    try:
        yield mounted
    finally:
        if mounted and not _quiet("umount", str(place)):
            _quiet("umount", "--lazy", str(place))


@dataclass(frozen=True)
class Alone:
    """What a work leaves where nothing is against it, and how many pieces it begins."""

    left: object
    pieces: int

    @classmethod
    def of(cls, work: Work, place: Path, said: Path) -> "Alone":
        """Do it.

        Raises:
            AssertionError: it does not come to its end.
        """
        process = ended(work.call(place), said)
        left = work.result(place)
        assert left is not None, f"{work.name} alone ends with status {process.status}: {process.text[-300:]}"
        return cls(left, _begun(work, place))

    def complaint(self, work: Work, place: Path, process: Process, stops: int = 1) -> str:
        """What is wrong with a work that was stopped so often, and went on to its end."""
        if work.result(place) != self.left:
            return f"is other afterwards: {process.text[-200:]}"
        if process.status and not (process.status == 1 and "already" in process.text):
            return f"ends with status {process.status}: {process.text[-200:]}"
        again = _begun(work, place) - self.pieces
        return "" if again <= stops else f"stopped {stops} times, it begins {again} of {self.pieces} pieces again"


def _begun(work: Work, place: Path) -> int:
    return 0 if work.begun is None else work.begun(place)


def stopped_at(work: Work, process: Process, place: Path, pieces: int) -> None:
    """Kill a process as soon as it has begun so many pieces.

    Raises:
        AssertionError: it ends before that, or does not come so far.
    """
    until = time.monotonic() + 300
    while _begun(work, place) < pieces:
        assert process.wait(0) is None, f"{work.name} ended by itself: {process.text[-300:]}"
        assert time.monotonic() < until, f"{work.name} began less than {pieces} pieces"
        time.sleep(0.002)
    process.kill()


def _quiet(*words: str) -> bool:
    return subprocess.run(words, capture_output=True, check=False).returncode == 0


def full_disk(works: Mapping[Work, tuple[int, ...]], folder: Path) -> Tried:
    """Each work on disks of several sizes, where it must end in one line; then there is room, and it is resumed.

    The last time the disk is large, and full when the work is resumed after a kill.
    """
    found, said = Tried("a tmpfs of 8 to 600 KiB, made large afterwards; one that is full when it is resumed"), \
        folder / "full.txt"  # fmt: skip
    for work, sizes in works.items():
        alone, refused = Alone.of(work, folder / f"{work.name}-on-a-disk", said), found.refused
        for size in sizes:
            disk = folder / f"disk-{work.name}-{size}"
            with small_disk(disk, size * KIBIBYTE) as mounted:
                if not mounted:
                    return _limited(works, folder)
                _on_full_disk(found, work, disk, alone, f"on {size} KiB", said)
        if found.refused == refused:
            found.wrong.append(f"{work.name} has room on all of these disks: nothing was tried")
        disk = folder / f"disk-{work.name}-later"
        with small_disk(disk, ROOM):
            stopped_at(work, forked(work.call(disk / "run"), said), disk / "run", 3)
            used = shutil.disk_usage(disk).used
            assert _quiet("mount", "-o", f"remount,size={used + 4 * KIBIBYTE}", str(disk)), "cannot be made smaller"
            _on_full_disk(found, work, disk, alone, "on a disk that is full by now", said, 2)
    return found


def _on_full_disk(found: Tried, work: Work, disk: Path, alone: Alone, how: str, said: Path, stops: int = 1) -> None:
    """What comes of a work on a small disk, and when that is large."""
    first = ended(work.call(disk / "run"), said)
    found.met(f"{work.name} {how}", one_line(first) if first.status else "", refused=bool(first.status))
    kept = len(work.kept(disk / "run"))
    _quiet("mount", "-o", f"remount,size={ROOM}", str(disk))
    second = ended(work.call(disk / "run"), said)
    found.met(f"{work.name} {how}, {kept} kept", alone.complaint(work, disk / "run", second, stops))


def _limited(works: Mapping[Work, tuple[int, ...]], folder: Path) -> Tried:
    """The same where nothing may be mounted: no file may be larger than that."""
    import resource

    found, said = Tried("RLIMIT_FSIZE of 8 to 600 KiB, since nothing may be mounted here"), folder / "full.txt"

    def limited(call: Callable[[], None], size: int) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size * KIBIBYTE, size * KIBIBYTE))
        call()

    for work, sizes in works.items():
        alone = Alone.of(work, folder / f"{work.name}-unlimited", said)
        for size in sizes:
            place = folder / f"limited-{work.name}-{size}"
            first = ended(functools.partial(limited, work.call(place), size), said)
            found.met(
                f"{work.name} up to {size} KiB", one_line(first) if first.status else "", refused=bool(first.status)
            )
            second = ended(work.call(place), said)
            found.met(f"{work.name} after {size} KiB", alone.complaint(work, place, second))
    return found


def read_only(detector: Path, works: Mapping[Work, tuple[int, ...]], folder: Path) -> Tried:
    """Each work, and commands that write a single file, into a folder that cannot be written."""
    found, said, place = Tried("a tmpfs mounted read-only"), folder / "read-only.txt", folder / "read-only"
    with small_disk(place, KIBIBYTE * KIBIBYTE) as mounted:
        if mounted:
            _quiet("mount", "-o", "remount,ro", str(place))
        else:
            found.how = "a file in place of the folder, since nothing may be mounted here"
            place.rmdir()
            place.write_text("")
        calls = {work.name: work.call(place / "run") for work in works}
        plain: dict[str, tuple[object, ...]] = {
            "calibrate": ("calibrate", detector, "digits", "--out", place / "a.safetensors"),
            "attack": ("attack", detector, "digits", "--suite", "quick", "--steps", 1, "--images", 2, "--no-progress",
                       "--workers", 1, "--save", place / "a.npz"),
            "data show": ("data", "show", "digits", "--no-progress", "--out", place / "a.png"),
            "serve": ("serve", detector, "--port", free_port(), "--log", place / "a.jsonl"),
            "export": ("export", detector, "--onnx", place / "a.onnx"),
            "new detector": ("new", "detector", place / "a.py"),
        }  # fmt: skip
        calls |= {name: command(*words) for name, words in plain.items()}
        for name, call in calls.items():
            process = ended(call, said)
            found.met(name, one_line(process), refused=True)
    return found


# --- two at a time, a clock that is set back --------------------------------------------------------------------------


def two_at_a_time(detector: Path, works: Mapping[Work, tuple[int, ...]], folder: Path) -> Tried:
    """A second run into a folder that another one writes is refused, and the first one ends as if alone."""
    found = Tried("two processes, the second begun while the first runs")
    for work in works:
        whole = folder / f"{work.name}-alone"
        ended(work.call(whole), folder / "one.txt")
        for attempt in range(ATTEMPTS):  # until the first is not done before it can be stopped
            place = folder / f"{work.name}-two-{attempt}"
            first, second = _both(work, place, folder)
            # the first may have been stopped before it had the lock whose file is there: then it is the refused one
            late, ran = (second, first) if second.status else (first, second)
            if late.status and "already" not in late.text:  # not refused since all is done
                break
        else:
            found.met(work.name, "the first was done before the second began: nothing was tried")
            continue
        found.met(work.name, one_line(late) or ("" if "is being written by" in late.text else late.text), refused=True)
        found.met(f"{work.name}, the other", "" if work.result(place) == work.result(whole) else ran.text[-300:])
    port = free_port()
    first = forked(command("serve", detector, "--port", port), folder / "one.txt")
    until = time.monotonic() + 300
    while "serving" not in first.text and first.wait(0) is None and time.monotonic() < until:
        time.sleep(0.01)
    second = ended(command("serve", detector, "--port", port), folder / "two.txt")
    found.met("serve at one port", one_line(second), refused=True)
    first.kill()
    return found


def _both(work: Work, place: Path, folder: Path) -> tuple[Process, Process]:
    """Two processes of a work in one folder: the first is stopped while the second runs, and goes on afterwards."""
    first = forked(work.call(place), folder / "one.txt")
    until = time.monotonic() + 300
    while not _locked(place) and first.wait(0) is None and time.monotonic() < until:
        time.sleep(0.001)
    if first.status is None:
        os.kill(first.number, signal.SIGSTOP)  # it keeps its folder
    second = ended(work.call(place), folder / "two.txt")
    if first.status is None:
        os.kill(first.number, signal.SIGCONT)
    if first.wait() is None:
        first.kill()
    return first, second


def _locked(place: Path) -> bool:
    """Whether somebody writes below a place, which may come and go meanwhile."""
    return any(name.endswith(".lock") for _, _, names in os.walk(place) for name in names)


def clock_set_back(works: Mapping[Work, tuple[int, ...]], folder: Path) -> Tried:
    """Killed in the middle, then resumed with a clock an hour back, all files then being of the future."""
    found, said = Tried("time.time an hour back, files kept before are of the future"), folder / "clock.txt"

    def back(call: Callable[[], None]) -> None:
        real = time.time
        time.time = lambda: real() - 3600  # type: ignore[assignment]
        call()

    for work in works:
        place = folder / f"{work.name}-back"
        alone = Alone.of(work, folder / f"{work.name}-in-time", said)
        stopped_at(work, forked(work.call(place), said), place, 3)
        future = time.time() + 86_400
        for path in place.rglob("*"):
            os.utime(path, (future, future))
        second = ended(functools.partial(back, work.call(place)), said)
        found.met(work.name, alone.complaint(work, place, second))
    return found
