"""Figures say what the arrays say, stay readable in grey, and always have the same bytes."""

import re
import sys
from collections.abc import Callable
from dataclasses import replace
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
from twinlatent.evaluation.results.pictures import LatentPoints, PairGrid
from twinlatent.report import figures
from twinlatent.report.latent_plot import embedded

GENERATOR = np.random.default_rng(0)
BENIGN, PGD, CW = GENERATOR.normal(0, 1, 60), GENERATOR.normal(2, 1, 50), GENERATOR.normal(1, 1, 50)
IMAGE = GENERATOR.random((5, 4))
ROW = figures.GridRow(IMAGE, np.clip(IMAGE + 0.2, 0, 1), "$one$", "one, passes", "two, flagged", "pgd")
ROUNDS = [{"round": i, "epsilon": 0.1, "loss_total": 9 / i, "loss_robust_kl": 1 / i, "success": 1 / i,
           "accuracy": None if i % 4 else 0.9, "seconds": 1.0} for i in range(1, 400)]  # fmt: skip
RADII = np.array([0.3, 0.1, 0.2])
CURVE = (RADII, RADII, RADII - 0.05, RADII + 0.05)
CLOUD = LatentPoints(GENERATOR.normal(size=(30, 4)), GENERATOR.normal(size=(30, 3)), np.arange(30) > 17, "$three$")


def a_grid(columns: tuple[str, ...] = ("mim_w 0.2", "mim_w 0.4", "cw_w"), k: int = 3) -> PairGrid:
    """Every second attacked image is misclassified, the first column is flagged."""
    m, generator = len(columns), np.random.default_rng(1)
    images, true = generator.random((m, k, 5, 4)), np.array([f"class {i}" for i in range(k)])
    predicted = np.array([[name if i % 2 else "another" for i, name in enumerate(true.tolist())]] * m)
    flagged = np.array([[column == 0] * k for column in range(m)])
    return PairGrid(0.05, generator.random((k, 5, 4)), true, true, np.zeros(k, dtype=bool), np.array(columns), images,
                    predicted, flagged)  # fmt: skip


FIGURES: dict[str, Callable[[], Figure]] = {
    "roc": lambda: figures.roc({"PGD": roc_curve(BENIGN, PGD), "$C_W$": roc_curve(BENIGN, CW)}),
    "score_histograms": lambda: figures.score_histograms(BENIGN, {"PGD": PGD, "CW": CW, "MIM": CW}, 1.5),
    "image_grid": lambda: figures.image_grid([ROW, ROW]),
    "training_curves": lambda: figures.training_curves(ROUNDS),
    "success_curves": lambda: figures.success_curves({"PGD_W": CURVE, "$MIM_W$": CURVE}, benign_pass=0.4),
    "attack_bars": lambda: figures.attack_bars({"$PGD$": (0.2, 0.1, 0.3), "FGSM": (0, 0, 0.1)}, (0.4, 0.3, 0.5)),
    "pair_grid": lambda: figures.pair_grid(a_grid()),
    "comparison_grid": lambda: figures.comparison_grid({"ours": a_grid(), "$theirs$": a_grid()}),
    "latent_plot": lambda: figures.latent_plot(CLOUD),
}


@pytest.mark.parametrize("suffix", ["pdf", "png"])
def test_the_same_figure_gives_the_same_bytes(tmp_path: Path, suffix: str) -> None:
    draw = FIGURES["score_histograms"]
    for name in ("one", "two"):
        figures.save(draw(), tmp_path / f"{name}.{suffix}")
    written = (tmp_path / f"one.{suffix}").read_bytes()
    assert written == (tmp_path / f"two.{suffix}").read_bytes()
    assert len(written) > 1000


@pytest.fixture(scope="module")
def drawings() -> dict[str, str]:
    return {name: figures.svg(draw()) for name, draw in FIGURES.items()}


@pytest.mark.parametrize("name", FIGURES)
def test_inline_svg_is_whole_deterministic_and_carries_no_date_or_foreign_address(
    name: str, drawings: dict[str, str]
) -> None:
    text, before = drawings[name], settings()
    assert text == figures.svg(FIGURES[name]())
    assert settings() == before, "drawing leaves matplotlib as it was"
    assert "matplotlib.pyplot" not in sys.modules
    assert text.startswith("<svg")
    ElementTree.fromstring(text)
    assert "<style" not in text
    assert "metadata" not in text
    without_namespaces = re.sub(r'\sxmlns(:\w+)?="[^"]*"', "", text)
    assert "http" not in without_namespaces


