"""What goes on, ends in one line or stays the same when everything else goes wrong, in one run, into one file.

Steps: hundreds of bad inputs; `train`, `evaluate` (by workers, too), `data fetch` (from a server on this machine),
`data prepare` and `serve`, each killed with SIGKILL at random moments and given again; full and read-only disks, two
commands in one folder, a clock that is set back, no home, locale C, seeds of hashes; memory of a server and of one
evaluation after the other. A step that fails is named and the next one goes on. What is found is written after every
step. It ends with 1 if anything was lost, differs, or ended otherwise than it should.

    python scripts/faults.py [--kills 100] [--minutes 1] [--seed 0] [--only inputs,killed,surroundings,memory]
        [--out results/faults.json]

Full disks are tmpfs where this may mount one (root on Linux), else limits of a file's size. An hour of memory:
--only memory --minutes 60. On two idle cores all of it takes about half an hour, with --kills 30 a quarter. Linux only.
"""

import argparse
import os
import random
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from faulty import bad_bodies, bad_files, bad_models, bad_values, killing, memory, surroundings
from faulty.cases import Case, tried
from faulty.forked import command, ended

from twinlatent.code_digest import LEARNING, MEASURING, code_identity
from twinlatent.evaluation.results.faults import FaultsCheck
from twinlatent.evaluation.results.records import validated
from twinlatent.files import write_json
from twinlatent.method.detector import Detector
from twinlatent.provenance import provenance

SLOW = ("sklearn.datasets", "torch._dynamo", "uvicorn", "twinlatent.cli.program", "twinlatent.demo",
        "twinlatent.serve.app", "twinlatent.evaluation.evaluate", "twinlatent.report.page")  # fmt: skip
"""Modules that commands import."""
STEPS = ("inputs", "killed", "surroundings", "memory")
SIZES = {"train": (8, 64, 300, 600), "evaluate": (8, 40, 100, 300), "data prepare": (8, 16, 40)}
"""Kibibytes of disks that are too small."""
WORKERS = 10
"""Of so many kills of an evaluation, one is of an evaluation by workers, which take long to start."""


class Check:
    """A run of this script: what is asked, and what is found."""

    def __init__(self, asked: argparse.Namespace, folder: Path) -> None:
        self.asked, self.folder, self.began, self.origin = asked, folder, time.monotonic(), provenance()
        self.failed: dict[str, list[str]] = {}
        self.found: dict[str, dict[str, Any]] = {
            name: {} for name in ("killed", "surroundings", "bad_inputs", "memory")
        }
        self.detector = folder / "digits.safetensors"

    def step(self, name: str, do: Callable[[Path], None]) -> None:
        """Do a step in a folder of its own, and write all that is found by then."""
        began, place = time.monotonic(), self.folder / name.replace(" ", "-")
        place.mkdir()
        try:
            do(place)
        except Exception as error:
            traceback.print_exc()
            self.failed.setdefault(name, []).append(f"{type(error).__name__}: {error}"[:300])
        self.save()
        wrong = f", {len(self.failed[name])} wrong" if name in self.failed else ""
        print(f"{name}: {time.monotonic() - began:.0f} s{wrong}", flush=True)
        for line in self.failed.get(name, []):
            print(f"  {line}", flush=True)

    def note(self, part: str, name: str, found: Mapping[str, Any], wrong: list[str]) -> None:
        """Keep what is found of a step, and what is wrong with it."""
        self.found[part][name] = dict(found)
        if wrong:
            self.failed[name] = wrong

    def save(self) -> None:
        """Write the file."""
        made = {"seed": self.asked.seed, "seconds": round(time.monotonic() - self.began, 1), "failed": self.failed,
                **self.found, "provenance": self.origin.model_dump()}  # fmt: skip
        write_json(self.asked.out, validated(self.asked.out, FaultsCheck, made).model_dump(mode="json"))


def inputs(check: Check) -> None:
    """All bad inputs, in a process of its own, since they compute gradients."""
    for module in (bad_bodies, bad_values, bad_models, bad_files):
        name = module.__name__.rpartition(".")[2].replace("_", " ")
        check.step(name, lambda place, name=name, module=module: _given(check, place, name, module.cases))


def _given(check: Check, place: Path, name: str, cases: Callable[[Detector, Path], Any]) -> None:
    counts, lines = place / "counts", place / "wrong"

    def give() -> None:
        os.chdir(place)
        os.environ["XDG_CACHE_HOME"], os.environ["TWINLATENT_DATA"] = str(place / "cache"), str(place / "no-data")
        (place / "inputs").mkdir()
        done = tried(cases(Detector.load(check.detector), place / "inputs"))
        counts.write_text("\n".join(one.case.kind for one in done))
        lines.write_text("\n".join(f"{_called(one.case)}: {one.complaint}" for one in done if one.complaint))

    process = ended(give, place / "said.txt", 1200)
    if process.status or not counts.exists():
        raise AssertionError(process.text[-300:])
    for kind in counts.read_text().splitlines():
        check.found["bad_inputs"][kind] = check.found["bad_inputs"].get(kind, 0) + 1
    if lines.read_text():
        check.failed[name] = lines.read_text().splitlines()


