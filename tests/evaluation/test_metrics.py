"""Metrics against cases worked by hand and against scikit-learn."""

from math import sqrt

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from twinlatent.errors import TwinlatentError
from twinlatent.evaluation.metrics import auc, auc_interval, rate, roc_curve


def test_auc_by_hand() -> None:
    # Of the 3 × 2 pairs, adversarial 2 beats 0 and 1 and ties 2 (2.5); adversarial 1 beats 0, ties 1, loses to 2 (1.5).
    assert auc(np.array([0.0, 1.0, 2.0]), np.array([2.0, 1.0])) == 4 / 6


@pytest.mark.parametrize(("benign", "adversarial", "expected"),
                         [([0, 1], [2, 3], 1.0), ([2, 3], [0, 1], 0.0), ([1, 1, 1], [1, 1], 0.5),
                          ([-np.inf, 0], [0, np.inf], 0.875)])  # fmt: skip
def test_auc_at_the_ends(benign: list[float], adversarial: list[float], expected: float) -> None:
    assert auc(np.array(benign), np.array(adversarial)) == expected


@pytest.mark.parametrize("levels", [2, 5, 1000])
def test_auc_is_the_area_under_the_curve_and_agrees_with_scikit_learn(levels: int) -> None:
    generator = np.random.default_rng(levels)
    benign, adversarial = generator.integers(0, levels, 90), generator.integers(levels // 5, levels + levels // 5, 70)
    fpr, tpr = roc_curve(benign, adversarial)
    expected = roc_auc_score(np.repeat([0, 1], [90, 70]), np.concatenate([benign, adversarial]))
    assert auc(benign, adversarial) == pytest.approx(expected, abs=1e-12)
    assert np.trapezoid(tpr, fpr) == pytest.approx(expected, abs=1e-12)
    assert fpr[0] == tpr[0] == 0
    assert fpr[-1] == tpr[-1] == 1
    assert (np.diff(fpr) >= 0).all()
    assert (np.diff(tpr) >= 0).all()


def test_auc_depends_on_ranks_alone_and_mirrors_when_the_roles_swap() -> None:
    generator = np.random.default_rng(0)
    benign, adversarial = generator.normal(size=50), generator.normal(1, 2, size=40)
    assert auc(np.exp(benign), np.exp(adversarial)) == auc(benign, adversarial)
    assert auc(adversarial, benign) == pytest.approx(1 - auc(benign, adversarial), abs=1e-12)


def test_interval_solves_its_equation() -> None:
    benign, adversarial = np.array([0.0, 1.0, 2.0, 3.0]), np.array([1.5, 2.5, 3.5])
    area, n, m = 9 / 12, 4, 3
    for bound in auc_interval(benign, adversarial):
        bracket = 1 + 2.5 * (1 - bound) / (2 - bound) + 2.5 * bound / (1 + bound)
        assert (area - bound) ** 2 == pytest.approx(1.959964**2 * bound * (1 - bound) * bracket / (n * m), rel=1e-6)


@pytest.mark.parametrize("size", [1, 10, 1000])
def test_interval_keeps_a_width_at_perfect_separation(size: int) -> None:
    low, high = auc_interval(np.zeros(size), np.ones(size))
    assert high == 1
    assert 0 < low < 1
    mirrored = auc_interval(np.ones(size), np.zeros(size))
    assert mirrored == pytest.approx((0, 1 - low), abs=1e-12)


def test_interval_covers_the_true_area() -> None:
    # Two unit normals a distance d apart have area Φ(d/√2): d = 2.9044 gives .98.
    generator = np.random.default_rng(3)
    intervals = [auc_interval(generator.normal(size=200), generator.normal(2.9044, size=200)) for _ in range(300)]
    covered = np.mean([low <= 0.98 <= high for low, high in intervals])
    assert 0.93 <= covered <= 1


def test_wilson_by_hand() -> None:
    # Wilson at 81 of 263: the worked example of Newcombe 1998 (Statistics in Medicine 17, 857-872), .2553 to .3662.
    found = rate(81, 263)
    assert found.value == 81 / 263
    assert found.n == 263
    assert (round(found.low, 4), round(found.high, 4)) == (0.2553, 0.3662)


@pytest.mark.parametrize("n", [1, 2, 7, 100, 10_000])
def test_wilson_is_its_closed_formula(n: int) -> None:
    z2 = 1.959963984540054**2
    for k in {0, 1, n // 3, n // 2, n - 1, n}:
        centre, half = k + z2 / 2, sqrt(z2 * (k * (n - k) / n + z2 / 4))
        found = rate(k, n)
        assert (found.low, found.high) == pytest.approx(
            ((centre - half) / (n + z2), (centre + half) / (n + z2)), abs=1e-12
        )
    assert (rate(0, n).low, rate(n, n).high) == (0, 1)


@pytest.mark.parametrize(("successes", "n"), [(1, 0), (-1, 5), (6, 5)])
def test_impossible_counts_are_refused(successes: int, n: int) -> None:
    with pytest.raises(TwinlatentError, match="not a rate"):
        rate(successes, n)


@pytest.mark.parametrize("function", [auc, auc_interval, roc_curve])
@pytest.mark.parametrize(
    ("bad", "message"),
    [([], "no adversarial scores"), ([1.0, np.nan], "1 of 2 adversarial.*index 1"), ([[1.0]], r"shape \(1, 1\)")],
)
def test_bad_scores_are_refused_in_one_line(function: object, bad: list[float], message: str) -> None:
    with pytest.raises(TwinlatentError, match=message) as caught:
        function(np.zeros(3), np.array(bad))  # type: ignore[operator]
    assert "\n" not in str(caught.value)