def test_ids_differ_between_figures_and_every_reference_has_its_target(drawings: dict[str, str]) -> None:
    texts = list(drawings.values())
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
    assert len(set(looks(many))) == 31
    assert all(one[1] != other[1] for one, other in pairwise(looks(many)))


def test_histograms_count_every_score_once() -> None:
    scores = np.concatenate([PGD, [1e9, -np.inf, np.inf]])
    axes = figures.score_histograms(BENIGN, {"PGD": scores}).axes[0]
    for bars in axes.patches:
        assert bars.get_data().values.sum() == pytest.approx(1)  # type: ignore[attr-defined]
    assert axes.patches[1].get_hatch()


@pytest.mark.parametrize("value", [0.0, np.inf, -np.inf])
def test_histograms_of_one_value_can_be_drawn(value: float) -> None:
    figure = figures.score_histograms(np.full(3, value), {"PGD": np.full(2, value)})
    heights = [bars.get_data().values for bars in figure.axes[0].patches]  # type: ignore[attr-defined]
    assert [(height.sum(), height.max()) for height in heights] == [(1, 1)] * 2
    assert figures.svg(figure).startswith("<svg")


def test_difference_is_signed_and_on_one_scale() -> None:
    darker = figures.GridRow(np.full((2, 2), 0.5), np.full((2, 2), 0.1), "a", "", "", "")
    brighter = figures.GridRow(np.full((2, 2), 0.5), np.full((2, 2), 0.7), "b", "", "", "")
    panels = [axes.get_images()[0] for axes in figures.image_grid([darker, brighter]).axes]
    assert [panel.get_clim() for panel in panels[2::3]] == [pytest.approx((-0.4, 0.4))] * 2
    lightness = [panel.to_rgba(panel.get_array())[0, 0, :3].sum() for panel in panels[2::3]]
    neutral = sum(figures.DIFFERENCE_MAP(0.5)[:3])
    assert lightness[0] < neutral < lightness[1]


def test_of_colours_the_change_of_the_channel_that_changed_most_is_drawn() -> None:
    benign = np.full((2, 2, 3), 0.5)
    attacked = benign + np.array([0.1, -0.3, 0.2])
    np.testing.assert_allclose(figures.difference(benign, attacked), np.full((2, 2), -0.3))
    left, middle, right = (axes.get_images()[0].get_array() for axes in
                           figures.image_grid([figures.GridRow(benign, attacked, "a", "", "", "")]).axes)  # fmt: skip
    np.testing.assert_array_equal(left, benign)
    np.testing.assert_array_equal(middle, attacked)
    np.testing.assert_allclose(right, -0.3)


def test_coloured_pairs_are_drawn_in_colour() -> None:
    grey = a_grid()
    colour = replace(grey, benign=np.stack([grey.benign] * 3, -1), images=np.stack([grey.images] * 3, -1))
    shown, as_grey = drawn(figures.pair_grid(colour)), drawn(figures.pair_grid(grey))
    assert [image.shape for image in shown[0]] == [(5, 4, 3)] * len(as_grey[0])
    assert shown[1] == as_grey[1]


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


def looks(lines: list[Any]) -> list[tuple[Any, ...]]:
    """Colour apart from all that is left of a line in grey."""
    return [(line.get_color(), str(line._dash_pattern), line.get_marker()) for line in lines]


def test_success_curves_are_drawn_as_given_in_order_of_radius() -> None:
    axes = FIGURES["success_curves"]().axes[0]
    first, second, benign = axes.get_lines()
    for line in (first, second):
        assert line.get_xydata().tolist() == [[e, e] for e in sorted(RADII)]
    assert np.asarray(benign.get_ydata()) == pytest.approx(0.4)
    assert [line.get_label() for line in (first, second, benign)] == ["PGD_W", "$MIM_W$", "benign images that pass"]
    band = axes.collections[0].get_paths()[0].vertices
    assert {tuple(np.round(point, 9)) for point in band} >= {(e, round(e + d, 9)) for e in RADII for d in (-0.05, 0.05)}
    assert axes.get_ylim()[0] <= 0
    assert axes.get_ylim()[1] >= 1


def test_what_is_proved_is_drawn_above_its_curve_in_its_colour() -> None:
    above = (np.array([0.1, 0.2]), np.array([0.5, 0.9]), np.array([0.4, 0.8]), np.array([0.6, 1.0]))
    lines = figures.success_curves({"one": CURVE, "two": CURVE}, proved={"two": above}).axes[0].get_lines()
    assert len(lines) == 3
    assert lines[2].get_xydata().tolist() == [[0.1, 0.5], [0.2, 0.9]]
    assert lines[2].get_color() == lines[1].get_color() != lines[0].get_color()
    assert lines[2].get_label().startswith("_"), "it is explained in the caption"


