"""`twinlatent results`: whole files are named with what they hold, damaged ones with what is wrong; old ones shrink."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from twinlatent.evaluation.results import read_records

RESULTS = Path(__file__).resolve().parents[2] / "results"


@pytest.fixture(autouse=True)
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with some of ours."""
    monkeypatch.chdir(tmp_path)
    for name in ("mnist-mim.json", "encoder_step.json", "checks/cats-dogs-mim.json"):
        Path("results", name).parent.mkdir(exist_ok=True, parents=True)
        shutil.copy(RESULTS / name, Path("results", name))
    return Path("results")


def test_whole_files_are_named_with_what_they_hold(ok: Callable) -> None:
    said = ok("results", "check").out
    assert said.splitlines() == [
        "results/checks/cats-dogs-mim.json: 12 checks",
        "results/encoder_step.json: a benchmark",
        "results/mnist-mim.json: 171 records",
    ]
    assert ok("results", "check", "results/mnist-mim.json").out == said.splitlines(keepends=True)[-1]


def test_a_damaged_file_is_named_and_the_others_are_read(results: Path, program: Callable) -> None:
    path = results / "encoder_step.json"
    path.write_text(path.read_text().replace('"threads": 1', '"threads": 0'))
    done = program("results", "check", results)
    assert done.status == 1
    assert "results/encoder_step.json: field 'threads': " in done.out
    assert "results/mnist-mim.json: 171 records" in done.out
    assert done.err == "twinlatent: 1 of 3 files are damaged, such as results/encoder_step.json\n"


def test_old_files_are_shortened_and_nothing_else_is(results: Path, ok: Callable, program: Callable) -> None:
    records, path = read_records(results / "mnist-mim.json"), results / "old.json"
    path.write_text(json.dumps([record.model_dump() for record in records], indent=2))
    assert "convert" in ok("results", "check", path).out
    assert ok("results", "convert", path).out == "results/old.json: 171 records\n"
    assert path.read_bytes() == (results / "mnist-mim.json").read_bytes()
    before = (results / "encoder_step.json").read_bytes()
    assert (
        "expected an object with format and runs"
        in program("results", "convert", results / "encoder_step.json").refusal
    )
    assert (results / "encoder_step.json").read_bytes() == before


def test_a_folder_without_results_is_refused(program: Callable) -> None:
    Path("empty").mkdir()
    assert program("results", "check", "empty").refusal == "empty: no .json file of results there"
