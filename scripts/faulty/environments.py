"""What the environment says against a command: no home, a locale that knows no letters, other seeds of hashes."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from faulty.forked import ended, forked
from faulty.surroundings import Alone, Tried, stopped_at
from faulty.works import Work, evaluating, training

NOBODY = 54_321
"""A user who has no name and no home."""


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
    ours = [line for line in said.splitlines() if line.startswith("twinlatent: ")]
    fine = done.returncode == status and "Traceback" not in said and (not status or len(ours) == 1)
    return "" if fine else f"status {done.returncode}: {said[-300:]}"


def no_home(detector: Path, folder: Path) -> Tried:
    """Commands of somebody without a home; where it can be had, of one who may write nothing but one folder."""
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
    else:
        found.how += "; not by a user who has no entry, since none may run this Python here"
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


def hash_seeds(detector: Path, folder: Path) -> Tried:
    """Begun under one seed of Python's hashes and killed, resumed under another: as if nothing had been."""
    found, said = Tried("killed under PYTHONHASHSEED=1, resumed under 2; then all of it under a random one"), \
        folder / "hashes.txt"  # fmt: skip
    for work in (training(folder), evaluating(detector, folder)):
        alone = Alone.of(work, folder / f"{work.name}-alone", said)
        place, more = folder / f"{work.name}-hashed", folder / f"{work.name}-random"
        first = forked(lambda place=place, work=work: _afresh("1", work, detector, place), said)  # type: ignore[misc]
        stopped_at(work, first, place, 3)
        for seed, where in (("2", place), ("random", more)):
            done = ended(lambda s=seed, p=where, w=work: _afresh(s, w, detector, p), said)  # type: ignore[misc]
            found.met(f"{work.name}, seed {seed}", alone.complaint(work, where, done, int(where == place)))
    return found


def _afresh(seed: str, work: Work, detector: Path, place: Path) -> None:
    """Become a new Python with that seed of hashes, which does a work."""
    make = "training(at)" if work.name == "train" else f"evaluating(Path({str(detector)!r}), at)"
    code = f"""
import sys
from pathlib import Path
sys.path[:0] = {sys.path!r}
from faulty.works import training, evaluating
at = Path({str(place.parent)!r})
{make}.call(Path({str(place)!r}))()
"""
    os.execve(sys.executable, [sys.executable, "-c", code], os.environ | {"PYTHONHASHSEED": seed})
