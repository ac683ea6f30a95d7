"""p-values and thresholds against their definitions, counted with whole numbers and exact fractions."""

import math
import re
from fractions import Fraction

import pytest
import torch
from torch import Tensor

from twinlatent.errors import TwinlatentError
from twinlatent.method.calibration import POOLED_BELOW, Calibration, calibrate

RATES = ("0.01", "0.05", "0.07", "0.1", "0.15", "0.29", "0.3", "0.5", "0.57", "0.9", "0.99")


def scores_with_ties(count: int, seed: int = 0, values: int = 12) -> Tensor:
    return torch.randint(values, (count,), generator=torch.Generator().manual_seed(seed)).float()


def one_class(scores: Tensor) -> Calibration:
    return Calibration([scores.sort().values])


def exact_p(scores: Tensor, s: float) -> Fraction:
    return Fraction(1 + sum(score >= s for score in scores.tolist()), len(scores) + 1)


# --- p-values -----------------------------------------------------------------------------------------------------


def test_a_case_by_hand() -> None:
    calibration = Calibration([torch.tensor([1.0, 2.0, 2.0, 5.0])])
    suspicion = torch.tensor([0.0, 1.0, 1.5, 2.0, 3.0, 5.0, 6.0])
    p = calibration.p_values(suspicion, torch.zeros(7, dtype=torch.int64))
    torch.testing.assert_close(p, torch.tensor([1.0, 1.0, 0.8, 0.8, 0.4, 0.4, 0.2]))
    assert p.dtype == torch.float32


@pytest.mark.parametrize("sizes", [(1, 30, 100), (25, 25, 25)])
def test_p_values_are_counted_within_the_predicted_class(sizes: tuple[int, ...]) -> None:
    pools = [scores_with_ties(size, seed) + seed for seed, size in enumerate(sizes)]
    calibration = Calibration([pool.sort().values for pool in pools])
    suspicion, labels = scores_with_ties(200, 9, 20) - 3, torch.arange(200) % 3
    p = calibration.p_values(suspicion, labels)
    for value, s, label in zip(p.tolist(), suspicion.tolist(), labels.tolist(), strict=True):
        assert value == pytest.approx(float(exact_p(pools[label], s)), abs=1e-6)
        assert 0 < value <= 1


@pytest.mark.parametrize("ties", [3, 12, 10**6])
def test_p_values_are_valid(ties: int) -> None:
    """Each of n + 1 exchangeable scores is as likely to be the new one: leave each out, and count exactly."""
    everything = scores_with_ties(60, 1, ties)
    p = torch.cat(
        [
            one_class(torch.cat([everything[:i], everything[i + 1 :]])).p_values(
                everything[i : i + 1], torch.zeros(1, dtype=torch.int64)
            )
            for i in range(60)
        ]
    )
    for a in (k / 60 for k in range(1, 61)):
        share = (p <= a + 1e-6).double().mean().item()
        assert share <= a + 1e-9
        if ties == 10**6:  # no two alike: exactly as often as allowed
            assert share == pytest.approx(a)


def test_p_values_are_valid_for_new_draws() -> None:
    p = torch.stack(
        [
            one_class(scores_with_ties(41, seed, 30)[:-1]).p_values(
                scores_with_ties(41, seed, 30)[-1:], torch.zeros(1, dtype=torch.int64)
            )[0]
            for seed in range(2000)
        ]
    )
    for a in (0.025, 0.05, 0.1, 0.5):
        assert (p <= a).double().mean() <= a + 4 * math.sqrt(a * (1 - a) / 2000)


# --- thresholds ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2, 19, 20, 29, 99, 100, 199])
@pytest.mark.parametrize("values", [3, 40, 10**6])
def test_above_the_threshold_is_a_p_value_within_the_rate(count: int, values: int) -> None:
    scores = scores_with_ties(count, count, values)
    calibration = one_class(scores)
    candidates = torch.cat([scores, scores - 0.5, scores + 0.5, torch.tensor([-1e9, 1e9])]).unique().tolist()
    for rate in RATES:
        if Fraction(rate) < Fraction(1, count + 1):
            with pytest.raises(TwinlatentError, match="finer"):
                calibration.thresholds(float(rate))
            continue
        threshold = calibration.thresholds(float(rate)).item()
        for s in candidates:
            assert (s > threshold) == (exact_p(scores, s) <= Fraction(rate)), (count, rate, s)


@pytest.mark.parametrize("rate", RATES)
def test_no_more_than_the_rate_of_benign_scores_is_flagged(rate: str) -> None:
    for values in (3, 40, 10**6):
        scores = scores_with_ties(500, 5, values)
        flagged = (scores > one_class(scores).thresholds(float(rate))[0]).double().mean().item()
        assert flagged <= float(rate)
        if values == 10**6:
            assert flagged >= float(rate) - 2 / 500


@pytest.mark.parametrize("rate", [0.999, 0.9999999999])
def test_a_rate_close_to_one_flags_all_but_the_least_suspicious(rate: float) -> None:
    assert one_class(torch.tensor([1.0, 2.0, 3.0])).thresholds(rate).tolist() == [1.0]


@pytest.mark.parametrize("rate", [0.0, 1.0, -0.1, 1.5, 5, math.nan, math.inf])
def test_rates_outside_0_and_1_are_refused(rate: float) -> None:
    with pytest.raises(TwinlatentError, match=f"fpr is {rate}"):
        one_class(torch.arange(100.0)).thresholds(rate)


@pytest.mark.parametrize("count", [19, 20, 36, 199, 358, 8200])
def test_the_finest_rate_is_told_and_works(count: int) -> None:
    calibration = Calibration([torch.arange(float(count)), torch.arange(2.0 * count)])
    assert calibration.finest_fpr == 1 / (count + 1)
    calibration.check(calibration.finest_fpr)
    assert calibration.thresholds(calibration.finest_fpr)[0] == count - 1
    with pytest.raises(TwinlatentError) as caught:
        calibration.check(0.99 * calibration.finest_fpr)
    advised = float(re.search(r"give at least ([\d.e-]+\d)", str(caught.value))[1])
    calibration.check(advised)


# --- sorting benign scores ----------------------------------------------------------------------------------------


def test_scores_are_sorted_by_predicted_class() -> None:
    suspicion, labels = scores_with_ties(300, 2, 10**6), torch.arange(300) % 3
    calibration = calibrate(suspicion, labels, 3)
    for label, scores in enumerate(calibration.scores):
        assert scores.tolist() == sorted(suspicion[label::3].tolist())


@pytest.mark.parametrize("rare", [0, 1, POOLED_BELOW - 1, POOLED_BELOW, POOLED_BELOW + 1])
def test_a_rare_class_is_compared_with_all(rare: int) -> None:
    labels = torch.cat([torch.zeros(50), torch.ones(rare), torch.full((30,), 2)]).long()
    suspicion = scores_with_ties(len(labels), 3, 10**6)
    calibration = calibrate(suspicion, labels, 4)
    everything = sorted(suspicion.tolist())
    own = sorted(suspicion[labels == 1].tolist())
    assert calibration.scores[0].tolist() == sorted(suspicion[:50].tolist())
    assert calibration.scores[1].tolist() == (own if rare >= POOLED_BELOW else everything)
    assert calibration.scores[3].tolist() == everything, "a class that is never predicted"


def test_calibration_needs_images() -> None:
    with pytest.raises(TwinlatentError, match="0 calibration images"):
        calibrate(torch.zeros(0), torch.zeros(0, dtype=torch.int64), 3)
