"""p-values and thresholds against their definitions, counted with whole numbers and exact fractions."""

import math
import re
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise, product

import pytest
import torch
from torch import Tensor

from twinlatent.errors import TwinlatentError
from twinlatent.method.calibration import Calibration, calibration_of

RATES = ("0.01", "0.05", "0.07", "0.1", "0.15", "0.29", "0.3", "0.5", "0.57", "0.9", "0.99")


def scores_with_ties(count: int, seed: int = 0, values: int = 12) -> Tensor:
    return torch.randint(values, (count,), generator=torch.Generator().manual_seed(seed)).float()


def one_class(scores: Tensor) -> Calibration:
    return Calibration([scores.sort().values])


def exact_p(scores: Tensor, s: float) -> Fraction:
    return Fraction(1 + sum(score >= s for score in scores.tolist()), len(scores) + 1)


def exact_p_at(pools: Sequence[Tensor], label: int, s: float, fpr: Fraction) -> Fraction:
    """The rule in whole numbers: of the class's own scores, and where these are too few and all smaller, of all."""
    own = exact_p(pools[label], s)
    coarse = Fraction(1, len(pools[label]) + 1)
    return min(own, exact_p(torch.cat(tuple(pools)), s)) if fpr < coarse == own else own


# --- p-values -----------------------------------------------------------------------------------------------------


def test_a_case_by_hand() -> None:
    calibration = Calibration([torch.tensor([1.0, 2.0, 2.0, 5.0])])
    suspicion = torch.tensor([0.0, 1.0, 1.5, 2.0, 3.0, 5.0, 6.0])
    p = calibration.p_values(suspicion, torch.zeros(7, dtype=torch.int64), 0.5)
    torch.testing.assert_close(p, torch.tensor([1.0, 1.0, 0.8, 0.8, 0.4, 0.4, 0.2]))
    assert p.dtype == torch.float32


@pytest.mark.parametrize("together", [False, True])
def test_equal_scores_are_counted_where_p_values_count(together: bool) -> None:
    pools = [torch.tensor([1.0, 2.0, 2.0, 5.0]), torch.tensor([2.0, math.inf]), torch.tensor([])]
    calibration = Calibration(pools, together)
    suspicion = torch.tensor([2.0, 1.5, 2.0, math.inf, math.nan, 2.0])
    found = calibration.equal(suspicion, torch.tensor([0, 0, 1, 1, 1, 2]))
    assert found.tolist() == ([3, 0, 3, 1, 0, 3] if together else [2, 0, 1, 1, 0, 0])


@pytest.mark.parametrize("sizes", [(1, 30, 100), (25, 25, 25)])
def test_p_values_are_counted_within_the_predicted_class(sizes: tuple[int, ...]) -> None:
    pools = [scores_with_ties(size, seed) + seed for seed, size in enumerate(sizes)]
    calibration = Calibration([pool.sort().values for pool in pools])
    suspicion, labels = scores_with_ties(200, 9, 20) - 3, torch.arange(200) % 3
    p = calibration.p_values(suspicion, labels, 0.5)
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
                everything[i : i + 1], torch.zeros(1, dtype=torch.int64), 0.5
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
                scores_with_ties(41, seed, 30)[-1:], torch.zeros(1, dtype=torch.int64), 0.5
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
    calibration = Calibration([torch.arange(float(count)), torch.arange(2.0 * count), torch.empty(0)])
    assert calibration.finest_fpr == 1 / (3 * count + 1)
    calibration.check(calibration.finest_fpr)
    assert calibration.thresholds(calibration.finest_fpr).tolist() == [2 * count - 1] * 3
    with pytest.raises(TwinlatentError) as caught:
        calibration.check(0.99 * calibration.finest_fpr)
    advised = float(re.search(r"give at least ([\d.e-]+\d)", str(caught.value))[1])
    calibration.check(advised)


# --- classes too small for the rate ---------------------------------------------------------------------------------

