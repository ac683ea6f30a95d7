"""Everything that a GPU is asked to do, tried on one, in one run that fits in a given time.

Steps, in this order: what the device is; every command with --device on small digits; a training that is begun on one
device and resumed on the other, both ways; verdicts against those of the CPU; the same small work on both, timed; a
suite of attacks on 1,000 images; the certified recipe, with as many rounds as the time left is enough for. A step that
fails is named and the next one goes on; a step for which too little time is left is left out, and named. What is found
is written after every step. It ends with 1 if a step failed or was left out.

    python scripts/gpu_check.py [--seconds 480] [--device cuda] [--data mnist] [--detector mnist-mim] [--images 1000]
        [--rounds N] [--out results/gpu.json]

Certificates have no device: they are proofs for the float32 of a CPU, and computed there. Thresholds are those of a
CPU, too: `train` and `calibrate` measure them there. The black box of an evaluation attacks its substitutes there.
"""

import argparse
import json
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import torch

import twinlatent as tl
from twinlatent.baselines import METHODS
from twinlatent.cli.program import app
from twinlatent.evaluation.protocol import WhiteBoxSettings, draw
from twinlatent.evaluation.results.benchmarks import DeviceCheck
from twinlatent.evaluation.results.records import validated
from twinlatent.evaluation.white_box import attack_detector
from twinlatent.files import write_json
from twinlatent.method.checkpoints import load_tensors
from twinlatent.method.game import play
from twinlatent.method.training import STATE_FILE
from twinlatent.provenance import provenance
from twinlatent.recipes import recipe_of
from twinlatent.torch_state import check_device

DIGITS = "digits"
"""Small images that come with the package, for the commands."""
HALF, WHOLE = 6, 12
"""Rounds after which a training is interrupted, and of all of it."""
PILOT = 20
"""Rounds from which the time of all is reckoned."""
ATTACKED = 100
"""Images that are attacked for their verdicts."""
KEEP = 15
"""Seconds that are left at the end for what is not reckoned."""


@dataclass
class Found:
    """What `DeviceCheck` holds, as it grows."""

    failed: dict[str, str] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)
    commands: dict[str, float] = field(default_factory=dict)
    resumed: dict[str, float] = field(default_factory=dict)
    verdicts: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] | None = None
    attack: dict[str, Any] | None = None
    milliseconds: dict[str, dict[str, float]] = field(default_factory=dict)
    times_as_fast: dict[str, float] = field(default_factory=dict)


@dataclass
class Check:
    """A run of this script: what is asked, what is found, and the clock."""

    asked: argparse.Namespace
    found: Found = field(default_factory=Found)
    began: float = field(default_factory=time.monotonic)

    @property
    def left(self) -> float:
        """Seconds."""
        return float(self.asked.seconds) - (time.monotonic() - self.began)

    def step(self, name: str, needs: float, work: Callable[["Check"], None]) -> None:
        """Do a step if so many seconds are left, say so, and write what is found."""
        self.said(name)
        if self.left < needs:
            self.found.left_out.append(name)
            self.said(f"{name}: left out, {needs:.0f} s are needed")
        else:
            self.tried(name, lambda: work(self))
        self.write()

    def tried(self, name: str, work: Callable[[], object]) -> bool:
        """Whether it went well; what went wrong is kept, and said."""
        try:
            work()
        except (Exception, SystemExit) as error:  # the rest is to be tried all the same
            traceback.print_exc()
            first = (str(error).splitlines() or [""])[0][:300]
            self.found.failed[name] = f"{type(error).__name__}: {first}"
            self.said(f"{name}: FAILED, {self.found.failed[name]}")
            return False
        return True

    def said(self, what: str) -> None:
        """A line with the time left."""
        print(f"[{self.left:4.0f} s left] {what}", flush=True)

    def write(self) -> None:
        """All that is found so far."""
        self.asked.out.parent.mkdir(parents=True, exist_ok=True)
        item = {"gpu": name_of(self.asked.device), "device": self.asked.device,
                "seconds": max(0.1, round(time.monotonic() - self.began, 1)), **vars(self.found),
                "provenance": provenance().model_dump()}  # fmt: skip
        validated(self.asked.out, DeviceCheck, item)
        write_json(self.asked.out, item)


def name_of(device: str) -> str:
    return torch.cuda.get_device_name(device) if torch.device(device).type == "cuda" else device


def ready(device: str) -> None:
    """Wait for what the device still computes."""
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)


