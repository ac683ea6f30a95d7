"""Numbers of Python, NumPy and torch are the same numbers, and what is none is named."""

import math
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
import torch

import twinlatent as tl
from twinlatent.arguments import real, whole
from twinlatent.data import Split, split_calibration
from twinlatent.errors import TwinlatentError
from twinlatent.method.detector import Detector

WHOLE = [5, np.int64(5), np.uint8(5), np.array(5), torch.tensor(5), torch.tensor(5, dtype=torch.uint8)]
REAL = [0.1, np.float64(0.1), np.float32(0.1), np.float16(0.1), np.array(0.1), torch.tensor(0.1),
        torch.tensor(0.1, dtype=torch.float64), torch.tensor(0.1, dtype=torch.bfloat16), Fraction(1, 10)]  # fmt: skip
NO_NUMBERS = ["5", None, True, np.True_, torch.tensor(True), [5], np.array([5]), torch.tensor([5]), 5j, math.nan,
              torch.tensor(math.nan), torch.ones((), device="meta")]  # fmt: skip


@pytest.mark.parametrize("value", WHOLE, ids=repr)
def test_whole_numbers_become_pythons(value) -> None:
    assert (whole("steps", value), type(whole("steps", value))) == (5, int)
    assert real("epsilon", value) == 5


@pytest.mark.parametrize("value", REAL, ids=repr)
def test_numbers_become_pythons_and_the_ones_that_were_meant(value) -> None:
    assert (real("epsilon", value), type(real("epsilon", value))) == (0.1, float)
    with pytest.raises(TwinlatentError, match=r"steps is 0\.1; give a whole number of at least 1"):
        whole("steps", value)


@pytest.mark.parametrize("value", NO_NUMBERS, ids=repr)
def test_what_is_no_number_is_named(value) -> None:
    for check in (whole, real):
        with pytest.raises(TwinlatentError, match=r"steps is .*; give a (whole )?number") as caught:
            check("steps", value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("value", "limits", "line"),
    [
        (-0.1, {"least": 0}, "x is -0.1; give a number of at least 0"),
        (0, {"above": 0}, "x is 0; give a number above 0"),
        (1, {"above": 0, "below": 1}, "x is 1; give a number above 0 and below 1"),
        (2, {"least": 0, "most": 1}, "x is 2; give a number of at least 0 and at most 1"),
        (math.inf, {"least": 0}, "x is inf; give a number of at least 0"),
        pytest.param(10**400, {}, "x is 1000*; give a number", id="huge"),
        (np.float32(0.3), {"below": 0.3}, "x is 0.3; give a number below 0.3"),
        (Decimal("0.5"), {"wanted": "a rate"}, "x is 0.5; give a rate"),
    ],
)
def test_the_range_is_named(value, limits: dict, line: str) -> None:
    with pytest.raises(TwinlatentError, match=f"^{line}"):
        real("x", value, **limits)


@pytest.mark.parametrize("kind", [np.float32, np.float64, torch.tensor])
def test_attacks_take_them_all_alike(kind, digits: Split, trained_detector: Detector) -> None:
    count = torch.tensor if kind is torch.tensor else np.int64
    images, labels = digits.test.images[:3], digits.test.labels[:3]
    plain = tl.attacks.pgd(trained_detector, images, labels, epsilon=0.1, step_size=0.05, steps=2, restarts=2, seed=3)
    same = tl.attacks.pgd(trained_detector, images, labels, epsilon=kind(0.1), step_size=kind(0.05), steps=count(2),
                          restarts=count(2), seed=count(3), batch_size=count(2))  # fmt: skip
    assert torch.equal(same.images, plain.images)
    bounds = trained_detector.bounds(kind(0.1), 0.3)
    assert list(bounds.thresholds) == [0.1, 0.3]
    assert tl.criteria.Undetected(bounds, kind(0.1)) == tl.criteria.Undetected(bounds, 0.1)
    assert tl.criteria.Undetected(bounds, 0.1 + 0.2).fpr == 0.3
    assert torch.equal(trained_detector.detect(images, kind(0.1)).p_value, trained_detector.detect(images, 0.1).p_value)
    parts = split_calibration(digits.test, share=kind(0.1), seed=count(1))
    assert [len(part) for part in parts] == [len(part) for part in split_calibration(digits.test, share=0.1, seed=1)]
    assert tl.data.load("digits", seed=count(0), size=count(8)).fingerprint == digits.fingerprint


@pytest.mark.parametrize(
    ("make", "line"),
    [
        (lambda d: tl.fit_split(d, seed=1.5), "seed is 1.5; give a whole number from 0 to 2⁶³ − 1"),
        (lambda d: tl.fit_split(d, seed="0"), "seed is 0; give a whole number"),
        (lambda d: tl.fit(d.test.images, d.test.labels, calibration_share="a"), "share is a; give a number between"),
        (lambda d: tl.data.load("digits", seed=np.float32(1.5)), "seed is 1.5"),
        (lambda d: tl.attacks.Square(0.3, queries=True), "queries is True"),
        (lambda d: tl.attacks.CarliniWagner(steps=2.5), "steps is 2.5"),
        (lambda d: tl.attacks.Noise(tl.attacks.LInf(0.1), "3"), "draws is 3"),
        (lambda d: tl.attacks.Margin(math.nan), "confidence is nan"),
        (lambda d: tl.attacks.Bypass("low"), "level is low"),
        (lambda d: "a" * tl.attacks.Suspicion(), "weight is a"),
        (lambda d: tl.attacks.Budget("pgd", steps=True), "steps is True"),
        (lambda d: tl.attacks.Suite(steps=1.5), "steps is 1.5"),
        (lambda d: tl.Bounds(torch.zeros(2), None, {"often": torch.zeros(2)}), "fpr is often"),
    ],
)
def test_entries_name_what_is_no_number(make, line: str, digits: Split) -> None:
    with pytest.raises(TwinlatentError, match=line):
        make(digits)
