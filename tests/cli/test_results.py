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
    assert done.err == "twinlatent: 1 of 3 is damaged: results/encoder_step.json\n"


def test_old_files_are_shortened_and_nothing_else_is(results: Path, ok: Callable) -> None:
    records, path = read_records(results / "mnist-mim.json"), results / "old.json"
    path.write_text(json.dumps([record.model_dump() for record in records], indent=2))
    (results / "training.json").write_text("{}")
    before = {file: file.read_bytes() for file in results.rglob("*.json") if file != path}
    assert "convert" in ok("results", "check", path).out
    assert ok("results", "convert", results).out.splitlines() == [
        "results/checks/cats-dogs-mim.json: 12 checks, left as it is",
        "results/encoder_step.json: a benchmark, left as it is",
        "results/mnist-mim.json: 171 records, left as it is",
        "results/old.json: 171 records, shortened",
        "results/training.json: no result, left out",
    ]
    assert path.read_bytes() == (results / "mnist-mim.json").read_bytes()
    assert {file: file.read_bytes() for file in before} == before


def test_a_damaged_file_does_not_keep_the_others_from_being_shortened(results: Path, program: Callable) -> None:
    whole, text = (
        results / "mnist-mim.json",
        json.dumps([r.model_dump() for r in read_records(RESULTS / "table1.json")]),
    )
    for name, written in (("a.json", "[]"), ("b.json", text.replace('"mnist"', "0", 1)), ("c.json", text)):
        Path(name).write_text(written)
    done = program("results", "convert", "a.json", "b.json", "c.json", whole)
    first, second, third, fourth = done.out.splitlines()
    assert (first, third) == ("a.json: holds no record", "c.json: 64 records, shortened")
    assert second.startswith("b.json: record 0: field 'data': ")
    assert fourth.endswith("left as it is")
    assert (done.status, done.err) == (1, "twinlatent: 2 of 4 are not converted: a.json, b.json\n")
    assert Path("b.json").read_text() == text.replace('"mnist"', "0", 1)


@pytest.mark.parametrize("command", ["check", "convert"])
def test_a_path_that_is_not_there_is_no_damaged_file(command: str, program: Callable) -> None:
    assert program("results", command, "results", "gone.json").refusal == "gone.json: no such file or folder"


@pytest.mark.parametrize("command", ["check", "convert"])
def test_settings_alone_are_no_result(command: str, program: Callable) -> None:
    Path("training.json").write_text('{"rounds": 40}')
    done = program("results", command, "training.json")
    assert done.out == "training.json: no result, left out\n"
    assert (done.status, done.err) == (1, "twinlatent: no result among training.json\n")


def test_a_folder_without_results_is_refused(program: Callable) -> None:
    Path("empty").mkdir()
    assert program("results", "check", "empty").refusal == "empty: no .json file of results there"