def milliseconds(device: str, work: Callable[[], object], times: int = 3) -> float:
    """The median of some runs, after one that is not counted."""
    found = []
    for _ in range(times + 1):
        ready(device)
        began = time.perf_counter()
        work()
        ready(device)
        found.append(1000 * (time.perf_counter() - began))
    return median(found[1:])


# --- the steps ----------------------------------------------------------------------------------------------------


def device(check: Check) -> None:
    """What it is, and that it computes."""
    asked = check.asked
    place = tl.load(asked.detector).to(asked.device).device
    print(f"  {name_of(asked.device)}, {place}, torch {torch.__version__}")
    if place.type == "cuda":
        free, total = torch.cuda.mem_get_info(place)
        print(f"  memory {total / 2**30:.0f} GiB, free {free / 2**30:.0f}; TF32 outside of the package "
              f"{torch.backends.cudnn.allow_tf32}")  # fmt: skip


def commands(check: Check) -> None:
    """Each that has --device, on the digits, and those that read what it made."""
    asked = check.asked
    with TemporaryDirectory() as folder, columns():
        out = Path(folder)
        there = ("--device", asked.device, "--no-progress")
        model, file = str(out / "ours"), str(out / "digits.npy")
        write_images(Path(file))
        few = ("--images", "4", "--steps", "2")
        lines: dict[str, tuple[object, ...]] = {
            "train": ("train", DIGITS, "--out", model, "--preset", "smoke", *there),
            "train certified": ("train", DIGITS, "--out", out / "certified", "--preset", "certified",
                                "--set", "rounds=20", *there),
        }  # fmt: skip
        for method in METHODS:
            lines[f"train {method}"] = ("train", DIGITS, "--out", out / method, "--method", method, "--preset",
                                        "smoke", *there)  # fmt: skip
        lines |= {
            "detect": ("detect", model, file, "--device", asked.device),
            "attack": ("attack", model, DIGITS, "--suite", "quick", "--save", out / "a.npz", *few, *there),
            "attack standard": ("attack", model, DIGITS, "--save", out / "b.npz", *few, *there),
            "attack gong": ("attack", out / "gong", DIGITS, "--suite", "quick", "--save", out / "c.npz", *few, *there),
            "evaluate": ("evaluate", model, DIGITS, "--suite", "quick", "--out", out / "evaluation", *few,
                         "--subset", "2", "--blackbox-images", "4", "--shift-images", "20", *there),
            "motivation": ("motivation", "--data", DIGITS, "--attack", "fgsm", "--preset", "smoke", "--images", "100",
                           "--out", out / "motivation", *there),
            "calibrate": ("calibrate", model, DIGITS, "--out", out / "d.safetensors", "--no-progress"),
            "certify": ("certify", out / "certified", DIGITS, "--images", "20", "--epsilon", "0.01", "--no-progress"),
        }  # fmt: skip
        for name, words in lines.items():
            check.said(f"  twinlatent {name}")
            began = time.monotonic()
            if check.tried(name, lambda words=words: called(*words)):  # type: ignore[misc]
                check.found.commands[name] = round(time.monotonic() - began, 2)


def called(*words: object) -> None:
    """Run the program in this process."""
    try:
        app([str(word) for word in words], prog_name="twinlatent")
    except SystemExit as ended:
        if ended.code:
            raise RuntimeError(f"twinlatent {words[0]} ended with {ended.code}") from ended


@contextmanager
def columns() -> Iterator[None]:
    """The command line's own, as `twinlatent` would begin it."""
    before = sys.argv
    sys.argv = ["twinlatent"]
    try:
        yield
    finally:
        sys.argv = before


def write_images(path: Path) -> None:
    import numpy as np

    np.save(path, tl.data.load(DIGITS, progress=False).test.images[:20].numpy())


def resumed(check: Check) -> None:
    """Half a training on one device and half on the other, against a whole one where it began."""
    asked, split = check.asked, tl.data.load(DIGITS, progress=False)
    whole = recipe_of(split, "smoke").game_settings().model_copy(update={"rounds": WHOLE, "checkpoint_every": HALF})
    for first, then in (("cpu", asked.device), (asked.device, "cpu")):
        with TemporaryDirectory() as folder:
            alone, parted = Path(folder) / "alone", Path(folder) / "parted"
            tl.fit_split(split, settings=whole, folder=alone, device=first, progress=False)
            interrupted(split, whole, parted, first)
            tl.fit_split(split, settings=whole, folder=parted, device=then, resume=True, progress=False)
            one, other = (load_tensors(place / STATE_FILE, "training state")[0] for place in (alone, parted))
        far = max(float((one[name].double() - other[name].double()).abs().max()) for name in one
                  if name.startswith("module."))  # fmt: skip
        check.found.resumed[f"{first} → {then}"] = float(f"{far:.3g}")
        print(f"  {first} → {then}: weights differ by {far:.3g} at most")