def test_many_curves_differ_in_more_than_colour() -> None:
    lines = figures.success_curves({str(i): CURVE for i in range(30)}).axes[0].get_lines()
    assert len({look[1:] for look in looks(lines)}) == 30
    assert all(one[1:] != other[1:] for one, other in pairwise(looks(lines)))


@pytest.mark.parametrize("epsilon", [0.0, 0.3])
def test_one_radius_has_whiskers(epsilon: float) -> None:
    point = tuple(np.array([value]) for value in (epsilon, 0.5, 0.4, 0.6))
    axes = figures.success_curves({"PGD": point}).axes[0]  # type: ignore[dict-item]
    assert [segment.tolist() for segment in axes.collections[0].get_segments()] == [[[epsilon, 0.4], [epsilon, 0.6]]]  # type: ignore[attr-defined]
    assert axes.get_xlim()[1] > epsilon


@pytest.mark.parametrize(
    ("curve", "line"),
    [
        ((RADII, RADII, RADII, RADII[:2]), "curve 'PGD' has arrays of length 3, 3, 3, 2"),
        ((RADII[:0],) * 4, "curve 'PGD' has arrays of length 0, 0, 0, 0"),
        ((RADII, RADII * np.nan, RADII, RADII), "curve 'PGD' holds a number that is not finite"),
    ],
)
def test_a_curve_that_cannot_be_drawn_is_one_clear_line(curve: Any, line: str) -> None:
    with pytest.raises(TwinlatentError, match=line):
        figures.success_curves({"PGD": curve})


def test_bars_stand_in_order_of_strength_below_the_worst() -> None:
    rates = {"weak": (0.1, 0.05, 0.2), "none": (0.0, 0.0, 0.04), "strong": (0.6, 0.5, 0.7)}
    axes = figures.attack_bars(rates, (0.7, 0.6, 0.8)).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["worst of all", "strong", "weak", "none"]
    assert [bar.get_width() for bar in axes.patches] == [0.7, 0.6, 0.1, 0.0]
    assert [list(line.get_xdata()) for line in axes.get_lines()] == [[0.6, 0.8], [0.5, 0.7], [0.05, 0.2], [0.0, 0.04]]
    assert [text.get_text() for text in axes.texts] == ["0.700", "0.600", "0.100", "0.000"]
    assert not axes.patches[0].get_hatch()
    assert all(bar.get_hatch() for bar in axes.patches[1:]), "in grey the worst is told from the others"
    alone = figures.attack_bars({"only": (0.0, 0.0, 0.0)}).axes[0]
    assert [label.get_text() for label in alone.get_yticklabels()] == ["only"]
    with pytest.raises(TwinlatentError, match="attack 'odd' holds a number that is not finite"):
        figures.attack_bars({"odd": (np.nan, 0, 1)})


def drawn(figure: Figure) -> tuple[list[np.ndarray], list[str], list[float]]:
    """Images, texts, and widths of the frames of a mosaic."""
    axes = figure.axes[0]
    images = [np.asarray(image.get_array()) for image in axes.get_images()]
    return images, [text.get_text() for text in axes.texts], [patch.get_linewidth() for patch in axes.patches]


def test_a_pair_grid_shows_every_image_with_what_was_said_of_it() -> None:
    grid = a_grid()
    images, texts, frames = drawn(figures.pair_grid(grid))
    expected = [*grid.benign, *grid.images.reshape(-1, 5, 4)]
    assert len(images) == len(expected) == 12
    for one, other in zip(images, expected, strict=True):
        np.testing.assert_array_equal(one, other)
    assert [width > 2 for width in frames] == [False] * 3 + grid.won.ravel().tolist()
    assert (texts.count("flagged"), texts.count("passes")) == (3, 9)
    assert texts.count("another") == 6
    for heading in ("benign", "MIM_W", "ε 0.2", "ε 0.4", "CW-L2_W", *grid.true.tolist()):
        assert heading in texts
    assert texts.count("MIM_W") == 1, "one heading over the radii of an attack"


@pytest.mark.parametrize("shape", [(1, 1, 5, 4), (1, 1, 1, 1), (2, 1, 4, 9)])
def test_small_grids_can_be_drawn(shape: tuple[int, ...]) -> None:
    m, k = shape[:2]
    names = np.array([["a rather long name of a class"] * k] * m)
    columns, no = np.array([f"pgd {number}" for number in range(m)]), np.zeros((m, k), dtype=bool)
    grid = PairGrid(0.05, np.zeros(shape[1:]), names[0], names[0], no[0], columns, np.ones(shape), names, no)
    images, texts, _ = drawn(figures.pair_grid(grid))
    assert len(images) == (m + 1) * k
    assert max(len(text) for text in texts if text.startswith("a r")) <= 12
    figures.svg(figures.pair_grid(grid))


