"""An evaluation in units: whoever does them, in whatever order and wherever, the numbers are the same bit for bit."""

import random
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import twinlatent as tl
from twinlatent.data import Split
from twinlatent.errors import TwinlatentError
from twinlatent.evaluation.results.report import Report
from twinlatent.evaluation.units import EvaluationGiven, evaluation_units
from twinlatent.evaluation.whole import prepared
from twinlatent.loading import load_object
from twinlatent.method.detector import Detector
from twinlatent.running.units import Places, Runner, Told, Unit, nothing_told

BATCH = 6
TINY: dict[str, Any] = {"suite": "quick", "steps": 1, "images": BATCH + 2, "subset": BATCH + 1, "blackbox_images": 8,
                        "shift_images": 4, "certified_images": 8, "epsilon": 0.1, "radii": (0.5, 1),
                        "condition_radii": (0.3,), "substitutes": ("f_p",),
                        "judges": {"steps": 3, "remembered": 50}}  # fmt: skip
OWN = '''
"""A detector and an attack of a user's."""
from dataclasses import dataclass
import torch
import twinlatent as tl
from twinlatent.attacks.attack import Attack, Found

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.weights = torch.nn.Parameter(torch.randn(64, 10))

    def forward(self, images):
        return tl.Outputs(images.flatten(1) @ self.weights, images.mean((1, 2, 3)))

@dataclass(frozen=True)
class Darker(Attack):
    epsilon: float

    def __call__(self, model, images, aim, criterion):
        made = (images - self.epsilon).clamp(0, 1)
        return Found.iterate(made, criterion(model(made), aim), torch.zeros(len(images)))
'''


@dataclass(frozen=True)
class Scattered(Runner):
    """Runs every unit in folders of its own, which hold what it says it needs, in another order each time.

    Attributes:
        seed: of the order.
        done: names of the units.
    """

    seed: int
    done: list[str] = field(default_factory=list)
    threads: int = 1

    def run(self, stages: Sequence[Sequence[Unit]], given: Any, places: Places, told: Told = nothing_told) -> None:
        for stage in stages:
            units = list(stage)
            random.Random(self.seed).shuffle(units)
            for unit in units:
                self._alone(unit, given, places, told)

    def _alone(self, unit: Unit, given: Any, places: Places, told: Told) -> None:
        own = {name: place.parent / f"of-a-unit-{name}" for name, place in places.items()}
        for name, place in own.items():
            copied((*unit.needs.get(name, ()), *unit.keeps.get(name, ())), places[name], place)
        heard: list[Path] = []
        unit(given, own, heard.append)
        assert len(heard) <= unit.steps, "more files than it says"
        assert all(path.is_file() for path in heard)
        for name, place in own.items():
            made = {path.relative_to(place) for path in place.rglob("*") if path.is_file()}
            kept = copied(unit.keeps.get(name, ()), place, places[name])
            read = {path.relative_to(place) for pattern in unit.needs.get(name, ()) for path in place.glob(pattern)}
            assert made - read <= kept, "it keeps files that it does not tell of"
            shutil.rmtree(place, ignore_errors=True)
        told(unit, None)
        self.done.append(unit.name)


