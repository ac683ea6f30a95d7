"""Places and surroundings that are against a command: it ends in one line, loses nothing, and goes on afterwards."""

import functools
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from faulty.forked import command, ended, forked, one_line
from faulty.killing import Work, free_port

KIBIBYTE = 1024
NOBODY = 54_321
"""A user who has no name and no home."""


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


def _left(work: Work, place: Path, said: Path) -> object:
    """What a work leaves where nothing is against it.

    Raises:
        AssertionError: it does not come to its end.
    """
    process = ended(work.call(place), said)
    result = work.result(place)
    assert result is not None, f"{work.name} alone ends with status {process.status}: {process.text[-300:]}"
    return result


def _quiet(*words: str) -> bool:
    return subprocess.run(words, capture_output=True, check=False).returncode == 0


def full_disk(works: Mapping[Work, tuple[int, ...]], folder: Path) -> Tried:
    """Each work on disks of several sizes, where it must end in one line; then there is room, and it is resumed."""
    found, said = Tried("a tmpfs of 8 to 600 KiB, made large afterwards"), folder / "full.txt"
    for work, sizes in works.items():
        wanted = _left(work, folder / f"{work.name}-on-a-disk", said)
        for size in sizes:
            disk = folder / f"disk-{work.name}-{size}"
            with small_disk(disk, size * KIBIBYTE) as mounted:
                if not mounted:
                    return _limited(works, folder)
                first = ended(work.call(disk / "run"), said)
                found.met(
                    f"{work.name} on {size} KiB", one_line(first) if first.status else "", refused=bool(first.status)
                )
                before = work.kept(disk / "run")
                _quiet("mount", "-o", f"remount,size={64 * KIBIBYTE * KIBIBYTE}", str(disk))
                second = ended(work.call(disk / "run"), said)
                lost = "" if work.result(disk / "run") == wanted else f"is other afterwards: {second.text[-200:]}"
                found.met(f"{work.name} after {size} KiB, {len(before)} kept", lost)
    return found


def _limited(works: Mapping[Work, tuple[int, ...]], folder: Path) -> Tried:
    """The same where nothing may be mounted: no file may be larger than that."""
    import resource

    found, said = Tried("RLIMIT_FSIZE of 8 to 600 KiB, since nothing may be mounted here"), folder / "full.txt"

    def limited(call: Callable[[], None], size: int) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size * KIBIBYTE, size * KIBIBYTE))
        call()

    for work, sizes in works.items():
        wanted = _left(work, folder / f"{work.name}-unlimited", said)
        for size in sizes:
            place = folder / f"limited-{work.name}-{size}"
            first = ended(functools.partial(limited, work.call(place), size), said)
            found.met(
                f"{work.name} up to {size} KiB", one_line(first) if first.status else "", refused=bool(first.status)
            )
            ended(work.call(place), said)
            found.met(f"{work.name} after {size} KiB", "" if work.result(place) == wanted else "is other afterwards")
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
        whole, place = folder / f"{work.name}-alone", folder / f"{work.name}-two"
        ended(work.call(whole), folder / "one.txt")
        first = forked(work.call(place), folder / "one.txt")
        until = time.monotonic() + 300
        while not _locked(place) and first.wait(0) is None and time.monotonic() < until:
            time.sleep(0.001)
        os.kill(first.number, 19)  # SIGSTOP: it keeps its folder
        second = ended(work.call(place), folder / "two.txt")
        os.kill(first.number, 18)  # SIGCONT
        if first.wait() is None:
            first.kill()
        if first.status == 0 and second.status == 0:
            found.met(work.name, "the first was done before the second began: nothing was tried")
            continue
        # the first may have been stopped before it had the lock whose file is there: then it is the one to be refused
        late, ran = (second, first) if second.status else (first, second)
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
        whole, place = folder / f"{work.name}-in-time", folder / f"{work.name}-back"
        began = time.monotonic()
        ended(work.call(whole), said)
        process = forked(work.call(place), said)
        process.wait((time.monotonic() - began) / 2)
        process.kill()
        future = time.time() + 86_400
        for path in place.rglob("*"):
            os.utime(path, (future, future))
        second = ended(functools.partial(back, work.call(place)), said)
        same = work.result(place) == work.result(whole)
        found.met(work.name, "" if same else f"is other afterwards: {second.text[-200:]}")
    return found


