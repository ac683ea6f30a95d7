"""What goes on, ends in one line or stays the same when everything else goes wrong, in one run, into one file.

Steps: hundreds of bad inputs; `train`, `evaluate` (by workers, too), `data fetch` (from a server on this machine),
`data prepare` and `serve`, each killed with SIGKILL at random moments and at its operations on files, and given again;
the same stopped by SIGTERM and Ctrl-C; full and read-only disks, two commands in one folder, a clock that is set back,
no home, locale C, seeds of hashes; and, beside all of these, memory of a server and of one evaluation after the other.
What fails is named and the rest goes on. What is found is written as it comes. It ends with 1 if anything was lost,
differs, or ended otherwise than it should.

    python scripts/faults.py [--kills 100] [--minutes 60] [--seed 0] [--only inputs,killed,stopped,surroundings,memory]
        [--at-once 2] [--out results/faults.json]
    python scripts/faults.py --add one.json --add another.json [--out results/faults.json]

With `--only` what the file says of other steps stays, with the command and commit that it comes from; with `--add`
nothing is tried, and the steps of other such files, as of other machines, are taken into this one. Full disks are
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
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
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
from faulty.cases import tried
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
STEPS = ("inputs", "killed", "stopped", "surroundings", "memory")
SIZES = {"train": (8, 64, 300, 600), "evaluate": (8, 40, 100, 300), "data prepare": (8, 16, 40)}
"""Kibibytes of disks that are too small."""
FIRST = ("train", "digits", "--preset", "smoke", "--no-progress", "--score", "vulnerable")
"""Makes the detector of all steps; for another score than the paper's an evaluation takes twice the time."""
WORKERS = 10
"""Of so many kills of an evaluation, one is of an evaluation by workers, which take long to start."""
OPERATIONS = 4
"""For so many kills at random moments there is one at an operation on files."""
STOPS = 5
"""For so many kills a command is stopped once by SIGTERM or Ctrl-C."""
PORTION = 20
"""Kills that one process of this script does after each other."""
LONGEST = 6 * 3600.0
"""Seconds that a task may take."""


@dataclass(frozen=True)
class Task:
    """What is tried in a process of its own.

    Attributes:
        step: to which it belongs.
        name: of what it finds, which several tasks may add to.
        do: finds it, in an empty folder: JSON-able, with `wrong`, lines on what failed.
    """

    step: str
    name: str
    do: Callable[[Path], dict[str, Any]]


class Check:
    """A run of this script: what is asked, and what is found."""

    def __init__(self, asked: argparse.Namespace, wanted: Sequence[str], folder: Path) -> None:
        self.asked, self.folder, self.origin = asked, folder, provenance().model_dump()
        self.failed: dict[str, list[str]] = {}
        self.found: dict[str, dict[str, Any]] = {name: {} for name in STEPS}
        self.steps: dict[str, dict[str, Any]] = {}
        self.detector = folder / "digits.safetensors"
        if asked.out.exists():
            self.take_over(asked.out, [name for name in STEPS if name not in wanted])

    def take_over(self, path: Path, names: Sequence[str]) -> None:
        """Take these steps from a file, as far as it has them, with what says where they come from."""
        before: Any = read_json(path)
        for name in (name for name in names if name in before.get("steps", {})):
            self.steps[name], self.found[name] = before["steps"][name], before[name]
            said = {called: lines for called, lines in before["failed"].items() if called.split(": ")[0] == name}
            self.failed = {
                called: lines for called, lines in self.failed.items() if called.split(": ")[0] != name
            } | said

    def run(self, tasks: Sequence[Task]) -> None:
        """Do all tasks, some at a time; those on memory beside the others."""
        waiting, running, began, places = list(tasks), dict[int, tuple[Process, Task, float]](), time.monotonic(), 0
        try:
            while waiting or running:
                busy = sum(task.step != "memory" for _, task, _ in running.values())
                for task in waiting[:]:
                    if task.step == "memory" or busy < self.asked.at_once:
                        waiting.remove(task)
                        busy += task.step != "memory"
                        places += 1
                        running[places] = self._begun(task, places), task, time.monotonic()
                for number, (process, task, since) in list(running.items()):
                    late = time.monotonic() - since > LONGEST
                    if process.wait(0) is not None or late:
                        self._take(task, process, self.folder / str(number), time.monotonic() - since)
                        del running[number]
                        if task.step not in [other.step for other in (*waiting, *(one[1] for one in running.values()))]:
                            self._done(task.step, time.monotonic() - began)
                time.sleep(0.05)
        finally:
            for process, _, _ in running.values():
                process.kill()

    def _begun(self, task: Task, number: int) -> Process:
        place = self.folder / str(number)
        (place / "work").mkdir(parents=True)
        return forked(lambda: write_json(place / "found.json", task.do(place / "work")), place / "said.txt")

    def _take(self, task: Task, process: Process, place: Path, seconds: float) -> None:
        """Add what a task found, and what is wrong."""
        try:
            process.kill()  # and what it may have left running
        except AssertionError as error:
            self.failed.setdefault(f"{task.step}: {task.name}", []).append(str(error))
        found = (
            json.loads((place / "found.json").read_text()) if not process.status else {"wrong": [process.text[-300:]]}
        )
        wrong, rows = found.pop("wrong"), self.found[task.step]
        if task.step == "inputs":
            rows |= {kind: rows.get(kind, 0) + count for kind, count in found.items()}
        elif found:
            before = rows.get(task.name, {})
            rows[task.name] = found | {name: before[name] + found[name] for name in killing.SUMS
                                       if before.get(name) is not None and found.get(name) is not None}  # fmt: skip
        called = f"{task.step}: {task.name}"
        if wrong:
            self.failed[called] = [*self.failed.get(called, []), *wrong]
        self.save()
        print(f"{called}: {seconds:.0f} s{f', {len(wrong)} wrong' if wrong else ''}", flush=True)
        for line in wrong:
            print(f"  {line}", flush=True)

    def _done(self, step: str, seconds: float) -> None:
        """Note where a step comes from."""
        self.steps[step] = {"seed": self.asked.seed, "seconds": round(seconds, 1), "provenance": self.origin}
        self.save()

    def save(self) -> None:
        """Write the file."""
        made = {"failed": self.failed, "steps": self.steps, **self.found, "provenance": self.origin}
        write_json(self.asked.out, validated(self.asked.out, FaultsCheck, made).model_dump(mode="json"))