def copied(patterns: Sequence[str], home: Path, away: Path) -> set[Path]:
    found = {path.relative_to(home) for pattern in patterns for path in home.glob(pattern) if path.is_file()}
    for name in found:
        (away / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(home / name, away / name)
    return found


def numbers(report: Report) -> list[Mapping[str, Any]]:
    """All records, but for the time they took and where they come from: a commit may be made meanwhile."""
    left_out = "seconds", "commit", "date"
    return [{name: value for name, value in record if name not in left_out} for record in report.records]


def same(a: Report, b: Report) -> bool:
    """Whether all of two reports is the same bit for bit, but for the time they took."""
    pairs = [(a.benign_suspicion, b.benign_suspicion)]
    pairs += [(values, b.suspicion[name]) for name, values in a.suspicion.items()]
    for x, y in ((a.grid, b.grid), (a.latents, b.latents)):
        pairs += [(value, getattr(y, name)) for name, value in vars(x).items()] if x is not None else []
    return (
        numbers(a) == numbers(b)
        and (a.checks, a.judges) == (b.checks, b.judges)
        and all(np.array_equal(x, y) for x, y in pairs)
    )


@pytest.fixture(autouse=True)
def weak_substitute(monkeypatch, fewer_steps) -> None:
    fewer_steps(monkeypatch, 3)


def with_small_batches(patch: pytest.MonkeyPatch) -> None:
    """White boxes attack so few images at once that there are two batches of few images."""
    usual = tl.EvaluationSettings.main
    small = property(lambda settings: usual.__get__(settings).model_copy(update={"batch_size": BATCH}))
    patch.setattr(tl.EvaluationSettings, "main", small)


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    with_small_batches(monkeypatch)


@pytest.fixture(scope="module")
def alone(trained_detector: Detector, digits: Split, fewer_steps) -> Report:
    with pytest.MonkeyPatch.context() as patch:
        fewer_steps(patch, 3)
        with_small_batches(patch)
        return tl.evaluate(trained_detector, digits, progress=False, **TINY)


@pytest.mark.slow  # shards merged are quick: tests/cli/test_merge.py
def test_units_may_be_done_in_any_order_each_with_what_it_needs_alone_and_are_all_that_is_attacked(
    alone, trained_detector, digits: Split, tmp_path, monkeypatch, small_batches
):
    """Whoever puts together what they leave attacks nothing: the suites find every batch."""
    from twinlatent.attacks import suite_runs

    inside: list[str] = []
    real = suite_runs.run

    def counted(*arguments, **options):
        assert inside, "an attack outside of units"
        return real(*arguments, **options)

    class Counting(Scattered):
        def _alone(self, unit, *rest):
            inside.append(unit.name)
            super()._alone(unit, *rest)
            inside.pop()

    monkeypatch.setattr(suite_runs, "run", counted)
    runner = Counting(1)
    assert same(alone, tl.evaluate(trained_detector, digits, folder=tmp_path, workers=runner, progress=False, **TINY))
    assert len(set(runner.done)) == len(runner.done), "no two units have one name"
    batch = f"points ratio, images {BATCH} to {2 * BATCH - 1}"
    assert {"substitute f_p", "judges", batch, "blackbox f_p, images 0 to 249"} <= {*runner.done}
    assert not list(tmp_path.rglob("*.npz.*")), "and no folder of a unit is left"


def test_the_longest_units_come_first_and_every_batch_is_in_one(
    trained_detector: Detector, digits: Split, small_batches: None
) -> None:
    settings = tl.EvaluationSettings(**TINY | {"images": 2 * BATCH + 1}).for_images(digits, trained_detector.card)
    given = EvaluationGiven(trained_detector, *prepared(trained_detector, digits, settings, {}))
    networks, work = evaluation_units(given)
    assert [unit.name for unit in networks] == ["substitute f_p"]
    points = [unit for unit in work if unit.what == "points"]
    own = [unit.batch for unit in points if unit.which == trained_detector.score]
    assert sorted(own) == [0, 1, 2]
    assert points[0].steps > points[-1].steps, "images beside the subset are at the main point alone"


@pytest.mark.slow
@pytest.mark.parametrize("workers", [2, 3])
def test_worker_processes_find_the_same(trained_detector, digits: Split, workers: int) -> None:
    """With the settings in full, and batches of the usual size: processes of their own know of no patch."""
    usual = tl.EvaluationSettings().for_images(digits, {}).networks["f_p"]
    asked = TINY | {"images": 60, "subset": 52, "networks": {"f_p": usual}}
    one, many = (tl.evaluate(trained_detector, digits, workers=n, progress=False, **asked) for n in (1, workers))
    assert same(one, many)


@pytest.mark.slow
def test_a_detector_and_an_attack_of_a_users_file_go_to_workers(digits: Split, tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(OWN, encoding="utf-8")
    make: Callable[[], Any] = load_object(f"{tmp_path / 'own.py'}:Net")  # type: ignore[assignment]
    attacks = {"darker": load_object(f"{tmp_path / 'own.py'}:Darker")}
    asked = TINY | {"images": 8, "subset": 4}
    one, two = (tl.evaluate(make(), digits, attacks=attacks, workers=n, progress=False, **asked) for n in (1, 2))
    assert same(one, two)
    assert "darker" in {record.attack for record in two.records}


def test_what_cannot_be_sent_to_workers_is_said_in_one_line(digits: Split, fewer_steps) -> None:
    weights = torch.randn(64, 10, generator=torch.Generator().manual_seed(0))
    with pytest.raises(TwinlatentError, match=r"cannot be sent to worker processes .*define it at the top of a file"):
        tl.evaluate((lambda images: images.flatten(1) @ weights, lambda images: images.mean((1, 2, 3))), digits,
                    name="mine", workers=2, progress=False, **TINY)  # fmt: skip