# --- what the environment says ---------------------------------------------------------------------------------------


def _program(words: list[object], variables: dict[str, str], **options: object) -> subprocess.CompletedProcess[bytes]:
    """A command in a fresh process, with no other environment than that."""
    own = {"PATH": os.environ.get("PATH", ""), "OMP_NUM_THREADS": "1", "PYTHONPATH": os.environ.get("PYTHONPATH", "")}
    return subprocess.run(
        [sys.executable, "-m", "twinlatent", *map(str, words)],
        env=own | variables,
        check=False,
        capture_output=True,
        timeout=600,
        **options,
    )  # type: ignore[call-overload, no-any-return]


def _complaint(done: "subprocess.CompletedProcess[bytes]", status: int = 0) -> str:
    said = (done.stdout + done.stderr).decode("utf-8", "replace")
    return "" if done.returncode == status and "Traceback" not in said else f"status {done.returncode}: {said[-300:]}"


def no_home(detector: Path, folder: Path) -> Tried:
    """Commands of somebody without a home, who may write nothing but one folder."""
    found, place = Tried("HOME unset; HOME=/dev/null, where nothing can be made"), folder / "nobody"
    place.mkdir()
    np.save(place / "a.npy", np.full((2, 8, 8), 0.5, np.float32))
    shutil.copyfile(detector, place / "digits.safetensors")
    options: dict[str, object] = {"cwd": place}
    nobody: dict[str, object] = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
    if os.getuid() == 0 and _works_for(nobody):
        found.how += "; by a user who has no entry and owns nothing"
        os.chown(place, NOBODY, NOBODY)
        options |= nobody
    for variables in ({}, {"HOME": "/dev/null"}):
        for words, status in (
            (["detect", "digits.safetensors", "a.npy"], 0),
            (["data", "show", "digits", "--no-progress"], 0),
            (["data", "prepare", "a", "--photos", "."], 1),
        ):
            done = _program(words, variables, **options)
            found.met(" ".join(words), _complaint(done, status), refused=bool(status))
    return found


def _works_for(user: dict[str, object]) -> bool:
    """Whether another user may run this Python and read the package."""
    try:
        return _program(["--help"], {}, **user).returncode == 0
    except OSError:
        return False


def locale_c(detector: Path, folder: Path) -> Tried:
    """Names and classes that ASCII does not know, where the locale knows nothing else."""
    found, place = Tried("LC_ALL=C; then PYTHONUTF8=0 and PYTHONCOERCECLOCALE=0, too"), folder / "größe"
    draw = np.random.default_rng(1)
    for name in ("häuser", "straßen"):
        (place / "fotos" / name).mkdir(parents=True)
        for number in range(5):
            small = Image.fromarray(draw.integers(0, 256, (5, 5), dtype=np.uint8))
            small.resize((40, 40), Image.Resampling.BICUBIC).save(place / "fotos" / name / f"{number}ä.png")
    shutil.copyfile(detector, place / "ziffern.safetensors")
    words: tuple[list[object], ...] = (
        ["detect", place / "ziffern.safetensors", place / "fotos" / "häuser" / "0ä.png"],
        ["data", "prepare", "fotos", "--photos", place / "fotos", "--size", 8, "--out", place, "--no-progress"],
        ["data", "show", f"folder:{place / 'fotos'}", "--size", 8, "--out", place / "blatt-ä.png", "--no-progress"],
    )
    forced = {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    for more, statuses in (({}, (0, 0, 0)), (forced, (0, 1, 1))):  # names of classes that are no text are refused then
        for each, status in zip(words, statuses, strict=True):
            done = _program(each, {"LC_ALL": "C", "HOME": str(folder), **more})
            found.met(" ".join(map(str, each[:2])), _complaint(done, status), refused=bool(status))
    return found


def hash_seeds(work: Work, words: Callable[[Path], list[object]], folder: Path) -> Tried:
    """The same training under several seeds of Python's hashes leaves the same."""
    found, results = Tried("PYTHONHASHSEED 1, 2 and random"), []
    for seed in ("1", "2", "random"):
        place = folder / f"hashed-{seed}"
        done = _program(words(place), {"PYTHONHASHSEED": seed, "HOME": str(folder)})
        results.append(work.result(place))
        found.met(f"seed {seed}", _complaint(done) or ("" if results[-1] == results[0] else "is other"))
    return found