def interrupted(split: Any, settings: tl.GameSettings, folder: Path, place: str) -> None:
    """A training that is stopped when half of its rounds are kept."""
    from twinlatent.method import game

    turn, done = game.keep_average, []

    def stopping(*given: Any) -> None:
        turn(*given)
        done.append(None)
        if len(done) > HALF:
            raise InterruptedError("half of it")

    game.keep_average = stopping  # type: ignore[assignment]
    try:
        tl.fit_split(split, settings=settings, folder=folder, device=place, progress=False)
    except InterruptedError:
        return
    finally:
        game.keep_average = turn
    raise RuntimeError("the training was not interrupted")


def verdicts(check: Check) -> None:
    """Labels, flags, p-values and suspicion of test images and of attacked ones, against the CPU's."""
    asked, split = check.asked, tl.data.load(check.asked.data, progress=False)
    here = tl.load(asked.detector)
    images = split.test.images[: asked.images]
    there, stem = here.to(asked.device), Path(asked.detector).stem
    wanted, found = here.detect(images), there.detect(images)
    check.found.verdicts[stem] = differences(wanted, found)
    few, labels = images[:ATTACKED].to(there.device), split.test.labels[: len(images)][:ATTACKED].to(there.device)
    attacked = tl.attacks.pgd(there, few, labels, epsilon=0.3, steps=20).images.cpu()
    check.found.verdicts[f"{stem}, attacked"] = differences(here.detect(attacked), there.detect(attacked))
    print(f"  {check.found.verdicts}")
    alone = there.detect(images[:1])
    if not torch.equal(alone.suspicion, found.suspicion[:1]):
        raise RuntimeError("the verdict on an image depends on the images that come with it")


def differences(wanted: tl.Verdict, found: tl.Verdict) -> dict[str, float]:
    """Images with another label, flag or p-value, and the most that suspicion differs, as `Differences` has it."""
    far = (wanted.suspicion - found.suspicion).abs() / wanted.suspicion.abs().clamp_min(1)
    counts = {name: int((getattr(wanted, name) != getattr(found, name)).sum())
              for name in ("label", "adversarial", "p_value")}  # fmt: skip
    return {"images": len(far), **counts, "suspicion": float(f"{far.max():.2g}")}


def speed(check: Check) -> None:
    """The same small work on the CPU and on the device."""
    asked, split = check.asked, tl.data.load(check.asked.data, progress=False)
    detector, settings = tl.load(asked.detector), recipe_of(split, asked.preset).game_settings()
    some = split.test.subset(slice(min(asked.images, 200)))
    short = settings.model_copy(update={"rounds": 4, "warm": 0.0, "ramp": 0.0})

    def works(place: str) -> dict[str, Callable[[], object]]:
        mine = detector.to(place)
        images, labels = some.images.to(mine.device), some.labels.to(mine.device)
        return {
            f"verdicts, {len(images)} images": lambda: mine.detect(images),
            f"pgd of 10 steps, {len(images)} images": lambda: tl.attacks.pgd(
                mine, images, labels, epsilon=0.3, steps=10, batch_size=len(images)
            ),
            f"4 rounds of {asked.preset}": lambda: play(split.train, split.classes, short, device=place,
                                                           progress=False),
        }  # fmt: skip

    here, gone = works("cpu"), works(asked.device)
    for name in here:
        both = {"cpu": milliseconds("cpu", here[name], 1), "device": milliseconds(asked.device, gone[name])}
        check.found.milliseconds[name] = {side: float(f"{value:.4g}") for side, value in both.items()}
        check.found.times_as_fast[name] = float(f"{both['cpu'] / both['device']:.3g}")
        print(f"  {name}: {both['cpu']:.0f} ms -> {both['device']:.1f} ms, {check.found.times_as_fast[name]} ×")


