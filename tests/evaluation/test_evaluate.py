"""What an evaluation refuses, and what it asks of its parts."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from twinlatent.data import Split
from twinlatent.errors import TwinlatentError
from twinlatent.evaluation.black_box import substitutes
from twinlatent.evaluation.checks import run as checks
from twinlatent.evaluation.learners import JudgeSettings
from twinlatent.evaluation.protocol.settings import WhiteBoxSettings
from twinlatent.evaluation.settings import EvaluationSettings
from twinlatent.evaluation.white_box import conditions, pictures, suite
from twinlatent.evaluation.white_box.conditions import STANDARD_CW
from twinlatent.evaluation.whole import evaluate_all
from twinlatent.method.detector import Detector, build_detector


def test_too_few_calibration_images_are_said_before_anything_is_attacked(
    trained_detector: Detector, digits: Split, tmp_path: Path
) -> None:
    few = build_detector(
        trained_detector.encoders, digits.train, digits.calibration.subset(slice(15)), digits.class_names
    )
    with pytest.raises(TwinlatentError, match=r"tell no rate below 0\.0625, and the white box needs 0\.05"):
        evaluate_all(few, digits, EvaluationSettings(), folder=tmp_path, progress=False)
    assert not list(tmp_path.iterdir())


def test_what_the_main_point_cannot_be_is_refused_at_once() -> None:
    for wrong in ({"suite": "paper", "steps": 50}, {"fpr": 0.2}):
        with pytest.raises(ValidationError, match=r"suite paper has its own steps|choose from 0\.01"):
            EvaluationSettings.model_validate(wrong)
    assert EvaluationSettings(suite="paper").cw.steps == 12_000


def test_the_main_point_is_checked_without_assertions_too() -> None:
    """`python -O` runs no assertion."""
    code = """
from twinlatent.evaluation.settings import EvaluationSettings
for wrong in ({"fpr": 0.2}, {"suite": "paper", "steps": 50}):
    try:
        EvaluationSettings(**wrong)
    except ValueError as error:
        print("refused")
try:
    EvaluationSettings(suite="none").main
except ValueError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-O", "-c", code], capture_output=True, encoding="utf-8", check=True)
    assert done.stdout.splitlines() == [
        *["refused"] * 2,
        "suite none has no main point; choose quick, standard or paper",
    ]


@pytest.mark.parametrize("number", [np.float32, np.float16, lambda value: torch.tensor(value), np.array])
def test_numbers_of_numpy_and_torch_are_read_by_value(number: Callable) -> None:
    asked = EvaluationSettings(epsilon=number(0.3), fpr=number(0.1), radii=[number(0.7)], images=np.int64(7))
    assert asked == EvaluationSettings(epsilon=0.3, fpr=0.1, radii=(0.7,), images=7)
    assert EvaluationSettings(condition_radii=np.array([0.1, 0.2], np.float32)).condition_radii == (0.1, 0.2)
    assert WhiteBoxSettings(fpr=number(0.05)).fpr == 0.05
    assert JudgeSettings(epsilon=number(0.3)).epsilon == 0.3
    for wrong in (number(0.3), True):
        with pytest.raises(ValidationError):
            EvaluationSettings(fpr=wrong)


def test_fewer_steps_are_fewer_for_every_attack() -> None:
    assert EvaluationSettings().cw == STANDARD_CW
    assert EvaluationSettings(steps=10).cw.steps == 15
    assert EvaluationSettings(steps=10).main.steps == 10
    assert EvaluationSettings(epsilon=0.1).main.epsilon == 0.1


def test_a_set_sorted_by_class_is_drawn_from_all_over(
    trained_detector: Detector, digits: Split, tmp_path, monkeypatch, fewer_steps
):
    """Whatever is attacked, checked or shown holds several classes, though all test images are asked for."""
    rows = digits.test.labels.argsort(stable=True)[::8]
    sorted_set = replace(digits, test=digits.test.subset(rows))
    assert len(sorted_set.test.labels[:8].unique()) <= 2, "the first few images would be of one class or two"
    seen: dict[str, list[Tensor]] = {}

    def note(module: object, name: str, labels_of: Callable[..., Tensor]) -> None:
        real = getattr(module, name)

        def noted(*arguments, **options):
            seen.setdefault(name, []).append(labels_of(*arguments))
            return real(*arguments, **options)

        monkeypatch.setattr(module, name, noted)

    for module in (suite, conditions, substitutes):
        note(module, "run_suite", lambda attacks, model, images, labels: labels)
    note(checks, "checks_of", lambda probe, labels, result: probe.labels)
    note(pictures, "pair_grid", lambda detector, benign, columns, fpr: benign.labels)
    fewer_steps(monkeypatch, 3)
    settings = EvaluationSettings(suite="quick", steps=1, subset=8, radii=(1.0,), condition_radii=(0.3,),
                                  substitutes=("f_p",), judges=JudgeSettings(steps=3))  # fmt: skip
    evaluate_all(trained_detector, sorted_set, settings, progress=False)
    assert seen.keys() == {"run_suite", "checks_of", "pair_grid"}
    for name, drawn in seen.items():
        for labels in drawn:
            assert len(labels.unique()) > 3 or len(labels) < 6, (name, labels)