def test_a_comparison_puts_detectors_side_by_side_for_each_attack() -> None:
    ours, theirs = a_grid(), replace(a_grid(("cw_w", "pgd_w 0.2", "mim_w 0.4")), benign=a_grid().benign)
    images, texts, _ = drawn(figures.comparison_grid({"ours": ours, "theirs": theirs}))
    columns = [ours.benign, ours.images[1], theirs.images[2], ours.images[2], theirs.images[0]]
    for one, other in zip(images, np.concatenate(columns), strict=True):
        np.testing.assert_array_equal(one, other)
    assert [text for text in texts if text in ("ours", "theirs")] == ["ours", "theirs"] * 2
    assert {"MIM_W ε 0.4", "CW-L2_W"} <= set(texts)
    chosen, _, _ = drawn(figures.comparison_grid({"ours": ours, "theirs": theirs}, ["cw_w"]))
    assert len(chosen) == 9


@pytest.mark.parametrize(
    ("other", "columns", "line"),
    [
        (a_grid(k=2), None, "grid of 'theirs' begins with other benign images"),
        (replace(a_grid(), true=np.array(["x", "y", "z"])), None, "begins with other benign images"),
        (a_grid(), ["square"], "no attacks that all grids have to draw"),
        (replace(a_grid(("pgd 0.1",)), benign=a_grid().benign), None, "no attacks that all grids have to draw"),
    ],
)
def test_grids_that_cannot_be_compared_are_one_clear_line(other: PairGrid, columns: Any, line: str) -> None:
    with pytest.raises(TwinlatentError, match=line):
        figures.comparison_grid({"ours": a_grid(), "theirs": other}, columns)


def test_clouds_have_a_point_an_image_and_differ_in_their_marks() -> None:
    figure = FIGURES["latent_plot"]()
    assert [axes.get_title() for axes in figure.axes] == ["robust, z_r", "vulnerable, z_v"]
    for axes in figure.axes:
        benign, attacked = axes.collections
        assert (len(benign.get_offsets()), len(attacked.get_offsets())) == (18, 12)
        assert benign.get_paths()[0].vertices.shape != attacked.get_paths()[0].vertices.shape
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "benign $three$",
        "attacked, classified as $three$",
    ]


def test_groups_far_apart_stay_apart_in_the_plane() -> None:
    points = np.concatenate([GENERATOR.normal(0, 1, (20, 6)), GENERATOR.normal(12, 1, (20, 6))])
    places = embedded(points, seed=0)
    np.testing.assert_array_equal(places, embedded(points, seed=0))
    gaps = np.linalg.norm(places[:, None] - places, axis=2)
    assert gaps[:20, :20].max() < gaps[:20, 20:].min()


@pytest.mark.parametrize(("n", "size"), [(1, 3), (3, 3), (4, 2), (5, 1), (6, 3)])
@pytest.mark.parametrize("equal", [True, False])
def test_few_or_equal_points_can_be_placed(n: int, size: int, *, equal: bool) -> None:
    points = np.ones((n, size)) if equal else GENERATOR.normal(size=(n, size))
    assert embedded(points, 0).shape == (n, 2)
    latents = LatentPoints(points, points, np.zeros(n, dtype=bool), "one")
    assert np.isfinite(embedded(points, 0)).all()
    figures.svg(figures.latent_plot(latents))


def settings() -> dict[str, Any]:
    """All of matplotlib's settings but the backend: asking for that one loads pyplot."""
    return {name: matplotlib.rcParams[name] for name in matplotlib.rcParams if name != "backend"}


@pytest.mark.parametrize("call", [lambda: figures.roc({}), lambda: figures.score_histograms(BENIGN, {}),
                                  lambda: figures.image_grid([]), lambda: figures.training_curves([]),
                                  lambda: figures.success_curves({}), lambda: figures.attack_bars({}),
                                  lambda: figures.comparison_grid({})])  # fmt: skip
def test_nothing_to_draw_is_an_error(call: Callable[[], Any]) -> None:
    with pytest.raises(TwinlatentError, match="to draw: give at least one"):
        call()


def test_unknown_suffix_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TwinlatentError, match=r"\.svg, \.pdf, \.png"):
        figures.save(Figure(), tmp_path / "figure.bmp")
    assert not list(tmp_path.iterdir())
