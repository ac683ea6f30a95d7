"""Criteria: each by hand, and joined."""

import dataclasses

import pytest
import torch

from twinlatent.criteria import C1, C2, Aim, All, HitsTarget, Misclassified, Undetected
from twinlatent.errors import TwinlatentError
from twinlatent.outputs import Bounds, Outputs

LOGITS = torch.tensor([[3.0, 1.0, 0.0], [0.0, 2.0, 1.0], [0.0, 1.0, 5.0], [9.0, 8.0, 7.0]])  # read as 0, 1, 2, 0
SUSPICION = torch.tensor([[0.1, 9.0, 9.0], [-9.0, 0.5, -9.0], [0.0, 0.0, 0.9], [0.3, 0.0, 0.0]])
ROBUST = torch.tensor([[-1.0, 5.0, 5.0], [5.0, -4.0, 5.0], [0.0, 0.0, -2.0], [-1.5, 0.0, 0.0]])
OUTPUTS = Outputs(LOGITS, SUSPICION, ROBUST)
BOUNDS = Bounds(
    torch.tensor([0.2, 0.5, 1.0]),
    torch.tensor([-1.5, -5.0, -1.0]),
    {0.05: torch.tensor([0.1, 0.4, 0.8]), 0.2: torch.tensor([0.05, 0.5, 2.0])},
)
AIM = Aim(torch.tensor([0, 0, 1, 2]), torch.tensor([1, 1, 0, 0]))


@pytest.mark.parametrize(
    ("criterion", "expected"),
    [
        (Misclassified(), [False, True, True, True]),
        (HitsTarget(), [False, True, False, True]),
        (C1(BOUNDS), [True, False, True, False]),  # the mean itself is not below the mean
        (C2(BOUNDS), [True, True, False, False]),
        (Undetected(BOUNDS), [True, False, False, False]),  # the threshold itself passes
        (Undetected(BOUNDS, 0.2), [False, True, True, False]),
        (Misclassified() & C2(BOUNDS), [False, True, False, False]),
        (Misclassified() & Undetected(BOUNDS, 0.2) & HitsTarget(), [False, True, False, False]),
        (C1(BOUNDS) & (C2(BOUNDS) & Undetected(BOUNDS)), [True, False, False, False]),
        (All((Misclassified(),)), [False, True, True, True]),
    ],
)
def test_each_is_right_by_hand(criterion, expected: list[bool]) -> None:
    verdict = criterion(OUTPUTS, AIM)
    assert verdict.dtype == torch.bool
    assert verdict.tolist() == expected


@pytest.mark.parametrize("rows", [slice(0, 1), slice(1, 3), torch.tensor([3, 0]), torch.tensor([True, False] * 2)])
def test_an_image_is_judged_alone(rows) -> None:
    criterion = Misclassified() & Undetected(BOUNDS, 0.2)
    some = Outputs(LOGITS[rows], SUSPICION[rows], ROBUST[rows])
    assert torch.equal(criterion(some, AIM[rows]), criterion(OUTPUTS, AIM)[rows])


def test_what_is_no_number_is_no_success_of_a_bound() -> None:
    outputs = Outputs(LOGITS, torch.full_like(SUSPICION, torch.nan), torch.full_like(ROBUST, torch.nan))
    for criterion in (C1(BOUNDS), C2(BOUNDS), Undetected(BOUNDS)):
        assert not criterion(outputs, AIM).any()


def test_logits_that_are_no_numbers_are_no_success() -> None:
    """`argmax` takes NaN for the largest."""
    broken = LOGITS.clone()
    broken[1, 1] = broken[2, 0] = torch.nan
    outputs = Outputs(broken, SUSPICION, ROBUST)
    assert outputs.labels.tolist() == [0, 1, 0, 0]
    assert Misclassified()(outputs, AIM).tolist() == [False, False, False, True]
    assert HitsTarget()(outputs, AIM).tolist() == [False, False, False, True]


def test_aims_are_indexed_part_by_part() -> None:
    aim = Aim(torch.arange(4), None, torch.arange(4.0), torch.arange(4) * 10)
    some = aim[torch.tensor([2, 0])]
    assert (some.labels.tolist(), some.targets, some.gamma.tolist(), some.seeds.tolist()) == (
        [2, 0],
        None,
        [2, 0],
        [20, 0],
    )
    assert (len(aim), len(some), len(aim[1:])) == (4, 2, 3)


def test_nothing_can_be_changed() -> None:
    for thing in (AIM, Misclassified(), C1(BOUNDS), Misclassified() & HitsTarget()):
        with pytest.raises(dataclasses.FrozenInstanceError):
            thing.labels = None


@pytest.mark.parametrize(
    ("judge", "complaint"),
    [
        (lambda: HitsTarget()(OUTPUTS, Aim(AIM.labels)), "HitsTarget needs targets"),
        (lambda: C2(BOUNDS)(Outputs(LOGITS, SUSPICION), AIM), "C2 needs a robust log-density"),
        (lambda: C2(Bounds(torch.zeros(3), None, {}))(OUTPUTS, AIM), "C2 needs a robust log-density"),
        (lambda: Undetected(BOUNDS, 0.01), r"no threshold at 0\.01 \(they have 0\.05, 0\.2\)"),
        (lambda: Undetected(Bounds(torch.zeros(3), None, {})), r"no threshold at 0\.05 \(they have none\)"),
    ],
)
def test_what_is_missing_is_said_in_a_line(judge, complaint: str) -> None:
    with pytest.raises(TwinlatentError, match=complaint) as caught:
        judge()
    assert "\n" not in str(caught.value)
