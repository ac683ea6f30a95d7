"""The page of Table 1 and Figure 2: its numbers, the paper's beside them, and its pictures."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from twinlatent.errors import TwinlatentError
from twinlatent.evaluation.results.records import Record
from twinlatent.motivation.experiment import Vulnerability
from twinlatent.recipes import shipped
from twinlatent.report.vulnerable import vulnerability, vulnerable_grid, write_figure, write_vulnerability

ABOUT: dict[str, Any] = {
    "data": "mnist", "method": "motivation", "trained_with": "none", "attack": "cw", "epsilon": None, "score": None,
    "n": 1000, "low": None, "high": None, "seed": 0, "command": "twinlatent <motivation>", "commit": "unknown",
    "seconds": 1.0, "versions": {}, "machine": "unknown", "date": "2025-01-31", "budget": "section3, 7 images",
}  # fmt: skip
NUMBERS = {
    "test_xb_accuracy": 0.876,
    "test_xv_accuracy": 0.543,
    "control_noise_accuracy": 0.123,
    "attack_success": 0.75,
}


@pytest.fixture
def cell() -> Vulnerability:
    generator = np.random.default_rng(0)
    return Vulnerability(
        records=tuple(Record(**ABOUT, metric=metric, value=value) for metric, value in NUMBERS.items()),
        settings=shipped("mnist").motivation_settings("cw"),
        images=generator.integers(0, 256, (5, 8, 8), dtype=np.uint8),
        labels=np.array(["0", "0", "0", "a<b", "a<b"]),
        true=np.array(["1", "2", "3", "4", "5"]),
    )


def test_a_page_has_its_numbers_beside_the_papers(cell: Vulnerability) -> None:
    text = vulnerability([cell])
    for shown in ("87.6", "54.3", "12.3", "75.0", "98", "96"):
        assert f"{shown}\u00a0%" in text, shown
    assert "twinlatent &lt;motivation&gt;" in text
    assert "7 images" in text


def test_a_page_of_several_cells_has_a_row_and_a_picture_each(cell: Vulnerability) -> None:
    other = replace(cell, records=tuple(r.model_copy(update={"data": "fashion-mnist5"}) for r in cell.records))
    text = vulnerability([cell, other])
    assert text.count("<svg") == 2
    assert "fashion-mnist5, CW-L2" in text
    with pytest.raises(TwinlatentError, match="no cell of Table 1"):
        vulnerability([])


def test_a_figure_has_a_row_a_label_and_the_true_class_below(cell: Vulnerability) -> None:
    figure = vulnerable_grid(cell)
    shown = [axes for axes in figure.axes if axes.images]
    assert [axes.get_xlabel() for axes in shown] == ["1", "2", "3", "4", "5"]
    assert [axes.get_ylabel() for axes in figure.axes if axes.get_ylabel()] == ["0", "a<b"]
    assert all(
        np.array_equal(axes.images[0].get_array(), image) for axes, image in zip(shown, cell.images, strict=True)
    )


def test_files_are_the_same_each_time(cell: Vulnerability, tmp_path: Path) -> None:
    written = [(write_figure(cell, tmp_path / name).read_bytes(),
                write_vulnerability([cell], tmp_path / name / "page.html").read_bytes())
               for name in ("a", "b")]  # fmt: skip
    assert written[0] == written[1]
