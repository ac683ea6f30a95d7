"""Figures say what the arrays say, stay readable in grey, and always have the same bytes."""

import re
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure

from twinlatent.errors import TwinlatentError
from twinlatent.evaluation.metrics import auc, roc_curve
from twinlatent.report import figures

GENERATOR = np.random.default_rng(0)
BENIGN, PGD, CW = GENERATOR.normal(0, 1, 60), GENERATOR.normal(2, 1, 50), GENERATOR.normal(1, 1, 50)
IMAGE = GENERATOR.random((5, 4))
ROW = figures.GridRow(IMAGE, np.clip(IMAGE + 0.2, 0, 1), "$one$", "one, passes", "two, flagged", "pgd")
ROUNDS = [{"round": i, "epsilon": 0.1, "loss_total": 9 / i, "loss_robust_kl": 1 / i, "success": 1 / i,
           "accuracy": None if i % 4 else 0.9, "seconds": 1.0} for i in range(1, 400)]  # fmt: skip

FIGURES: dict[str, Callable[[], Figure]] = {
    "roc": lambda: figures.roc({"PGD": roc_curve(BENIGN, PGD), "$C_W$": roc_curve(BENIGN, CW)}),
    "score_histograms": lambda: figures.score_histograms(BENIGN, {"PGD": PGD, "CW": CW, "MIM": CW}, 1.5),
    "image_grid": lambda: figures.image_grid([ROW, ROW]),
    "training_curves": lambda: figures.training_curves(ROUNDS),
}
each_figure = pytest.mark.parametrize("draw", FIGURES.values(), ids=FIGURES)


@pytest.mark.parametrize("suffix", ["svg", "pdf", "png"])
def test_the_same_figure_gives_the_same_bytes(tmp_path: Path, suffix: str) -> None:
    draw = FIGURES["score_histograms"]
    for name in ("one", "two"):
        figures.save(draw(), tmp_path / f"{name}.{suffix}")
    written = (tmp_path / f"one.{suffix}").read_bytes()
    assert written == (tmp_path / f"two.{suffix}").read_bytes()
    assert len(written) > 1000


@each_figure
def test_inline_svg_is_whole_deterministic_and_carries_no_date_or_foreign_address(draw: Callable[[], Figure]) -> None:
    text = figures.svg(draw())
    assert text == figures.svg(draw())
    assert text.startswith("<svg")
    ElementTree.fromstring(text)
    assert "<style" not in text
    assert "metadata" not in text
    without_namespaces = re.sub(r'\sxmlns(:\w+)?="[^"]*"', "", text)
    assert "http" not in without_namespaces


def test_ids_differ_between_figures_and_every_reference_has_its_target() -> None:
    texts = [figures.svg(draw()) for draw in FIGURES.values()]
    ids = [set(re.findall(r'\bid="([^"]+)"', text)) for text in texts]
    for own, text in zip(ids, texts, strict=True):
        assert own
        assert set(re.findall(r'(?:href="|url\()#([^")]+)', text)) <= own
    assert all(not one & other for one, other in pairwise(ids))
    assert len(set().union(*ids)) == sum(map(len, ids))


def test_legend_states_the_area_and_lines_differ_in_more_than_colour() -> None:
    axes = FIGURES["roc"]().axes[0]
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels[0] == f"PGD  AUC {auc(BENIGN, PGD):.3f}"
    assert labels[-1] == "guessing  AUC 0.500"
    many = figures.roc({str(i): roc_curve(BENIGN, PGD) for i in range(30)}).axes[0].get_lines()
    looks = [(line.get_color(), str(line._dash_pattern)) for line in many]  # type: ignore[attr-defined]
    assert len(set(looks)) == 31
    assert all(one[1] != other[1] for one, other in pairwise(looks))


def test_histograms_count_every_score_once() -> None:
    scores = np.concatenate([PGD, [1e9, -np.inf, np.inf]])
    axes = figures.score_histograms(BENIGN, {"PGD": scores}).axes[0]
    for bars in axes.patches:
        assert bars.get_data().values.sum() == pytest.approx(1)  # type: ignore[attr-defined]
    assert axes.patches[1].get_hatch()


@pytest.mark.parametrize("value", [0.0, np.inf, -np.inf])
def test_histograms_of_one_value_can_be_drawn(value: float) -> None:
    figures.svg(figures.score_histograms(np.full(3, value), {"PGD": np.full(2, value)}))


def test_difference_is_signed_and_on_one_scale() -> None:
    darker = figures.GridRow(np.full((2, 2), 0.5), np.full((2, 2), 0.1), "a", "", "", "")
    brighter = figures.GridRow(np.full((2, 2), 0.5), np.full((2, 2), 0.7), "b", "", "", "")
    panels = [axes.get_images()[0] for axes in figures.image_grid([darker, brighter]).axes]
    assert [panel.get_clim() for panel in panels[2::3]] == [pytest.approx((-0.4, 0.4))] * 2
    lightness = [panel.to_rgba(panel.get_array())[0, 0, :3].sum() for panel in panels[2::3]]
    neutral = sum(figures.DIFFERENCE_MAP(0.5)[:3])
    assert lightness[0] < neutral < lightness[1]


def test_training_curves_skip_missing_values_and_average_long_logs() -> None:
    above, below = figures.training_curves(ROUNDS).axes
    assert [line.get_label() for line in above.get_lines()] == ["total", "robust kl"]
    assert above.get_yscale() == "log"
    drawn = {str(line.get_label()): np.asarray(line.get_ydata()) for line in below.get_lines()}
    assert drawn["accuracy"] == pytest.approx(0.9)
    assert len(drawn["C1 and C2 met"]) == figures.POINTS
    short = figures.training_curves([{"round": 1, "loss_total": -1.0}, {"round": 2, "loss_total": 2.0}]).axes[0]
    assert short.get_yscale() == "linear"
    assert list(short.get_lines()[0].get_ydata()) == [-1, 2]


@each_figure
def test_drawing_leaves_matplotlib_as_it_was(draw: Callable[[], Figure]) -> None:
    before = settings()
    figures.svg(draw())
    assert settings() == before
    assert "matplotlib.pyplot" not in sys.modules


def settings() -> dict[str, Any]:
    """All of matplotlib's settings but the backend: asking for that one loads pyplot."""
    return {name: matplotlib.rcParams[name] for name in matplotlib.rcParams if name != "backend"}


@pytest.mark.parametrize("call", [lambda: figures.roc({}), lambda: figures.score_histograms(BENIGN, {}),
                                  lambda: figures.image_grid([]), lambda: figures.training_curves([])])  # fmt: skip
def test_nothing_to_draw_is_an_error(call: Callable[[], Any]) -> None:
    with pytest.raises(TwinlatentError, match="to draw: give at least one"):
        call()


def test_unknown_suffix_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TwinlatentError, match=r"\.svg, \.pdf, \.png"):
        figures.save(Figure(), tmp_path / "figure.bmp")
    assert not list(tmp_path.iterdir())
