"""scripts/shift.py and its tables: what is measured, kept and shown."""

import importlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from twinlatent.evaluation.results.records import read_records
from twinlatent.evaluation.shift import CHANGES
from twinlatent.method.detector import Detector
from twinlatent.zoo import RETIRED

SCRIPTS = Path(__file__).resolve().parent.parent / "scripts"


@pytest.fixture(scope="module")
def shift(script_of: Callable[[str], ModuleType]) -> ModuleType:
    return script_of("shift")


@pytest.fixture(scope="module")
def tables(shift: ModuleType) -> ModuleType:
    return importlib.import_module("shift_tables")


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.split("|")[1:-1]]


def test_every_shipped_detector_was_measured_on_500_test_images_or_all(tables: ModuleType) -> None:
    zoo = {path.stem for path in (SCRIPTS.parent / "twinlatent" / "zoo").glob("*.safetensors")}
    assert set(tables.shifted()) == zoo | set(RETIRED)
    for name, records in tables.shifted().items():
        assert tables.of(records, "none").n == (400 if name.startswith("cats-dogs") else 500)


def test_the_table_shows_the_records(tables: ModuleType) -> None:
    rows = [cells(line) for line in tables.mild_changes()]
    assert rows[0][4:] == list(CHANGES)
    records = read_records(SCRIPTS.parent / "results" / "shift" / "mnist-mim.json")
    place = next(k for k, row in enumerate(rows) if row[0] == "`mnist-mim`")
    for row, metric, asked in ((rows[place], "flagged_shift", 0.05), (rows[place + 1], "accuracy_shift", None)):
        found = {r.attack: r.value for r in records if (r.metric, r.asked, r.budget) == (metric, asked, "mild changes")}
        numbers = [f"{found[f'rotation {strength}']:.3f}".removeprefix("0") for strength in (1, 2, 3)]
        assert row[-1].split() == numbers
        assert row[3] == f"{found['none']:.3f}".removeprefix("0")


def test_cards_show_the_records(tables: ModuleType) -> None:
    for name in set(tables.shifted()) - set(RETIRED):
        card = (SCRIPTS.parent / "twinlatent" / "zoo" / f"{name}.md").read_text(encoding="utf-8")
        assert "\n".join(tables.mild_card(name)) in card
    assert tables.mild_card("nosuch") == []


def test_test_images_are_recorded_once_and_selection_images_printed_alone(
    shift: ModuleType, trained_detector: Detector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    model, records = tmp_path / "small", tmp_path / "records"
    trained_detector.save(model / "detector.safetensors")
    monkeypatch.setattr(shift, "FOLDER", records)
    shift.main([str(model)], part="selection", images=10, again=False)
    assert not records.exists()
    assert "| as they are | blur |" in capsys.readouterr().out
    shift.main([str(model)], part="test", images=10, again=False)
    assert {r.n for r in read_records(records / "small.json") if r.budget == "mild changes"} == {10}
    capsys.readouterr()
    shift.main([str(model)], part="test", images=10, again=False)
    assert capsys.readouterr().out == ""