SMALL_SIZES = (0, 1, 4, 9, 18, 19, 20, 60)
FINE_RATES = tuple(Fraction(k, 10_000) for k in (80, 100, 200, 476, 490, 500, 526, 700, 1000, 2000, 5000, 9000))


@pytest.fixture(params=[4, 40, 10**6], ids="{} values".format)
def pools(request: pytest.FixtureRequest) -> list[Tensor]:
    """Classes of nought to sixty scores, with many ties, some, or none; some classes lie above others."""
    return [(scores_with_ties(n, n, request.param) + 3 * (n % 2)).sort().values for n in SMALL_SIZES]


def candidates(pools: Sequence[Tensor]) -> Tensor:
    everything = torch.cat(tuple(pools))
    return torch.cat([everything, everything - 0.5, everything + 0.5, torch.tensor([-1e9, 1e9])]).unique()


def flags(calibration: Calibration, suspicion: Tensor, fpr: float) -> Tensor:
    """(C, candidates), of every class each candidate."""
    return suspicion > calibration.thresholds(fpr)[:, None]


def test_a_flag_is_a_p_value_within_the_rate_whatever_the_sizes(pools: list[Tensor]) -> None:
    calibration, suspicion = Calibration(pools), candidates(pools)
    for rate in FINE_RATES:
        flagged = flags(calibration, suspicion, float(rate))
        for label in range(len(pools)):
            p = calibration.p_values(suspicion, torch.full((len(suspicion),), label), float(rate))
            expected = [exact_p_at(pools, label, s, rate) for s in suspicion.tolist()]
            torch.testing.assert_close(p, torch.tensor(list(map(float, expected))))
            assert (p <= float(rate)).tolist() == flagged[label].tolist() == [value <= rate for value in expected]


def test_what_is_flagged_at_a_rate_is_flagged_at_every_larger_one(pools: list[Tensor]) -> None:
    calibration, suspicion = Calibration(pools), candidates(pools)
    found = [flags(calibration, suspicion, float(rate)) for rate in FINE_RATES]
    for finer, coarser in pairwise(found):
        assert (coarser | ~finer).all()
    assert found[0].any()


def test_the_p_value_depends_on_the_rate_only_beyond_all_scores_of_a_small_class(pools: list[Tensor]) -> None:
    calibration, suspicion = Calibration(pools), candidates(pools)
    for label, own in enumerate(pools):
        coarse, fine = (
            calibration.p_values(suspicion, torch.full((len(suspicion),), label), rate) for rate in (0.9, 0.01)
        )
        assert (fine <= coarse).all()
        beyond = suspicion > own[-1] if len(own) else torch.ones_like(suspicion, dtype=torch.bool)
        assert torch.equal(fine[~beyond], coarse[~beyond])


@pytest.mark.parametrize("fpr", [0.01, 0.05, 0.1])
@pytest.mark.parametrize("height", [0.0, 300.0], ids="{:g} higher".format)
def test_one_image_more_in_a_class_never_takes_a_rate_away(fpr: float, height: float) -> None:
    """From 0 to 120 images of a class every rate works; below as many as the rate needs, the largest score counts."""
    others = [torch.arange(300.0), torch.arange(200.0)]
    mine, needed = height + scores_with_ties(120, 7, 300), round(1 / fpr) - 1
    for n in range(121):
        own = mine[:n].sort().values
        calibration = Calibration([*others, own])
        among_all = one_class(torch.cat([*others, own])).thresholds(fpr)
        threshold = calibration.thresholds(fpr)[2]
        if n < needed:
            assert threshold == torch.cat([own, among_all]).max()
        elif n < 2 * needed + 1:
            assert threshold == own[-1]
        else:
            assert threshold == one_class(own).thresholds(fpr)[0]


TINY_BAGS = [(labels, ties) for labels in product(range(2), repeat=7) for ties in (1, 2) if any(labels)]


