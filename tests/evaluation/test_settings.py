"""What may be asked of an evaluation, as an object or as keywords."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from twinlatent.data import Split
from twinlatent.errors import TwinlatentError
from twinlatent.evaluation.learners import JudgeSettings, SubstituteSettings
from twinlatent.evaluation.protocol.settings import WhiteBoxSettings
from twinlatent.evaluation.settings import Asked, EvaluationSettings, settings_of
from twinlatent.evaluation.white_box.conditions import STANDARD_CW
from twinlatent.method.fit import fit_split
from twinlatent.method.game_state import GameSettings
from twinlatent.zoo import load


def test_keywords_are_the_fields() -> None:
    assert Asked.__annotations__.keys() == EvaluationSettings.model_fields.keys()
    asked = settings_of(None, {"epsilon": 0.2, "judges": {"steps": 3}, "radii": [0.5]})
    assert asked == EvaluationSettings(epsilon=0.2, judges=JudgeSettings(steps=3), radii=(0.5,))
    assert settings_of(asked, {}) is asked
    assert settings_of(asked.model_dump(mode="json"), {}) == asked, "as a report keeps them"
    assert settings_of(None, {"judges": None, "networks": None}) == EvaluationSettings(), "None is the default"


@pytest.mark.parametrize(
    ("settings", "asked", "line"),
    [
        (None, {"few": 3}, "setting 'few' is unknown"),
        (None, {"imags": 3}, r"'imags' is unknown; did you mean images\?"),
        (None, {"judges": {"stps": 3}}, r"'judges\.stps' is unknown; did you mean judges\.steps\?"),
        (None, {"networks": {"f_p": {"stps": 3}}}, r"did you mean networks\.f_p\.steps\?"),
        (None, {"suite": "quik"}, "^setting suite = 'quik': choose from none, quick, standard, thorough, paper$"),
        (None, {"substitutes": ["cnn5", "f_p", "cnn5"]}, "substitutes = .*: cnn5 is named twice; name each once"),
        (None, {"condition_radii": [0.1, 0.2, 0.1]}, "condition_radii = .*: 0.1 is named twice"),
        ({"suite": "none"}, {"images": 3}, "images given beside settings"),
        ({"suit": "none"}, {}, r"'suit' is unknown; did you mean suite\?"),
        ("quick", {}, "settings is a str; give twinlatent.EvaluationSettings, or a dict"),
        (None, {"judges": {"steps": 0}}, r"setting judges\.steps = 0"),
        (EvaluationSettings(), {"images": 3, "seed": 1}, "images, seed given beside settings"),
    ],
)
def test_what_is_no_setting_or_said_twice_is_refused(settings, asked: dict, line: str) -> None:
    with pytest.raises(TwinlatentError, match=line):
        settings_of(settings, asked)


def test_what_the_main_point_cannot_be_is_refused_at_once() -> None:
    for wrong in ({"suite": "paper", "steps": 50}, {"fpr": 0.2}):
        with pytest.raises(ValidationError, match=r"suite paper has its own steps|choose from 0\.01"):
            EvaluationSettings.model_validate(wrong)
    assert EvaluationSettings(suite="paper").cw.steps == 12_000


def test_no_suite_has_no_main_point() -> None:
    line = "suite none has no main point; choose quick, standard, thorough or paper"
    with pytest.raises(TwinlatentError, match=line):
        _ = EvaluationSettings(suite="none").main


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


def test_the_recipe_a_detector_was_trained_with_decides_its_evaluation(digits: Split, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("[evaluation]\nepsilon = 0.125\n[judges]\nsteps = 33\n[substitutes.cnn5]\nsteps = 7\n")
    tiny = GameSettings(encoder="c(3,4) z(3,3)", decoder="d(64)", rounds=1, batch=4, adversary={"steps": 1})
    made = fit_split(digits, preset="smoke", recipe=path, settings=tiny, progress=False)
    asked = EvaluationSettings(substitutes=("cnn5",))
    found = asked.for_images(digits, made.card)
    assert found.networks is not None
    assert (found.epsilon, found.judges and found.judges.steps, found.networks["cnn5"].steps) == (0.125, 33, 7)
    made.save(tmp_path / "detector.safetensors")
    assert asked.for_images(digits, load(tmp_path / "detector.safetensors").card) == found
    usual = asked.for_images(digits, made.card, recipe="digits")
    assert usual.networks is not None
    assert (usual.epsilon, usual.judges and usual.judges.steps, usual.networks["cnn5"].steps) == (0.3, 1200, 300)
    assert asked.for_images(digits, {}) == usual  # as of a file of version 0.1.0
    assert EvaluationSettings(epsilon=0.2).for_images(digits, made.card).epsilon == 0.2
    one = SubstituteSettings(layers="d(9) sm(10)")
    both = EvaluationSettings(substitutes=("f_p", "cnn5"), networks={"f_p": one}).for_images(digits, made.card)
    assert both.networks == {"f_p": one, "cnn5": found.networks["cnn5"]}
