"""Pictures hold what the detector says of the images, come back from arrays as they were, and refuse wrong shapes."""

import math
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
import torch

from twinlatent.data import LabelledImages, Split
from twinlatent.data.split import as_pictures
from twinlatent.errors import TwinlatentError
from twinlatent.evaluation.results.pictures import LatentPoints, PairGrid, from_arrays, to_arrays
from twinlatent.evaluation.white_box.pictures import latent_points, pair_grid
from twinlatent.method.detector import Detector
from twinlatent.testing import GaussianDetector

FPR = 0.1


def a_grid(m: int = 2, k: int = 3, colours: tuple[int, ...] = ()) -> PairGrid:
    shape = (m, k, 5, 4, *colours)
    images = np.linspace(0, 1, math.prod(shape), dtype=np.float32).reshape(shape)
    names = np.array([["one"] * k] * m)
    columns = np.array([f"mim_w {number}" for number in range(m)])
    return PairGrid(0.05, images[0], names[0], names[0], np.zeros(k, dtype=bool), columns, images, names,
                    np.ones((m, k), dtype=bool))  # fmt: skip


def a_cloud(n: int = 4) -> LatentPoints:
    points = np.arange(n * 5, dtype=np.float32).reshape(n, 5)
    return LatentPoints(points[:, :2], points[:, 2:], np.arange(n) > 1, "three")


def same(one: Any, other: Any) -> None:
    assert type(one) is type(other)
    for field in fields(one):
        np.testing.assert_array_equal(getattr(one, field.name), getattr(other, field.name))


@pytest.fixture(scope="module")
def benign(digits: Split) -> LabelledImages:
    return digits.test.subset(slice(6))


# --- asked of a detector --------------------------------------------------------------------------------------------


def test_a_grid_says_what_detect_says(trained_detector: Detector, benign: LabelledImages) -> None:
    columns = {"pgd 0.2": (benign.images + 0.2).clamp(0, 1), "noise": 1 - benign.images}
    grid = pair_grid(trained_detector, benign, columns, FPR)
    names = trained_detector.class_names
    assert grid.columns.tolist() == ["pgd 0.2", "noise"]
    assert grid.true.tolist() == [names[label] for label in benign.labels.tolist()]
    for images, labels, flagged in [(benign.images, grid.benign_label, grid.benign_flagged),
                                    *zip(columns.values(), grid.predicted, grid.flagged, strict=True)]:  # fmt: skip
        verdict = trained_detector.detect(images, FPR)
        assert labels.tolist() == [names[label] for label in verdict.label.tolist()]
        np.testing.assert_array_equal(flagged, verdict.adversarial.numpy())
    np.testing.assert_array_equal(grid.images[1], columns["noise"][:, 0].numpy())
    np.testing.assert_array_equal(grid.benign, benign.images[:, 0].numpy())


def test_winning_is_being_misclassified_and_passing() -> None:
    predicted = np.array([["one", "two", "two"], ["one", "two", "one"]])
    flagged = np.array([[False, False, True], [True, True, False]])
    grid = replace(a_grid(), predicted=predicted, flagged=flagged)
    assert grid.won.tolist() == [[False, True, False], [False, False, False]]


@pytest.mark.parametrize("count", [0, 5])
def test_versions_of_other_images_are_refused(trained_detector, benign: LabelledImages, count: int) -> None:
    with pytest.raises(TwinlatentError, match=rf"column 'pgd' has images \({count}, 1, 8, 8\)"):
        pair_grid(trained_detector, benign, {"pgd": benign.images[:count]}, FPR)


def test_a_grid_of_nothing_is_refused(trained_detector: Detector, benign: LabelledImages) -> None:
    none = benign.subset(slice(0))
    for images, columns in ((benign, {}), (none, {"pgd": none.images})):
        with pytest.raises(TwinlatentError, match="give at least one of each"):
            pair_grid(trained_detector, images, columns, FPR)


def test_a_cloud_is_the_encoders_means_of_one_class(trained_detector: Detector, benign: LabelledImages) -> None:
    points = latent_points(trained_detector, benign.images[:2], benign.images[2:], 3)
    assert points is not None
    latents = trained_detector.outputs(benign.images).latents
    assert latents is not None
    together = np.concatenate([points.robust, points.vulnerable], axis=1)
    np.testing.assert_allclose(together, latents[:, 3].numpy(), rtol=1e-4, atol=1e-4)
    assert points.robust.shape[1] == trained_detector.encoders.robust_size
    assert points.attacked.tolist() == [False] * 2 + [True] * 4
    assert points.class_name == trained_detector.class_names[3]


def test_one_kind_of_images_makes_a_cloud_and_none_at_all_does_not(trained_detector, benign: LabelledImages) -> None:
    none = benign.images[:0]
    alone = latent_points(trained_detector, none, benign.images[:1], 0)
    assert alone is not None
    assert alone.attacked.tolist() == [True]
    assert latent_points(trained_detector, none, none, 0) is None