@pytest.mark.parametrize("fpr", [Fraction(k, 14) for k in (2, 3, 4, 5, 7, 10, 13)], ids=str)
def test_flags_are_as_rare_as_promised(fpr: Fraction) -> None:
    """Exact: of seven exchangeable images each is as likely as the others to be the new one, whatever the classes are,
    and in every order of their scores, with ties and without.
    """
    for labels, ties in TINY_BAGS:
        of_class, scores, n = torch.tensor(labels), torch.arange(7.0) // ties, len(labels)
        flagged = [False] * n
        for new in range(n):
            rest = torch.arange(n) != new
            level = calibration_of(scores[rest], of_class[rest], 3).thresholds(float(fpr))[of_class[new]]
            flagged[new] = bool(scores[new] > level)
        size, of = ({c: sum(s for s, label in zip(shares, labels, strict=True) if label == c) for c in (0, 1)}
                    for shares in ([1] * n, flagged))  # fmt: skip
        small = {c for c in size if size[c] * fpr < 1 and size[c]}
        for c in size:
            assert of[c] <= (1 if c in small else size[c] * fpr)
        assert sum(of[c] for c in small) <= min(fpr * n, 3)
        assert sum(flagged) < 2 * fpr * n
        if not small or all(c in small for c in size if size[c]):
            assert sum(flagged) <= fpr * n


# --- sorting benign scores ----------------------------------------------------------------------------------------


def test_a_class_tells_a_rate_from_which_on_a_new_score_above_all_of_its_own_is_rare_enough() -> None:
    calibration = Calibration([torch.arange(19.0), torch.arange(18.0), torch.tensor([])])
    assert calibration.telling(0.05).tolist() == [True, False, False]
    assert calibration.telling(0.06).tolist() == [True, True, False]
    assert calibration.telling(0.049).tolist() == [False, False, False]


def test_scores_are_sorted_by_predicted_class() -> None:
    suspicion, labels = scores_with_ties(300, 2, 10**6), torch.arange(300) % 3
    calibration = calibration_of(suspicion, labels, 3)
    for label, scores in enumerate(calibration.scores):
        assert scores.tolist() == sorted(suspicion[label::3].tolist())


def test_a_class_that_is_never_predicted_has_no_scores_of_its_own() -> None:
    suspicion = scores_with_ties(50, 3, 10**6)
    calibration = calibration_of(suspicion, torch.zeros(50).long(), 2)
    assert [len(scores) for scores in calibration.scores] == [50, 0]
    assert calibration.pooled.tolist() == sorted(suspicion.tolist())


def test_calibration_needs_images() -> None:
    with pytest.raises(TwinlatentError, match="0 calibration images"):
        calibration_of(torch.zeros(0), torch.zeros(0, dtype=torch.int64), 3)


# --- all classes together -------------------------------------------------------------------------------------------


def test_together_all_classes_have_the_threshold_and_the_p_values_of_one(pools: list[Tensor]) -> None:
    calibration, suspicion = Calibration(pools, together=True), candidates(pools)
    all_ = one_class(torch.cat(tuple(pools)))
    for rate in map(float, FINE_RATES):
        assert calibration.thresholds(rate).tolist() == [all_.thresholds(rate).item()] * len(pools)
        for label in range(len(pools)):
            p = calibration.p_values(suspicion, torch.full((len(suspicion),), label), rate)
            assert torch.equal(p, all_.p_values(suspicion, torch.zeros(len(suspicion), dtype=torch.int64), rate))


@pytest.mark.parametrize("fpr", [Fraction(k, 14) for k in (2, 3, 4, 5, 7, 10, 13)], ids=str)
def test_together_flags_are_as_rare_as_promised_of_all_images(fpr: Fraction) -> None:
    """Exact, as for each class: any of seven exchangeable images may be the new one."""
    for labels, ties in TINY_BAGS:
        of_class, scores, n = torch.tensor(labels), torch.arange(7.0) // ties, len(labels)
        flagged = 0
        for new in range(n):
            rest = torch.arange(n) != new
            level = calibration_of(scores[rest], of_class[rest], 2, together=True).thresholds(float(fpr))[of_class[new]]
            flagged += bool(scores[new] > level)
        assert flagged <= fpr * n
