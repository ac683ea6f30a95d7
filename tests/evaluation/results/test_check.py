"""Every file in results/ is whole; a damaged one is named; converting a file of version 0.1.0 loses nothing."""

import json
from pathlib import Path

import pytest

from twinlatent.errors import TwinlatentError
from twinlatent.evaluation.results.check import check_file, convert_file, result_files
from twinlatent.evaluation.results.records import read_json, read_records

RESULTS = Path(__file__).resolve().parents[3] / "results"
FILES = result_files([RESULTS])
OF_RECORDS = [path for path in FILES if check_file(path).endswith("records")]
SINCE_0_1_0 = ("asked", "reused", "substitute")


def test_everything_in_results_is_whole_and_nothing_has_the_old_form() -> None:
    said = [check_file(path) for path in FILES]
    assert len(OF_RECORDS) > 30
    assert sum(" checks" in one for one in said) == len(list(RESULTS.glob("checks/*.json")))
    assert [one for one in said if "convert" in one] == []


def test_converting_a_file_of_version_0_1_0_loses_nothing(tmp_path: Path) -> None:
    path, before = tmp_path / "old.json", 0
    for source in OF_RECORDS:
        records = read_records(source)
        old = [record.model_dump() for record in records]
        if not any(one[name] for one in old for name in SINCE_0_1_0):
            old = [{name: value for name, value in one.items() if name not in SINCE_0_1_0} for one in old]
        path.write_text(json.dumps(old, indent=2))
        before += path.read_text().count("\n")
        assert read_records(path) == records
        assert convert_file(path) == len(records)
        assert read_records(path) == records
        assert path.read_bytes() == source.read_bytes()
    assert sum(source.read_text().count("\n") for source in OF_RECORDS) < before / 10


def test_a_converted_file_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "new.json"
    path.write_text(json.dumps(read_json(OF_RECORDS[0])))  # the same, written otherwise
    before = path.read_bytes()
    assert convert_file(path) == len(read_records(OF_RECORDS[0]))
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("mnist-mim.json", '"value": 0.9848', '"value": 0.9', r"runs\.0\.rows\.0: value 0.9 lies outside"),
        ("checks/cats-dogs-mim.json", '"pass"', '"passed"', "check 0: field 'status'.*found 'passed'"),
        ("encoder_step.json", '"speedup": 1.744', '"speedup": -1', "field 'speedup'"),
        ("judges.json", '"runs": [', '"runs": [,', "not JSON"),
    ],
)
def test_a_damaged_file_is_refused(tmp_path: Path, name: str, old: str, new: str, message: str) -> None:
    text, path = (RESULTS / name).read_text(), tmp_path / "damaged.json"
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(TwinlatentError, match=rf"damaged\.json: {message}"):
        check_file(path)


@pytest.mark.parametrize("text", ["[]", '{"format": "twinlatent results 1", "runs": []}', '{"anything": 1}', "7"])
def test_what_holds_no_results_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(TwinlatentError, match=r"a\.json: "):
        check_file(tmp_path / "a.json")


def test_a_folder_without_files_is_named(tmp_path: Path) -> None:
    with pytest.raises(TwinlatentError, match=r"no \.json file"):
        result_files([tmp_path])