def test_a_detector_without_latents_has_no_cloud() -> None:
    assert latent_points(GaussianDetector.random(), torch.ones(1, 1, 8, 8), torch.ones(1, 1, 8, 8), 0) is None  # type: ignore[arg-type]


# --- as arrays ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("grid", [None, a_grid(), a_grid(1, 1)], ids=["no grid", "grid", "one image"])
@pytest.mark.parametrize("points", [None, a_cloud(), a_cloud(1)], ids=["no points", "points", "one point"])
@pytest.mark.parametrize("shifted", [None, a_grid(2, 3)], ids=["no changes", "changes"])
def test_pictures_come_back_from_arrays(
    grid: PairGrid | None, points: LatentPoints | None, shifted: PairGrid | None
) -> None:
    given = (grid, points, shifted)
    arrays = to_arrays(*given)
    assert bool(arrays) == any(part is not None for part in given)
    assert all(array.dtype != object for array in arrays.values())
    for was, now in zip(given, from_arrays(arrays), strict=True):
        assert (was is None) == (now is None)
        if was is not None:
            same(was, now)


@pytest.mark.parametrize("name", list(to_arrays(a_grid(), a_cloud())))
def test_a_missing_array_is_named(name: str) -> None:
    arrays = to_arrays(a_grid(), a_cloud())
    del arrays[name]
    with pytest.raises(TwinlatentError, match=f"the array '{name}' is missing"):
        from_arrays(arrays)


@pytest.mark.parametrize(
    ("name", "values", "line"),
    [
        ("grid_fpr", np.array([0.1]), r"grid_fpr has shape \(1,\)"),
        ("grid_fpr", np.array(1.0), "grid_fpr is 1.0: give a share between 0 and 1"),
        ("grid_fpr", np.array(np.nan), "grid_fpr is nan"),
        ("grid_benign", np.zeros((3, 4, 5)), r"grid_images has shape \(2, 3, 5, 4\): it needs \(2, 3, 4, 5\)"),
        ("grid_benign", np.zeros((3, 5, 4), dtype=int), "grid_benign holds int64: it needs floating-point numbers"),
        ("grid_images", np.zeros((3, 5, 4)), r"grid_images has shape \(3, 5, 4\): it needs 4 dimension"),
        ("grid_images", np.full((2, 3, 5, 4), 1.5), r"grid_images has values outside \[0, 1\]"),
        ("grid_images", np.full((2, 3, 5, 4), np.nan), r"grid_images has values outside \[0, 1\]"),
        ("grid_predicted", np.array([["one"] * 3]), r"grid_predicted has shape \(1, 3\): it needs \(2, 3\)"),
        ("grid_flagged", np.zeros((2, 3)), "grid_flagged holds float64: it needs booleans"),
        ("grid_columns", np.array(["pgd", "pgd"]), "grid_columns has a name twice: pgd, pgd"),
        ("grid_columns", np.array([], dtype="<U3"), "grid_images has 0 attacks on 3 images"),
        ("latents_class_name", np.array(3), "latents_class_name holds int64: it needs text"),
        ("latents_robust", np.zeros((3, 2)), "latents_robust has 3 rows, latents_attacked 4"),
        ("latents_robust", np.zeros((4, 0)), "latents_robust is empty"),
        ("latents_vulnerable", np.full((4, 3), np.inf), "latents_vulnerable is empty or holds a number that is not"),
        ("latents_attacked", np.zeros((4, 1), dtype=bool), r"latents_attacked has shape \(4, 1\)"),
    ],
)
def test_a_wrong_array_is_one_clear_line(name: str, values: np.ndarray, line: str) -> None:
    with pytest.raises(TwinlatentError, match=line) as caught:
        from_arrays(to_arrays(a_grid(), a_cloud()) | {name: values})
    assert "\n" not in str(caught.value)


# --- colour ---------------------------------------------------------------------------------------------------------


def test_coloured_images_come_back_as_they_were() -> None:
    grid = a_grid(colours=(3,))
    assert grid.benign.shape == (3, 5, 4, 3)
    same(from_arrays(to_arrays(grid, None))[0], grid)
    with pytest.raises(TwinlatentError, match=r"grid_benign has shape \(3, 5, 4, 2\): it needs 3 dimension"):
        a_grid(colours=(2,))


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_a_grid_shows_colours_where_there_are_three(channels: int) -> None:
    """Of a model whose images have other channels their mean is shown."""
    images = torch.rand(4, channels, 5, 6, generator=torch.Generator().manual_seed(0))
    shown = as_pictures(images)
    expected = images.movedim(1, -1) if channels == 3 else images.mean(1)
    np.testing.assert_allclose(shown, expected.numpy(), atol=1e-6)