def attack(check: Check) -> None:
    """A whole suite at the main point, batch by batch while there is time for another."""
    asked, split = check.asked, tl.data.load(check.asked.data, progress=False)
    detector = tl.load(asked.detector).to(asked.device)
    settings = WhiteBoxSettings(suite=asked.suite, steps=asked.steps, remaining_only=True)
    drawn, batch = draw(split.test, min(asked.images, len(split.test)), settings.seed), settings.batch_for(detector)
    won: dict[str, int] = {}
    done, seconds, last = 0, 0.0, 0.0
    while done < len(drawn) and check.left > 1.2 * last + 2 * KEEP:
        began, some = time.monotonic(), drawn.subset(slice(done, done + batch))
        run = attack_detector(detector, split, settings, drawn=some, progress=False)
        last = time.monotonic() - began
        seconds, done = seconds + last, done + len(some)
        won = {name: won.get(name, 0) + int(wins.sum()) for name, wins in run.wins.items()}
        check.said(f"  {done} images in {seconds:.1f} s")
        check.found.attack = {
            "detector": Path(asked.detector).stem,
            "suite": settings.suite,
            "images": done,
            "batch": batch,
            "seconds": round(seconds, 2),
            "rates": {name: count / done for name, count in won.items()},
        }
    print(f"  {json.dumps(check.found.attack)}")


def training(check: Check) -> None:
    """The certified recipe, with as many rounds as there is time for."""
    asked, split = check.asked, tl.data.load(check.asked.data, progress=False)
    recipe = recipe_of(split, asked.preset)
    settings = recipe.game_settings()
    pilot = settings.model_copy(update={"rounds": PILOT, "warm": 0.0, "ramp": 0.0})
    play(split.train, split.classes, pilot, device=asked.device, progress=False)
    began = time.monotonic()
    play(split.train, split.classes, pilot, device=asked.device, progress=False)
    each = (time.monotonic() - began) / PILOT
    rounds = min(settings.rounds, asked.rounds or settings.rounds, max(PILOT, int((check.left - KEEP) / (1.1 * each))))
    check.said(f"  {1000 * each:.1f} ms a round: {rounds} rounds of {settings.rounds}")
    began = time.monotonic()
    made = tl.fit_split(split, settings=settings.model_copy(update={"rounds": rounds}), device=asked.device,
                        progress=False, preset=asked.preset)  # fmt: skip
    seconds = time.monotonic() - began
    judged = split.selection if "selection" in split.parts else split.test
    accuracy = (made.detect(judged.images[:2000]).label == judged.labels[:2000]).double().mean().item()
    check.found.training = {"recipe": recipe.name, "rounds": rounds, "of": settings.rounds,
                            "seconds": round(seconds, 2), "accuracy": round(accuracy, 4)}  # fmt: skip
    print(f"  {json.dumps(check.found.training)}")
    if asked.keep is not None:
        made.save(asked.keep)


STEPS: tuple[tuple[Callable[[Check], None], float], ...] = (
    (device, 1), (commands, 60), (resumed, 15), (verdicts, 10), (speed, 30), (attack, 60), (training, 30),
)  # fmt: skip
"""Each, and the seconds without which it is not begun, of 480."""


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=480)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--data", default="mnist")
    parser.add_argument("--detector", default="mnist-mim")
    parser.add_argument("--preset", default="certified")
    parser.add_argument("--suite", default="standard")
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--steps", type=int, help="of each gradient attack; default: the suite's")
    parser.add_argument("--rounds", type=int, help="of the training, at most")
    parser.add_argument("--only", help="steps to do, such as verdicts,attack; default: all")
    parser.add_argument("--keep", type=Path, help="file for the detector that is trained")
    parser.add_argument("--out", type=Path, default=Path("results/gpu.json"))
    asked, names = parser.parse_args(words), [work.__name__ for work, _ in STEPS]
    only = asked.only.split(",") if asked.only else names
    if not set(only) <= set(names):
        parser.error(f"--only {asked.only}: choose from {', '.join(names)}")
    try:
        check_device(asked.device)
    except tl.TwinlatentError as error:
        parser.exit(1, f"gpu_check: {error}\n")
    check = Check(asked)
    with ending_after(asked.seconds):
        for work, needs in STEPS:
            if work.__name__ in only:
                check.step(work.__name__, needs * asked.seconds / 480, work)
    check.said(f"{asked.out}: {len(check.found.failed)} failed, {len(check.found.left_out)} left out")
    return int(bool(check.found.failed or check.found.left_out))


@contextmanager
def ending_after(seconds: float) -> Iterator[None]:
    """What still runs after so many seconds is ended, and counts as failed."""

    def end(*_: object) -> None:
        raise TimeoutError("no time is left")

    before = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


if __name__ == "__main__":
    sys.exit(main())
