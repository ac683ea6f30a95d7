"""scripts/gpu_check.py: all of its steps on the CPU as the device, where nothing may differ; what fails is named."""

import importlib
import json
import time
from pathlib import Path
from types import ModuleType

import pytest

from twinlatent.data import Split
from twinlatent.evaluation.results.benchmarks import DeviceCheck
from twinlatent.evaluation.results.check import check_file
from twinlatent.method.detector import Detector
from twinlatent.recipes import recipe_of

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    return importlib.import_module("gpu_check")


@pytest.fixture
def words(trained_detector: Detector, tmp_path: Path) -> list[str]:
    """Small work on the CPU."""
    trained_detector.save(tmp_path / "small.safetensors")
    return [
        "--device",
        "cpu",
        "--data",
        "digits",
        "--detector",
        str(tmp_path / "small.safetensors"),
        "--preset",
        "smoke",
        "--suite",
        "quick",
        "--images",
        "8",
        "--steps",
        "1",
        "--rounds",
        "2",
        "--out",
        str(tmp_path / "gpu.json"),
    ]


@pytest.mark.slow
def test_it_measures_all_but_the_commands(script: ModuleType, words: list[str], tmp_path: Path, digits: Split,
                                          monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    monkeypatch.setattr(script, "PILOT", 2)
    assert script.main([*words, "--only", "device,resumed,verdicts,speed,attack,training"]) == 0
    assert check_file(tmp_path / "gpu.json") == "a check of a GPU"
    found = DeviceCheck.model_validate_json((tmp_path / "gpu.json").read_text())
    assert (found.failed, found.left_out, found.gpu) == ({}, [], "cpu")
    assert set(found.resumed.values()) == {0.0}
    for which in ("small", "small, attacked"):
        differs = found.verdicts[which]
        assert (differs.images, differs.label, differs.adversarial, differs.p_value, differs.suspicion) == (
            8,
            0,
            0,
            0,
            0,
        )
    assert found.attack is not None
    assert found.attack.images == 8
    assert 0 <= found.attack.rates["worst"] <= 1
    assert found.training is not None
    assert (found.training.rounds, found.training.of) == (2, recipe_of(digits, "smoke").game_settings().rounds)
    assert found.times_as_fast.keys() == found.milliseconds.keys()


def test_a_step_that_fails_or_has_no_time_is_named_and_the_rest_is_done(
    script: ModuleType, words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_: object) -> None:
        raise ValueError("no such kernel\nand more")

    monkeypatch.setattr(script, "STEPS", ((fails, 0), (script.attack, 10_000), (script.verdicts, 0)))
    assert script.main(words) == 1
    found = json.loads((tmp_path / "gpu.json").read_text())
    assert found["failed"] == {"fails": "ValueError: no such kernel"}
    assert found["left_out"] == ["attack"]
    assert found["verdicts"]["small"]["label"] == 0


@pytest.mark.slow
def test_every_command_runs(script: ModuleType, words: list[str], tmp_path: Path) -> None:
    assert script.main([*words, "--only", "commands"]) == 0
    assert {"train", "detect", "attack", "evaluate", "motivation", "certify"} <= json.loads(
        (tmp_path / "gpu.json").read_text()
    )["commands"].keys()


def test_a_device_that_is_not_there_and_a_step_that_is_none_end_it_in_a_line(
    script: ModuleType, words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for more, said in (
        (["--device", "nosuch"], "device 'nosuch' cannot be used"),
        (["--only", "dance"], "dance: choose"),
    ):
        with pytest.raises(SystemExit):
            script.main([*words, *more])
        assert said in capsys.readouterr().err
    assert not (tmp_path / "gpu.json").exists()


def test_what_takes_too_long_is_ended_and_named(
    script: ModuleType, words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def sleeps(_: object) -> None:
        time.sleep(20)

    monkeypatch.setattr(script, "STEPS", ((sleeps, 0),))
    assert script.main([*words, "--seconds", "0.2"]) == 1
    assert json.loads((tmp_path / "gpu.json").read_text())["failed"] == {"sleeps": "TimeoutError: no time is left"}
