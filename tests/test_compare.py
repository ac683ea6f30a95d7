"""scripts/compare.py: detectors on the same images; what is done is kept, and another file is measured anew."""

import importlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from twinlatent.data import Split
from twinlatent.evaluation.results import CERTIFIED, Record, read_records
from twinlatent.method.detector import Detector

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def script(fewer_steps: Callable, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    fewer_steps(monkeypatch, 10)
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    return importlib.import_module("compare")


def of(records: list[Record], name: str, metric: str) -> list[Record]:
    return [r for r in records if r.metric == metric and r.budget.startswith(f"compared: {name} by: ")]


@pytest.mark.slow
def test_it_measures_each_once_and_anew_when_its_file_is_another(
    script: ModuleType,
    digits: Split,
    hardened: Callable[[str], Detector],
    trained_detector: Detector,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first, out = tmp_path / "first.safetensors", tmp_path / "floors-digits.json"
    hardened("d(16) | z(2,2)").save(first)
    asked = {"epsilon": [0.05], "images": 2, "steps": 2, "folder": tmp_path / "kept"}
    script.main("digits", out, [f"first={first}"], **asked)
    records = list(read_records(out))
    test = digits.test
    right = (hardened("d(16) | z(2,2)").detect(test.images).label == test.labels).float().mean().item()
    (accuracy,) = of(records, "first", "accuracy")
    assert (accuracy.value, accuracy.n) == (pytest.approx(right, abs=1e-6), len(test))
    floors, ceilings = of(records, "first", "sr@5"), of(records, "first", CERTIFIED)
    assert [r.epsilon for r in floors] == [r.epsilon for r in ceilings] == [0.05]
    assert all(floor.value <= ceiling.value for floor, ceiling in zip(floors, ceilings, strict=True))
    assert {r.n for r in floors + ceilings} == {2}

    script.main("digits", out, [f"first={first}", f"second={first}"], **asked)
    again = list(read_records(out))
    assert again[: len(records)] == records
    assert len(again) == 2 * len(records)

    script.main("digits", out, [f"first={first}"], **(asked | {"images": 3}))
    assert {r.n for r in of(list(read_records(out)), "first", "sr@5")} == {3}

    trained_detector.save(first)
    script.main("digits", out, [f"first={first}"], **asked)
    (other,) = of(list(read_records(out)), "first", "accuracy")
    assert other.budget != accuracy.budget
    assert of(list(read_records(out)), "second", "accuracy") == of(again, "second", "accuracy")

    monkeypatch.setattr(tables := importlib.import_module("robust_tables"), "RESULTS", tmp_path)
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in tables.compared("digits")]
    shown = {line[0]: line[1:] for line in lines[2:]}
    assert set(shown) == {"first", "second"}
    assert shown["second"][0] == f"{accuracy.value:.3f}".removeprefix("0")
    assert shown["second"][-2] == f"{ceilings[0].value:.3f}".removeprefix("0")
    assert shown["second"][-1] == "2"


def test_a_classifier_with_rejection_is_measured_beside_them(
    script: ModuleType, digits: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.py").write_text(
        "from torch import nn\nimport torch\n\ndef net():\n    torch.manual_seed(0)\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))\n"
    )
    out = tmp_path / "floors-digits.json"
    asked = {"epsilon": [0.05], "images": 2, "steps": 2, "folder": tmp_path / "kept"}
    script.main("digits", out, [f"mine=rejecting:{tmp_path / 'mine.py'}:net"], **asked)
    records = list(read_records(out))
    assert {r.method for r in records} == {"net"}
    (accuracy,) = of(records, "mine", "accuracy")
    assert accuracy.n == len(digits.test)
    assert len(of(records, "mine", "sr@5")) == 1
    assert not of(records, "mine", CERTIFIED), "nothing is proved of a classifier"
