"""The paper's numbers, spot by spot against the printed tables, and when they are comparable at all."""

from collections import Counter
from typing import Any

import pytest

from twinlatent.evaluation.results.records import MISCLASSIFIED_ONLY, Record
from twinlatent.report.paper import COLUMNS, PAPER, paper_value

ABOUT: dict[str, Any] = {
    "data": "mnist", "method": "twinlatent", "trained_with": "mim", "attack": "cw", "epsilon": None,
    "score": "vulnerable", "metric": "auc", "value": 0.5, "n": 10, "low": None, "high": None, "seed": 0,
    "command": "twinlatent", "commit": "unknown", "seconds": 1.0, "versions": {}, "machine": "unknown",
    "date": "2025-01-31", "budget": "blackbox",
}  # fmt: skip
SECTION3: dict[str, Any] = {"method": "motivation", "trained_with": "none", "score": None, "budget": "section3"}


def asked(**fields: Any) -> float | None:
    return paper_value(Record(**ABOUT | fields))


@pytest.mark.parametrize(
    ("fields", "printed"),
    [
        ({}, 0.97),
        ({"method": "gong", "score": "binary"}, 0.64),
        ({"data": "fashion-mnist5", "attack": "pgd", "method": "gong", "score": "binary"}, 0.79),
        ({"data": "fashion-mnist5", "attack": "mim", "trained_with": "cw"}, 0.99),
        ({"metric": "accuracy", "attack": "none", "score": None}, 0.97),
        ({"metric": "accuracy", "attack": "none", "score": None, "data": "cats-dogs"}, 0.96),
        ({"metric": "accuracy", "attack": "none", "score": None, "method": "plain", "trained_with": "none"}, 0.99),
        ({"metric": "sr_c1c2", "attack": "cw_w", "budget": "standard"}, 0.32),
        ({"metric": "l2_rms255", "attack": "cw_w", "budget": "paper", "data": "fashion-mnist5"}, 43.34),
        (SECTION3 | {"metric": "test_xb_accuracy", "attack": "fgsm"}, 0.37),
        (SECTION3 | {"metric": "test_xv_accuracy", "attack": "mim"}, 0.73),
        (SECTION3 | {"metric": "test_xv_accuracy", "data": "fashion-mnist5"}, 1.0),
    ],
)
def test_a_record_finds_its_printed_number(fields: dict[str, Any], printed: float) -> None:
    assert asked(**fields) == printed


@pytest.mark.parametrize(
    "fields",
    [
        {"score": "ratio"},
        {"data": "folder:mnist"},
        {"method": "gong", "score": "confidence"},
        {"method": "rce", "score": "non-me", "trained_with": "none"},
        {"budget": "blackbox at 0.3"},
        {"budget": f"blackbox{MISCLASSIFIED_ONLY}"},
        {"data": "digits"},
        {"trained_with": "pgd"},
        {"metric": "tpr@5"},
        {"metric": "sr_c1c2", "attack": "cw_w", "score": "ratio"},
        {"metric": "sr_c1c2", "attack": "mim_w", "epsilon": 0.3},
        {"metric": "test_xb_accuracy"},
        SECTION3 | {"metric": "control_noise_accuracy"},
    ],
)
def test_what_the_paper_did_not_measure_has_none(fields: dict[str, Any]) -> None:
    assert asked(**fields) is None


def test_the_tables_are_whole_and_agree_with_the_papers_text() -> None:
    assert Counter(key[4] for key in PAPER) == {
        "test_xb_accuracy": 8,
        "test_xv_accuracy": 8,
        "accuracy": 9,
        "auc": 32,
        "sr_c1c2": 4,
        "l2_rms255": 4,
    }
    cw = {data: [PAPER[data, "twinlatent", trained, "cw_w", "l2_rms255"] for d, trained in COLUMNS if d == data]
          for data in ("mnist", "fashion-mnist5")}  # fmt: skip
    assert sum(cw["mnist"]) / 2 == pytest.approx(46.66, abs=0.01)
    assert sum(cw["fashion-mnist5"]) / 2 == pytest.approx(40.5, abs=0.01)


def test_the_mapping_is_frozen() -> None:
    with pytest.raises(TypeError):
        PAPER["mnist", "twinlatent", "mim", "none", "accuracy"] = 1.0  # type: ignore[index]
