"""A file of results says what a run has in common once, a number a row, and loses nothing."""

import json
from pathlib import Path
from typing import Any

import pytest

from twinlatent.errors import TwinlatentError
from twinlatent.evaluation.results.file import ResultsFile, packed, unpacked
from twinlatent.evaluation.results.records import Record, read_json, read_records, write_records

FLAT: dict[str, Any] = {
    "data": "mnist", "method": "twinlatent", "trained_with": "mim", "attack": "pgd", "epsilon": 0.3,
    "score": "ratio", "metric": "auc", "value": 0.98, "n": 1000, "low": 0.97, "high": 0.99, "seed": 0,
    "command": "twinlatent evaluate", "commit": "0123456789ab", "seconds": 12.5, "versions": {"numpy": "2.0"},
    "machine": "a processor", "date": "2025-01-31", "budget": "blackbox", "substitute": "f_p", "asked": None,
    "reused": None,
}  # fmt: skip
BARE = {"epsilon": None, "score": None, "low": None, "high": None, "substitute": None}
RECORDS = tuple(
    Record(**(FLAT | change))
    for change in (
        {"metric": "accuracy", "attack": "none", **BARE},  # says for itself that it has no substitute
        {},
        {"attack": "cw", "epsilon": None},
        {"value": 0.1 + 0.2, "low": None, "high": None, "budget": "standard", "seconds": 0.1},
        {"command": "another", "reused": "a third"},
        {"attack": "mim"},  # the first run again: the order stays
    )
)


def written(tmp_path: Path, **known: Any) -> Path:
    path = tmp_path / "results.json"
    write_records(path, RECORDS, **known)
    return path


def test_records_come_back_as_they_were(tmp_path: Path) -> None:
    assert read_records(written(tmp_path)) == RECORDS


def test_a_run_says_what_it_has_in_common_once_and_a_number_is_a_line(tmp_path: Path) -> None:
    path = written(tmp_path)
    lines, runs = path.read_text().splitlines(), read_json(path)["runs"]  # type: ignore[index]
    assert [len(run["rows"]) for run in runs] == [4, 1, 1]
    assert sum('"value": ' in line for line in lines) == len(RECORDS)
    assert [json.loads(line.strip().removesuffix(",")) for line in lines if '"value"' in line][1] == runs[0]["rows"][1]
    assert list(runs[0]["rows"][1]) == ["metric", "attack", "epsilon", "score", "value", "low", "high", "n"]
    assert sum("0123456789ab" in line for line in lines) == len(runs)


def test_the_same_records_give_the_same_bytes(tmp_path: Path) -> None:
    first, again = written(tmp_path), tmp_path / "again.json"
    write_records(again, read_records(first))
    assert again.read_bytes() == first.read_bytes()


def test_detector_and_settings_are_kept_above_the_rows(tmp_path: Path) -> None:
    path = written(tmp_path, detector="0123abcd", settings={"images": 100, "judges": {"seed": 0}})
    file = ResultsFile.model_validate(read_json(path))
    assert {run.detector for run in file.runs} == {"0123abcd"}
    assert file.runs[0].settings == {"images": 100, "judges": {"seed": 0}}
    assert read_records(path) == RECORDS


def test_each_row_is_named_by_its_place() -> None:
    places = [place for place, _ in unpacked(packed(record.model_dump() for record in RECORDS))]
    assert places == [*(f"runs.0.rows.{j}" for j in range(4)), "runs.1.rows.0", "runs.2.rows.0"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"format": "twinlatent results 1"', '"format": "twinlatent results 9"', "field 'format'.*results 1"),
        ('"commit"', '"comit"', r"field 'runs\.0\.commit': Field required"),
        ('"attack": "cw"', '"atack": "cw"', r"field 'runs\.0\.rows\.2\.attack': Field required"),
        ('"low": 0.97', '"low": 0.985', r"runs\.0\.rows\.1: value 0.98 lies outside its interval"),
        ('"value": 0.98', '"value": NaN', r"field 'runs\.0\.rows\.0\.value': Input should be a finite number"),
        ('"n": 1000', '"n": 0', r"runs\.0\.rows\.0: field 'n'.*found 0"),
        ('"runs"', '"run"', "expected an object with format and runs"),
    ],
)
def test_a_damaged_file_is_refused_in_a_line_with_file_and_row(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    path = written(tmp_path)
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(TwinlatentError, match=message) as caught:
        read_records(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)
