"""Every file in results/ is whole; a damaged one is named; converting a file of version 0.1.0 loses nothing."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from twinlatent.errors import TwinlatentError
from twinlatent.evaluation.results.check import check_file, convert_file, result_files
from twinlatent.evaluation.results.records import read_json, read_records

RESULTS = Path(__file__).resolve().parents[3] / "results"
FILES = result_files([RESULTS])
OF_RECORDS = [path for path in FILES if str(check_file(path)).endswith("records")]
AS_OLD = [path for path in OF_RECORDS if '"detector": "' not in path.read_text(encoding="utf-8")]
"""Those that keep nothing of a whole run that version 0.1.0 could not keep."""
SINCE_0_1_0 = ("asked", "reused", "substitute")


def test_everything_in_results_is_whole_and_nothing_has_the_old_form() -> None:
    said = [check_file(path) or "" for path in FILES]
    assert "" not in said
    assert len(OF_RECORDS) > 30
    assert sum(" checks" in one for one in said) == len(list(RESULTS.glob("checks/*.json")))
    assert [one for one in said if "convert" in one] == []


def test_converting_a_file_of_version_0_1_0_loses_nothing(tmp_path: Path) -> None:
    path, before = tmp_path / "old.json", 0
    assert len(AS_OLD) > 30
    for source in AS_OLD:
        records = read_records(source)
        old = [record.model_dump() for record in records]
        if not any(one[name] for one in old for name in SINCE_0_1_0):
            old = [{name: value for name, value in one.items() if name not in SINCE_0_1_0} for one in old]
        path.write_text(json.dumps(old, indent=2))
        before += path.read_text().count("\n")
        assert read_records(path) == records
        assert convert_file(path) == f"{len(records)} records, shortened"
        assert read_records(path) == records
        assert path.read_bytes() == source.read_bytes()
    assert sum(source.read_text().count("\n") for source in AS_OLD) < before / 10


def test_a_converted_file_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "new.json"
    path.write_text(json.dumps(read_json(OF_RECORDS[0])))  # the same, written otherwise
    before = path.read_bytes()
    assert convert_file(path) == f"{len(read_records(OF_RECORDS[0]))} records, left as it is"
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("mnist-mim.json", '"value": 0.9848', '"value": 0.9', r"runs\.0\.rows\.0: value 0.9 lies outside"),
        ("checks/cats-dogs-mim.json", '"pass"', '"passed"', "check 0: field 'status'.*found 'passed'"),
        ("encoder_step.json", '"speedup": 2.226', '"speedup": -1', "field 'speedup'"),
        ("classes.json", '"batch": 32', '"batch": 0', "field 'batch'"),
        ("export.json", '"label": 0', '"label": -1', r"field 'models\.0\.differences"),
        ("classes.json", '"step_ratio"', '"steps"', r"field 'by_classes\.0\."),
        ("serve.json", '"lost": 0', '"lost": -1', "field 'lost'"),
        ("workers.json", '"workers": 2', '"workers": 1', "field 'workers'"),
        ("release.json", '"tests": ', '"tests": -', "field 'tests'"),
        ("judges.json", '"runs": [', '"runs": [,', "not JSON"),
    ],
)
def test_a_damaged_file_is_refused(tmp_path: Path, name: str, old: str, new: str, message: str) -> None:
    text, path = (RESULTS / name).read_text(), tmp_path / "damaged.json"
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(TwinlatentError, match=rf"damaged\.json: {message}"):
        check_file(path)


@pytest.mark.parametrize("text", ["[]", '{"format": "twinlatent results 1", "runs": []}'])
def test_a_file_without_records_is_damaged_for_everybody(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(text)
    for read in (check_file, convert_file, read_records):
        with pytest.raises(TwinlatentError, match=r"a\.json: holds no record"):
            read(path)
    assert path.read_text() == text


@pytest.mark.parametrize("text", ['{"anything": 1}', "7", '{"preset": "smoke", "seed": 0}'])
def test_what_is_no_result_is_told_from_what_is_damaged(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.json").write_text(text)
    assert (check_file(tmp_path / "a.json"), convert_file(tmp_path / "a.json")) == (None, None)


@pytest.mark.parametrize("mark", ['{"cases": []}', '{"label_rule": 1}', '{"milliseconds": {}}',
                                  '{"format": "twinlatent results 1"}', '[{"finding": 1}]', "[7]"])  # fmt: skip
def test_what_has_the_mark_of_a_result_must_be_whole(tmp_path: Path, mark: str) -> None:
    (tmp_path / "a.json").write_text(mark)
    with pytest.raises(TwinlatentError, match=r"a\.json: "):
        check_file(tmp_path / "a.json")


def test_an_evaluations_folder_stands_for_its_files_if_asked_to(tmp_path: Path) -> None:
    for name in ("run/evaluation.npz", "run/model.json", "run/results.json", "run/asked.json", "cells/results.json",
                 ".hidden/a.json", ".a.json.twinlatent-1-abcdefgh.json", "b.txt"):  # fmt: skip
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()

    def found(*names: str, **options: bool) -> list[str]:
        files = result_files([tmp_path / name for name in names], **options)
        return [path.relative_to(tmp_path).as_posix() for path in files]

    files = ["run/asked.json", "run/model.json", "run/results.json"]
    assert found("") == found("", "run") == ["cells/results.json", *files]
    assert sorted(found("", whole=True)) == ["cells/results.json", "run", "run/asked.json"]
    assert found("run/model.json", whole=True) == ["run/model.json"]


def test_a_path_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(TwinlatentError, match=r"b: no such file or folder"):
        result_files([tmp_path, tmp_path / "b"])


def test_reading_results_needs_no_torch() -> None:
    program = "import sys, twinlatent.evaluation.results.check; raise SystemExit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_a_folder_without_files_is_named(tmp_path: Path) -> None:
    with pytest.raises(TwinlatentError, match=r"no \.json file"):
        result_files([tmp_path])
