"""What goes on, ends in one line or stays the same when everything else goes wrong, in one run, into one file.

Steps: hundreds of bad inputs; `train`, `evaluate` (by workers, too), `data fetch` (from a server on this machine),
`data prepare` and `serve`, each killed with SIGKILL at random moments and at its operations on files, and given again;
full and read-only disks, two commands in one folder, a clock that is set back, no home, locale C, seeds of hashes; and,
beside all of these, memory of a server and of one evaluation after the other. A step that fails is named and the next
one goes on. What is found is written after every step. It ends with 1 if anything was lost, differs, or ended otherwise
than it should.

    python scripts/faults.py [--kills 100] [--minutes 60] [--seed 0] [--only inputs,killed,surroundings,memory]
        [--out results/faults.json]

With `--only` what the file says of other steps stays, with the command and commit that it comes from. Full disks are
tmpfs where this may mount one (root on Linux), else limits of a file's size. On two idle cores all of it takes about an
hour; `--kills 3 --minutes 1` is a first look. Linux only.
"""

import argparse
import json
import os
import random
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from faulty import (
    bad_bodies,
    bad_files,
    bad_models,
    bad_values,
    environments,
    killing,
    memory,
    serving,
    surroundings,
    works,
)
from faulty.cases import Case, tried
from faulty.forked import Process, command, ended, forked

from twinlatent.code_digest import LEARNING, MEASURING, code_identity
from twinlatent.evaluation.results.faults import FaultsCheck
from twinlatent.evaluation.results.records import read_json, validated
from twinlatent.files import write_json
from twinlatent.method.detector import Detector
from twinlatent.provenance import provenance

SLOW = ("sklearn.datasets", "torch._dynamo", "uvicorn", "twinlatent.cli.program", "twinlatent.demo",
        "twinlatent.serve.app", "twinlatent.evaluation.evaluate", "twinlatent.report.page")  # fmt: skip
"""Modules that commands import."""
STEPS = ("inputs", "killed", "surroundings", "memory")
SIZES = {"train": (8, 64, 300, 600), "evaluate": (8, 40, 100, 300), "data prepare": (8, 16, 40)}
"""Kibibytes of disks that are too small."""
FIRST = ("train", "digits", "--preset", "smoke", "--no-progress", "--score", "vulnerable")
"""Makes the detector of all steps; for another score than the paper's an evaluation takes twice the time."""
WORKERS = 10
"""Of so many kills of an evaluation, one is of an evaluation by workers, which take long to start."""
OPERATIONS = 4
"""For so many kills at random moments there is one at an operation on a file."""


class Check:
    """A run of this script: what is asked, and what is found."""

    def __init__(self, asked: argparse.Namespace, wanted: Sequence[str], folder: Path) -> None:
        self.asked, self.folder, self.origin = asked, folder, provenance().model_dump()
        self.failed: dict[str, list[str]] = {}
        self.found: dict[str, dict[str, Any]] = {name: {} for name in STEPS}
        self.steps: dict[str, dict[str, Any]] = {}
        self.detector = folder / "digits.safetensors"
        others = [name for name in STEPS if name not in wanted]
        if others and asked.out.exists():
            before = read_json(asked.out)
            validated(asked.out, FaultsCheck, before)
            self.failed = {name: said for name, said in before["failed"].items() if name.split(": ")[0] in others}
            self.steps = {name: made for name, made in before["steps"].items() if name in others}
            self.found |= {name: before[name] for name in others}

    def do(self, step: str, parts: Callable[["Check"], None]) -> None:
        """Do a step, and note where it comes from."""
        began = time.monotonic()
        parts(self)
        seconds = round(time.monotonic() - began, 1)
        self.steps[step] = {"seed": self.asked.seed, "seconds": seconds, "provenance": self.origin}
        self.save()

    def part(self, step: str, name: str, do: Callable[[Path], None]) -> None:
        """Do a part of a step in a folder of its own, and write all that is found by then."""
        began, place, called = time.monotonic(), self.folder / step / name.replace(" ", "-"), f"{step}: {name}"
        place.mkdir(parents=True)
        try:
            do(place)
        except Exception as error:
            traceback.print_exc()
            self.failed.setdefault(called, []).append(f"{type(error).__name__}: {error}"[:300])
        self.save()
        wrong = f", {len(self.failed[called])} wrong" if called in self.failed else ""
        print(f"{called}: {time.monotonic() - began:.0f} s{wrong}", flush=True)
        for line in self.failed.get(called, []):
            print(f"  {line}", flush=True)

    def note(self, step: str, name: str, found: Mapping[str, Any]) -> None:
        """Keep what is found in a part of a step, and what is wrong with it."""
        kept = dict(found)
        wrong = kept.pop("wrong", [])
        self.found[step][name] = kept
        if wrong:
            self.failed[f"{step}: {name}"] = wrong

    def save(self) -> None:
        """Write the file."""
        made = {"failed": self.failed, "steps": self.steps, **self.found, "provenance": self.origin}
        write_json(self.asked.out, validated(self.asked.out, FaultsCheck, made).model_dump(mode="json"))


def inputs(check: Check) -> None:
    """All bad inputs, in a process of its own, since they compute gradients."""
    for module in (bad_bodies, bad_values, bad_models, bad_files):
        name = module.__name__.rpartition(".")[2].replace("_", " ")
        check.part("inputs", name, lambda place, name=name, module=module: _given(check, place, name, module.cases))


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
        check.found["inputs"][kind] = check.found["inputs"].get(kind, 0) + 1
    if lines.read_text():
        check.failed[f"inputs: {name}"] = lines.read_text().splitlines()


