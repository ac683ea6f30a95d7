"""Records survive the disk and bad files are named."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from twinlatent.errors import TwinlatentError
from twinlatent.evaluation.results.records import Record, false_alarms, read_records
from twinlatent.report.select import misclassified_only

FLAT: dict[str, Any] = {
    "data": "mnist", "method": "twinlatent", "trained_with": "mim", "attack": "pgd", "epsilon": 0.3,
    "score": "vulnerable", "metric": "auc", "value": 0.98, "n": 1000, "low": 0.97, "high": 0.99, "seed": 0,
    "command": "twinlatent evaluate", "commit": "0123456789ab", "seconds": 12.5, "versions": {"numpy": "2.0"},
    "machine": "a processor", "date": "2025-01-31", "budget": "blackbox", "asked": None,
    "substitute": None, "reused": None,
}  # fmt: skip


def changed(**fields: Any) -> dict[str, Any]:
    return {**FLAT, **fields}


def test_a_file_of_version_0_1_0_is_read(tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text(json.dumps([FLAT, changed(attack="mim")]))
    assert read_records(tmp_path / "results.json") == (Record(**FLAT), Record(**changed(attack="mim")))


def test_a_budget_of_version_0_1_0_is_read_by_its_name_of_today(tmp_path: Path) -> None:
    """Else pages would mix numbers over misclassified images with those over all."""
    (tmp_path / "results.json").write_text(json.dumps([changed(budget="blackbox at 0.3, misread only")]))
    (found,) = read_records(tmp_path / "results.json")
    assert found.budget == "blackbox at 0.3, misclassified only"
    assert misclassified_only(found)


@pytest.mark.parametrize("value", [math.nan, math.inf, -0.1, 1.1])
def test_a_value_must_be_a_share(value: float) -> None:
    with pytest.raises(ValidationError):
        Record(**changed(value=value, low=None, high=None))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"method": "two\nlines"}, r"record 1: field 'method'.*printable characters on one line.*found 'two\\nlines'"),
        ({"attack": " "}, "record 1: field 'attack'"),
        ({"score": "x" * 81}, "record 1: field 'score'"),
        ({"metric": "tpr@2"}, "record 1: field 'metric'"),
        ({"value": "high"}, "record 1: field 'value'.*found 'high'"),
        ({"n": 0}, "record 1: field 'n'"),
        ({"epsilon": 1.5}, "record 1: field 'epsilon'"),
        ({"date": "yesterday"}, "record 1: field 'date'"),
        ({"note": "hello"}, "record 1: field 'note': Extra inputs"),
        ({"low": 0.99}, r"record 1: value 0.98 lies outside its interval \[0.99, 0.99\]"),
        ({"low": None}, "record 1: low and high come together"),
        ({"asked": 0.05}, "record 1: asked is of fpr, sr_certified, flagged_shift alone; auc has 0.05"),
        ({"metric": "fpr", "asked": 1.0}, "record 1: field 'asked'"),
        ({"value": 1.5, "low": None, "high": None}, r"auc is a share"),
    ],
)
def test_a_bad_record_is_named_by_file_number_and_field(tmp_path: Path, fields: dict[str, Any], message: str) -> None:
    path = tmp_path / "results.json"
    path.write_text(json.dumps([FLAT, changed(**fields)]))
    with pytest.raises(TwinlatentError, match=message) as caught:
        read_records(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("text", "message"), [("{", "not JSON"), ("{}", "JSON list of records"), ("[1]", "record 0"),
                                               ('[{"data": "mnist"}]', "'method': Field required")])  # fmt: skip
def test_a_bad_file_is_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "results.json").write_text(text)
    with pytest.raises(TwinlatentError, match=message):
        read_records(tmp_path / "results.json")


def test_not_a_number_is_refused_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text(json.dumps([changed(value=math.nan, low=None, high=None)]))
    with pytest.raises(TwinlatentError, match="field 'value': Input should be a finite number"):
        read_records(tmp_path / "results.json")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(TwinlatentError, match=r"results\.json: No such file"):
        read_records(tmp_path / "results.json")


def flagged(value: float, asked: float | None) -> Record:
    return Record(**changed(metric="fpr", attack="none", epsilon=None, value=value, low=None, high=None, asked=asked))


@pytest.mark.parametrize(
    ("asked", "fpr", "found"),
    [
        ((0.01, 0.05, 0.1), 0.05, 0.05),
        ((0.1, 0.05, 0.01), 0.05, 0.05),
        ((0.01, 0.05, 0.1), 0.1, 0.1),
        ((1 / 15, 0.1), 0.05, 1 / 15),
        ((1 / 15, 0.1), 1 / 15, 1 / 15),
        ((0.01,), 0.05, None),
        ((None,), 0.05, None),
        ((), 0.05, None),
    ],
)
def test_false_alarms_are_those_of_the_rate_that_is_meant(
    asked: tuple[float | None, ...], fpr: float, found: float | None
) -> None:
    records = [Record(**FLAT), *(flagged(0.02, rate) for rate in asked)]
    record = false_alarms(records, fpr)
    assert (record is None) == (found is None and asked != (None,))
    assert record is None or (record.metric, record.asked) == ("fpr", found)


def test_records_that_do_not_say_the_rate_are_read(tmp_path: Path) -> None:
    old = {name: value for name, value in changed(metric="fpr", attack="none").items() if name != "asked"}
    (tmp_path / "results.json").write_text(json.dumps([old]))
    (record,) = read_records(tmp_path / "results.json")
    assert record.asked is None
    assert false_alarms([record]) == record