def _called(case: Case) -> str:
    return f"{case.kind}, {case.name}"


def killed(check: Check) -> None:
    """All commands, killed again and again."""
    kills, draw = check.asked.kills, random.Random(check.asked.seed)

    def work(place: Path, made: killing.Work, count: int) -> None:
        found = asdict(killing.killed(made, count, draw, place))
        check.note("killed", made.name, found, found.pop("wrong"))

    def fetch(place: Path) -> None:
        server, address = killing.file_server(place / "server.txt")
        try:
            work(place, killing.fetching(address), kills)
        finally:
            server.kill()

    def serve(place: Path) -> None:
        found = asdict(killing.killed_serving(check.detector, kills, draw, place))
        check.note("killed", "serve", found, found.pop("wrong"))

    few = -(-kills // WORKERS)
    check.step("data prepare", lambda place: work(place, killing.preparing(place), kills))
    check.step("data fetch", fetch)
    check.step("train", lambda place: work(place, killing.training(place), kills))
    check.step("serve", serve)
    check.step("evaluate", lambda place: work(place, killing.evaluating(check.detector, place), kills - few))
    check.step("evaluate by 2 workers", lambda place: work(place, killing.evaluating(check.detector, place, 2), few))


def around(check: Check) -> None:
    """All surroundings that are against commands."""
    detector = check.detector

    def works(place: Path) -> dict[killing.Work, tuple[int, ...]]:
        made = (killing.training(place), killing.evaluating(detector, place), killing.preparing(place))
        return {work: SIZES[work.name] for work in made}

    def hashed(place: Path) -> surroundings.Tried:
        return surroundings.hash_seeds(killing.training(place), lambda run: [*TRAINING, "--out", run], place)

    steps: dict[str, Callable[[Path], surroundings.Tried]] = {
        "full disk": lambda place: surroundings.full_disk(works(place), place),
        "read-only folder": lambda place: surroundings.read_only(detector, works(place), place),
        "two at a time": lambda place: surroundings.two_at_a_time(detector, works(place), place),
        "clock set back": lambda place: surroundings.clock_set_back(works(place), place),
        "no home": lambda place: surroundings.no_home(detector, place),
        "locale C": lambda place: surroundings.locale_c(detector, place),
        "hash seeds": hashed,
    }

    def tried_in(place: Path, name: str) -> None:
        found = asdict(steps[name](place))
        check.note("surroundings", name, found, found.pop("wrong"))

    for name in steps:
        check.step(name, lambda place, name=name: tried_in(place, name))


TRAINING = (
    "train",
    "digits",
    "--preset",
    "smoke",
    "--no-progress",
    "--set",
    "rounds=10",
    "--set",
    "checkpoint_every=5",
)


def remembered(check: Check) -> None:
    """Memory over some time, half of it each."""
    seconds = 30 * check.asked.minutes
    for name, watch in (("memory of serve", memory.serving), ("memory of evaluate", memory.evaluating)):

        def watched(place: Path, name: str = name, watch: Callable[..., memory.Watched] = watch) -> None:
            found = asdict(watch(check.detector, seconds, place))
            grown = [] if found["flat"] else [f"it grew from {found['after_a_third']} to {found['at_the_end']} MB"]
            check.note("memory", name.removeprefix("memory of "), found, grown)

        check.step(name, watched)


def main(words: list[str] | None = None) -> int:
    """Run the steps; the exit status."""
    parser = argparse.ArgumentParser(description="What comes of kills, full disks and bad inputs.")
    parser.add_argument("--kills", type=int, default=100, help="of each command")
    parser.add_argument("--minutes", type=float, default=1.0, help="for which memory is watched, half for each command")
    parser.add_argument("--seed", type=int, default=0, help="of the moments of kills")
    parser.add_argument("--only", default=",".join(STEPS), help="steps, with commas between them")
    parser.add_argument("--out", type=Path, default=Path("results/faults.json"))
    asked = parser.parse_args(words)
    asked.out, wanted = asked.out.resolve(), asked.only.split(",")
    if unknown := [name for name in wanted if name not in STEPS]:
        parser.error(f"no step is called {unknown[0]}; there are {', '.join(STEPS)}")
    torch.set_num_threads(1)
    for module in SLOW:  # now, and not in each process that is forked off
        import_module(module)
    for parts in (LEARNING, MEASURING):  # likewise digests of the code
        code_identity(parts)
    with TemporaryDirectory(prefix="twinlatent-faults-") as folder:
        check = Check(asked, Path(folder))
        trained = command("train", "digits", "--preset", "smoke", "--no-progress", "--out", Path(folder) / "first")
        made = ended(trained, Path(folder) / "first.txt")
        if made.status:
            print(made.text, file=sys.stderr)
            return 1
        (Path(folder) / "first" / "detector.safetensors").rename(check.detector)
        for name, step in (("inputs", inputs), ("killed", killed), ("surroundings", around), ("memory", remembered)):
            if name in wanted:
                step(check)
        check.save()
    print(f"{asked.out}: {'nothing' if not check.failed else ', '.join(check.failed)} failed")
    return int(bool(check.failed))


if __name__ == "__main__":
    sys.exit(main())