def _called(case: Case) -> str:
    return f"{case.kind}, {case.name}"


def killed(check: Check) -> None:
    """All commands, killed again and again."""
    kills, draw, detector = check.asked.kills, random.Random(check.asked.seed), check.detector
    few = -(-kills // WORKERS)

    def twice(made: Callable[[Path], works.Work], name: str, count: int) -> None:
        def at_random(place: Path) -> None:
            check.note("killed", name, asdict(killing.killed(made(place), count, draw, place)))

        def at_operations(place: Path) -> None:
            found = killing.killed_at_operations(made(place), -(-kills // OPERATIONS), draw, place)
            check.note("killed", f"{name} at operations on files", asdict(found))

        check.part("killed", name, at_random)
        check.part("killed", f"{name} at operations on files", at_operations)

    def served(place: Path) -> None:
        check.note("killed", "serve", asdict(serving.killed_serving(detector, kills, draw, place)))

    def by_workers(place: Path) -> None:
        made = works.evaluating(detector, place, 2)
        check.note("killed", "evaluate by 2 workers", asdict(killing.killed(made, few, draw, place)))

    twice(works.preparing, "data prepare", kills)
    server = works.FileServer(check.folder)
    try:
        twice(lambda _: works.fetching(server), "data fetch", kills)
    finally:
        server.process.kill()
    twice(works.training, "train", kills)
    check.part("killed", "serve", served)
    twice(lambda place: works.evaluating(detector, place), "evaluate", kills - few)
    check.part("killed", "evaluate by 2 workers", by_workers)


def around(check: Check) -> None:
    """All surroundings that are against commands."""
    detector = check.detector

    def made_in(place: Path) -> dict[works.Work, tuple[int, ...]]:
        made = (works.training(place), works.evaluating(detector, place), works.preparing(place))
        return {work: SIZES[work.name] for work in made}

    steps: dict[str, Callable[[Path], surroundings.Tried]] = {
        "full disk": lambda place: surroundings.full_disk(made_in(place), place),
        "read-only folder": lambda place: surroundings.read_only(detector, made_in(place), place),
        "two at a time": lambda place: surroundings.two_at_a_time(detector, made_in(place), place),
        "clock set back": lambda place: surroundings.clock_set_back(made_in(place), place),
        "no home": lambda place: environments.no_home(detector, place),
        "locale C": lambda place: environments.locale_c(detector, place),
        "hash seeds": lambda place: environments.hash_seeds(detector, place),
    }

    for name, tried_in in steps.items():
        check.part("surroundings", name, lambda place, name=name, tried_in=tried_in: check.note(
            "surroundings", name, asdict(tried_in(place))))  # fmt: skip


@contextmanager
def remembering(check: Check, wanted: bool) -> Iterator[None]:
    """Let memory be watched, beside what the block does and for as long as was asked."""
    seconds, begun = 60 * check.asked.minutes, dict[str, Process]()
    for name in ("serve", "evaluate") if wanted else ():
        place = check.folder / "watched" / name
        place.mkdir(parents=True)
        watch = memory.serving if name == "serve" else memory.evaluating

        def watched(place: Path = place, watch: Callable[..., memory.Watched] = watch) -> None:
            write_json(place / "found.json", asdict(watch(check.detector, seconds, place)))

        begun[name] = forked(watched, place / "said.txt")
    try:
        yield
        if wanted:
            check.do("memory", lambda check: _remembered(check, begun, seconds))
    finally:
        for process in begun.values():
            process.kill()


def _remembered(check: Check, begun: Mapping[str, Process], seconds: float) -> None:
    for name, process in begun.items():

        def taken(_: Path, name: str = name, process: Process = process) -> None:
            assert process.wait(seconds + 1200) == 0, process.text[-300:]
            found = json.loads((check.folder / "watched" / name / "found.json").read_text())
            grown = [] if found["flat"] else [f"MB, files or threads grew: {found}"]
            check.note("memory", name, found | {"wrong": grown})

        check.part("memory", name, taken)


def main(words: list[str] | None = None) -> int:
    """Run the steps; the exit status."""
    parser = argparse.ArgumentParser(description="What comes of kills, full disks and bad inputs.")
    parser.add_argument("--kills", type=int, default=100, help="of each command")
    parser.add_argument("--minutes", type=float, default=60.0, help="for which memory is watched")
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
        tempfile.tempdir = os.environ["TMPDIR"] = folder  # what a killed process leaves there goes with it
        check = Check(asked, wanted, Path(folder))
        trained = command(*FIRST, "--out", Path(folder) / "first")
        made = ended(trained, Path(folder) / "first.txt")
        if made.status:
            print(made.text, file=sys.stderr)
            return 1
        (Path(folder) / "first" / "detector.safetensors").rename(check.detector)
        with remembering(check, "memory" in wanted):
            for name, parts in (("inputs", inputs), ("killed", killed), ("surroundings", around)):
                if name in wanted:
                    check.do(name, parts)
    print(f"{asked.out}: {'nothing' if not check.failed else ', '.join(check.failed)} failed")
    return int(bool(check.failed))


if __name__ == "__main__":
    sys.exit(main())
