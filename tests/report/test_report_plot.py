"""A report draws the numbers of its records, and its table holds those of its text."""

import re
from collections.abc import Callable
from dataclasses import replace
from html import unescape

import numpy as np
import pytest

from twinlatent.errors import TwinlatentError
from twinlatent.evaluation.results.report import Report

HOSTILE = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def full(make_full_run: Callable[..., Report], make_proved: Callable[..., Report]) -> Report:
    return make_proved(make_full_run())


def test_it_draws_success_over_radii_with_floor_and_ceiling_and_a_histogram_an_attack(full: Report) -> None:
    figure = full.plot()
    success, *histograms = figure.axes
    assert len(histograms) == len(full.suspicion)
    assert [axes.get_title() for axes in histograms] == [name.upper() for name in full.suspicion]
    lines = [line.get_xydata().tolist() for line in success.get_lines()]  # type: ignore[union-attr]
    worst = [r for r in full.records if r.attack == "worst"]
    proved = [r for r in full.records if r.metric == "sr_certified" and r.budget.endswith("attacked images")]
    floors = [[[r.epsilon, r.value] for r in worst if r.metric == f"sr@{k}"] for k in (1, 5, 10)]
    ceilings = [[[r.epsilon, r.value] for r in proved if r.asked == k / 100] for k in (1, 5, 10)]
    assert sorted(lines) == sorted([*floors, *ceilings])
    assert "proved" in success.get_title()


def test_what_was_not_measured_is_not_drawn(make_full_run: Callable[..., Report]) -> None:
    run = make_full_run()
    black_box = replace(run, records=tuple(r for r in run.records if not r.metric.startswith("sr")))
    assert len(black_box.plot().axes) == len(run.suspicion)
    attacked = run.plot().axes[0]
    assert len(attacked.get_lines()) == 3
    assert "proved" not in attacked.get_title()


def test_its_table_holds_the_numbers_of_its_text(full: Report) -> None:
    rows = re.findall(r"<tr>(.*?)</tr>", full._repr_html_(), re.DOTALL)[1:]
    said = [[unescape(text) for text in re.findall(r"<td[^>]*>(.*?)</td>", row)] for row in rows]
    text = str(full)
    for name, value, low, high, _ in said:
        assert f"{name} {value} [{low}, {high}]" in text
    assert len(said) == len(re.findall(r"\[[\d.]+, [\d.]+\]", text))
    assert text.splitlines()[-1].strip() in unescape(full._repr_html_())


def test_hostile_names_are_escaped(make_run: Callable[..., Report]) -> None:
    run = make_run()
    hostile = replace(run, model=run.model.model_copy(update={"method": HOSTILE}))
    assert HOSTILE not in hostile._repr_html_()
    assert "&lt;script&gt;" in hostile._repr_html_()
    assert len(hostile._repr_html_()) < 5_000


def test_scores_that_are_no_numbers_are_one_clear_line(make_run: Callable[..., Report]) -> None:
    run = make_run()
    with pytest.raises(TwinlatentError, match="benign_suspicion is empty or holds NaN"):
        replace(run, benign_suspicion=np.array([])).plot()
