"""What lies below the command `demo` (tests/cli/test_demo.py): its attacks, its log, two demos in one folder."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from twinlatent import demo
from twinlatent.attacks.budgets import Budget
from twinlatent.data import Split
from twinlatent.evaluation.black_box import detection
from twinlatent.evaluation.black_box.detection import BLACK_BOX, at_epsilon, evaluate_blackbox
from twinlatent.evaluation.results.report import Report, read_run
from twinlatent.method.detector import Detector


@pytest.fixture(autouse=True)
def weak_attacks(monkeypatch, fewer_steps, fewer_rounds, without_figures) -> None:
    monkeypatch.setattr(detection, "BLACK_BOX", (Budget("fgsm", 0.1),))
    fewer_steps(monkeypatch, 5)
    fewer_rounds(monkeypatch, 10)
    without_figures(monkeypatch)


@pytest.fixture
def run(trained_detector: Detector, digits: Split) -> Report:
    return evaluate_blackbox(trained_detector, digits, budgets=at_epsilon(0.3), images=5, progress=False)


def test_the_attacks_are_the_papers_but_for_the_radius(monkeypatch) -> None:
    monkeypatch.setattr(detection, "BLACK_BOX", BLACK_BOX)
    assert {budget.attack: budget.epsilon for budget in at_epsilon(0.3)} == {
        "fgsm": 0.3, "pgd": 0.3, "mim": 0.3, "cw": None,
    }  # fmt: skip
    for mine, theirs in zip(at_epsilon(0.3), BLACK_BOX, strict=True):
        named = ("attack", "steps", "step_size", "decay")
        assert [getattr(mine, name) for name in named] == [getattr(theirs, name) for name in named]


@pytest.mark.slow
def test_a_second_demo_replaces_the_first(tmp_path: Path, digits: Split, monkeypatch) -> None:
    few = replace(digits, test=digits.test.subset(slice(40)))
    monkeypatch.setattr(demo, "load", lambda name, **_: few)
    first = demo.run_demo(tmp_path, preset="smoke", seed=0, progress=False)
    second = demo.run_demo(tmp_path, preset="smoke", seed=1, progress=False)
    kept = read_run(tmp_path)
    assert kept.records == second.records != first.records
    np.testing.assert_array_equal(kept.benign_suspicion, second.benign_suspicion)
    assert "twinlatent demo" in kept.model.title
    assert len((tmp_path / "training" / "log.jsonl").read_text().splitlines()) == len(kept.log) > 0
