"""What an evaluation refuses, and what it asks of its parts."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from twinlatent.data import Split
from twinlatent.errors import TwinlatentError
from twinlatent.evaluation.conditions import STANDARD_CW
from twinlatent.evaluation.evaluate import EvaluationSettings, evaluate
from twinlatent.method.detector import Detector, build_detector


def test_too_few_calibration_images_are_said_before_anything_is_attacked(
    trained_detector: Detector, digits: Split, tmp_path: Path
) -> None:
    few = build_detector(
        trained_detector.encoders, digits.train, digits.calibration.subset(slice(15)), digits.class_names
    )
    with pytest.raises(TwinlatentError, match=r"tell no rate below 0\.0625, and the white box needs 0\.05"):
        evaluate(few, digits, EvaluationSettings(), tmp_path, progress=False)
    assert not list(tmp_path.iterdir())


def test_what_the_main_point_cannot_be_is_refused_at_once() -> None:
    for wrong in ({"suite": "paper", "steps": 50}, {"fpr": 0.2}):
        with pytest.raises(ValidationError, match=r"suite paper has its own steps|choose from 0\.01"):
            EvaluationSettings.model_validate(wrong)
    assert EvaluationSettings(suite="paper").cw.steps == 12_000


def test_fewer_steps_are_fewer_for_every_attack() -> None:
    assert EvaluationSettings().cw == STANDARD_CW
    assert EvaluationSettings(steps=10).cw.steps == 15
    assert EvaluationSettings(steps=10).main.steps == 10
    assert EvaluationSettings(epsilon=0.1).main.epsilon == 0.1