def inputs(check: Check) -> Iterator[Task]:
    """All bad inputs."""
    for module in (bad_bodies, bad_values, bad_models, bad_files):
        name = module.__name__.rpartition(".")[2].replace("_", " ")
        yield Task("inputs", name, partial(_given, check.detector, module.cases))


def _given(detector: Path, cases: Callable[[Detector, Path], Any], place: Path) -> dict[str, Any]:
    os.chdir(place)
    os.environ["XDG_CACHE_HOME"], os.environ["TWINLATENT_DATA"] = str(place / "cache"), str(place / "no-data")
    (place / "inputs").mkdir()
    done = tried(cases(Detector.load(detector), place / "inputs"))
    wrong = [f"{one.case.kind}, {one.case.name}: {one.complaint}" for one in done if one.complaint]
    return {**Counter(one.case.kind for one in done), "wrong": wrong}


def killed(check: Check) -> Iterator[Task]:
    """All commands, killed again and again: portions of the kills, each with a draw of its own."""
    kills, seed, detector = check.asked.kills, check.asked.seed, check.detector
    few, at_operations = -(-kills // WORKERS), -(-kills // OPERATIONS)
    for name, made, count in (
        ("evaluate", partial(works.evaluating, detector), kills - few),
        ("evaluate by 2 workers", partial(works.evaluating, detector, workers=2), few),
        ("train", works.training, kills), ("data prepare", works.preparing, kills),
    ):  # fmt: skip
        for start in range(0, count, PORTION):
            draw, some = random.Random(f"{seed} {start}"), min(PORTION, count - start)
            yield Task("killed", name, lambda place, made=made, draw=draw, some=some: asdict(
                killing.killed(made(place), some, draw, place)))  # fmt: skip
        for start in range(0, at_operations if "workers" not in name else 0, PORTION):
            portion, draw = slice(start, start + PORTION), random.Random(f"{seed} operations")
            yield Task("killed", f"{name} at operations on files", lambda place, made=made, portion=portion, draw=draw:
                asdict(killing.killed_at_operations(made(place), at_operations, draw, place, portion)))  # fmt: skip
    for start in range(0, kills, PORTION):
        draw, some = random.Random(f"{seed} {start}"), min(PORTION, kills - start)
        yield Task("killed", "serve", lambda place, draw=draw, some=some: asdict(
            serving.killed_serving(detector, some, draw, place)))  # fmt: skip
        yield Task("killed", "data fetch", lambda place, draw=draw, some=some: _fetched(
            place, lambda made: killing.killed(made, some, draw, place)))  # fmt: skip
    for start in range(0, at_operations, PORTION):
        portion, draw = slice(start, start + PORTION), random.Random(f"{seed} operations")
        yield Task("killed", "data fetch at operations on files", lambda place, portion=portion, draw=draw: _fetched(
            place, lambda made: killing.killed_at_operations(made, at_operations, draw, place, portion)))  # fmt: skip


def stopped(check: Check) -> Iterator[Task]:
    """Commands that are asked to end."""
    stops, seed = -(-check.asked.kills // STOPS), check.asked.seed
    makers = {"train": works.training, "evaluate": partial(works.evaluating, check.detector),
              "data prepare": works.preparing}  # fmt: skip
    for name, made in makers.items():
        yield Task("stopped", name, lambda place, made=made: asdict(
            killing.stopped(made(place), stops, random.Random(seed), place)))  # fmt: skip
    yield Task("stopped", "data fetch", lambda place: _fetched(
        place, lambda made: killing.stopped(made, stops, random.Random(seed), place)))  # fmt: skip


def _fetched(place: Path, kill: Callable[[works.Work], killing.Killed]) -> dict[str, Any]:
    server = works.FileServer(place)
    try:
        return asdict(kill(works.fetching(server)))
    finally:
        server.process.kill()


def around(check: Check) -> Iterator[Task]:
    """All surroundings that are against commands."""
    detector = check.detector

    def made_in(place: Path) -> dict[works.Work, tuple[int, ...]]:
        made = (works.training(place), works.evaluating(detector, place), works.preparing(place))
        return {work: SIZES[work.name] for work in made}

    tried_in: dict[str, Callable[[Path], surroundings.Tried]] = {
        "full disk": lambda place: surroundings.full_disk(made_in(place), place),
        "read-only folder": lambda place: surroundings.read_only(detector, made_in(place), place),
        "two at a time": lambda place: surroundings.two_at_a_time(detector, made_in(place), place),
        "clock set back": lambda place: surroundings.clock_set_back(made_in(place), place),
        "no home": lambda place: environments.no_home(detector, place),
        "locale C": lambda place: environments.locale_c(detector, place),
        "hash seeds": lambda place: environments.hash_seeds(detector, place),
    }
    for name, do in tried_in.items():
        yield Task("surroundings", name, lambda place, do=do: asdict(do(place)))


def remembered(check: Check) -> Iterator[Task]:
    """Memory over some time."""

    def watched(watch: Callable[..., memory.Watched], place: Path) -> dict[str, Any]:
        found = asdict(watch(check.detector, 60 * check.asked.minutes, place))
        return found | {"wrong": [] if found["flat"] else [f"MB, files or threads grew: {found}"]}

    yield Task("memory", "serve", partial(watched, memory.serving))
    yield Task("memory", "evaluate", partial(watched, memory.evaluating))


def main(words: list[str] | None = None) -> int:
    """Run the steps; the exit status."""
    parser = argparse.ArgumentParser(description="What comes of kills, full disks and bad inputs.")
    parser.add_argument("--kills", type=int, default=100, help="of each command")
    parser.add_argument("--minutes", type=float, default=60.0, help="for which memory is watched")
    parser.add_argument("--at-once", type=int, default=2, help="how many processes try things, besides those on memory")
    parser.add_argument("--seed", type=int, default=0, help="of the moments of kills")
    parser.add_argument("--only", default=",".join(STEPS), help="steps, with commas between them")
    parser.add_argument("--add", type=Path, action="append", default=[], help="a file whose steps are taken into OUT")
    parser.add_argument("--out", type=Path, default=Path("results/faults.json"))
    asked = parser.parse_args(words)
    asked.out, wanted = asked.out.resolve(), [] if asked.add else asked.only.split(",")
    if unknown := [name for name in wanted if name not in STEPS]:
        parser.error(f"no step is called {unknown[0]}; there are {', '.join(STEPS)}")
    if asked.add:
        return _added(asked)
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
        steps = {"memory": remembered, "surroundings": around, "killed": killed, "stopped": stopped,
                 "inputs": inputs}  # fmt: skip
        check.run([task for name, tasks in steps.items() if name in wanted for task in tasks(check)])
    return _said(check)


def _added(asked: argparse.Namespace) -> int:
    check = Check(asked, (), asked.out.parent)
    for path in asked.add:
        check.take_over(path, STEPS)
    check.save()
    return _said(check)


def _said(check: Check) -> int:
    print(f"{check.asked.out}: {'nothing' if not check.failed else ', '.join(check.failed)} failed")
    return int(bool(check.failed))


if __name__ == "__main__":
    sys.exit(main())
