"""Searches: which images they ask an attack about, with which targets, seeds and γ, and what they keep."""

from dataclasses import dataclass, field

import pytest
import torch
from torch import Tensor

from twinlatent.attacks import Attack, EveryTarget, GammaSearch, Restarts
from twinlatent.attacks.attack import Found, again
from twinlatent.criteria import Aim, Criterion, Misclassified
from twinlatent.errors import TwinlatentError
from twinlatent.outputs import Model, Outputs

IMAGES = torch.arange(4.0).reshape(4, 1, 1, 1).expand(4, 1, 2, 2) / 10
LABELS, SEEDS = torch.tensor([0, 1, 2, 0]), torch.tensor([11, 12, 13, 14])
AIM = Aim(LABELS, seeds=SEEDS)


def model(x: Tensor) -> Outputs:
    """Class 2 above 0.5; else the label is that of `LABELS`; the next class comes second."""
    mean = x.mean((1, 2, 3))
    label = LABELS[(mean * 10).round().long().clamp(0, 3)]
    logits = torch.eye(3)[label] + 0.5 * torch.eye(3)[(label + 1) % 3]
    above = torch.tensor([0.0, 0.0, 9.0])
    return Outputs(torch.where((mean > 0.5)[:, None], above, logits), torch.zeros(len(x), 3))


@dataclass(frozen=True)
class Fake(Attack):
    """Notes what it was asked, and answers by a rule: (image numbers, call number) → images, success, rank."""

    rule: object
    asked: list = field(default_factory=list)

    def __call__(self, model: Model, images: Tensor, aim: Aim, criterion: Criterion) -> Found:
        numbers = (images[:, 0, 0, 0] * 10).round().long()
        found, success, rank = self.rule(numbers, len(self.asked), aim)
        self.asked.append((numbers.tolist(), aim))
        made = Found.nothing(found)
        return Found(found, success, rank, made.steps + 5, made.dead_steps + 1, made.gamma, made.gamma_stuck)


def pictures(values: Tensor) -> Tensor:
    return values.float().reshape(-1, 1, 1, 1).expand(-1, 1, 2, 2)


def won_at_call(*calls: int):
    """Image i is a success at call `calls[i]`; the rank is −|call − 1|, and the image says which call made it."""

    def rule(numbers: Tensor, call: int, aim: Aim) -> tuple[Tensor, Tensor, Tensor]:
        success = torch.tensor(calls)[numbers] == call
        return pictures(torch.full((len(numbers),), call)), success, torch.full((len(numbers),), -abs(call - 1.0))

    return rule


def test_restarts_leave_successes_alone_and_keep_the_best() -> None:
    fake = Fake(won_at_call(0, 2, 9, 1))
    found = Restarts(fake, 3)(model, IMAGES, AIM, Misclassified())
    assert [rows for rows, _ in fake.asked] == [[0, 1, 2, 3], [1, 2, 3], [1, 2]]
    assert found.success.tolist() == [True, True, False, True]
    assert found.images[:, 0, 0, 0].tolist() == [0, 2, 1, 1]
    assert found.steps.tolist() == [5, 15, 15, 10]
    assert found.dead_steps.tolist() == [1, 3, 3, 2]


def test_restarts_end_when_all_are_won_and_draw_anew() -> None:
    fake = Fake(won_at_call(0, 0, 0, 0))
    Restarts(fake, 5)(model, IMAGES, AIM, Misclassified())
    assert len(fake.asked) == 1
    fake = Fake(won_at_call(9, 9, 9, 9))
    Restarts(fake, 3)(model, IMAGES, AIM, Misclassified())
    assert len(torch.cat([aim.seeds for _, aim in fake.asked]).unique()) == 12


def test_searches_within_searches_never_draw_twice() -> None:
    seeds = [again(again(AIM, outer), inner).seeds for outer in range(4) for inner in range(4)]
    assert len(torch.cat(seeds).unique()) == 4 * 4 * 4


def test_an_aim_without_seeds_has_none_later() -> None:
    assert again(Aim(LABELS), 3).seeds is None
    assert (again(AIM, 10**6).seeds >= 0).all()


def test_every_target_goes_from_the_likeliest_on() -> None:
    fake = Fake(won_at_call(1, 9, 0, 9))
    found = EveryTarget(fake)(model, IMAGES, AIM, Misclassified())
    assert [(rows, aim.targets.tolist(), aim.labels.tolist()) for rows, aim in fake.asked] == [
        ([0, 1, 2, 3], [1, 2, 0, 1], [0, 1, 2, 0]),
        ([0, 1, 3], [2, 0, 2], [0, 1, 0]),
    ]
    assert found.success.tolist() == [True, False, True, False]


@pytest.mark.parametrize(("count", "calls"), [(1, 1), (2, 2), (7, 2), (None, 2)])
def test_only_so_many_targets(count: int | None, calls: int) -> None:
    fake = Fake(won_at_call(9, 9, 9, 9))
    EveryTarget(fake, count)(model, IMAGES, AIM, Misclassified())
    assert len(fake.asked) == calls


def gammas(fake: Fake, image: int) -> list[float]:
    """γ of each attempt on an image."""
    return [aim.gamma[rows.index(image)].item() for rows, aim in fake.asked if image in rows]


def by_gamma(too_high: list[float], wins: list[tuple[float, float]]):
    """Image i is misclassified up to γ = too_high[i], and a success within wins[i]."""

    def rule(numbers: Tensor, call: int, aim: Aim) -> tuple[Tensor, Tensor, Tensor]:
        misclassified = aim.gamma <= torch.tensor(too_high)[numbers]
        low, high = torch.tensor(wins)[numbers].unbind(1)
        away = torch.where(
            LABELS[numbers] == 2, 0.0, 0.9
        )  # class 2 is misclassified as another below, the others above
        return (
            pictures(torch.where(misclassified, away, numbers / 10)),
            (low < aim.gamma) & (aim.gamma < high),
            aim.gamma,
        )

    return rule


def test_gamma_rises_if_detected_falls_if_not_misclassified_and_is_bracketed_at_last() -> None:
    never = (7e9, 8e9)
    fake = Fake(by_gamma([1e9, 0.0, 50.0, 5.0], [never, never, (20, 40), (5, 6)]))
    found = GammaSearch(fake, searches=5)(model, IMAGES, AIM, Misclassified())
    assert gammas(fake, 0) == pytest.approx([1, 10, 100, 1e3, 1e4])
    assert gammas(fake, 1) == pytest.approx([1, 0.1, 0.01, 1e-3, 1e-4])
    assert gammas(fake, 2) == pytest.approx([1, 10, 100, 1000**0.5])
    assert gammas(fake, 3) == pytest.approx([1, 10, 10**0.5, 10**0.75])
    assert found.success.tolist() == [False, False, True, True]
    assert found.gamma[2:].tolist() == pytest.approx([1000**0.5, 10**0.75])
    assert found.gamma_stuck.tolist() == [True, True, False, False]
    assert found.steps.tolist() == [25, 25, 20, 20]


def test_gamma_starts_and_moves_as_told() -> None:
    fake = Fake(by_gamma([1e9, 0.0, 1e9, 0.0], [(7e9, 8e9)] * 4))
    GammaSearch(fake, searches=3, start=4.0, factor=2.0)(model, IMAGES, AIM, Misclassified())
    assert (gammas(fake, 0), gammas(fake, 1)) == ([4, 8, 16], [4, 2, 1])


def test_a_bracketed_search_that_fails_is_not_stuck() -> None:
    fake = Fake(by_gamma([50.0] * 4, [(7e9, 8e9)] * 4))
    found = GammaSearch(fake, searches=4)(model, IMAGES, AIM, Misclassified())
    assert not found.success.any()
    assert not found.gamma_stuck.any()


def test_of_failures_the_least_suspicious_misclassified_image_is_kept_whatever_the_attack_says_of_it() -> None:
    """γ scales the attack's own ranks, so that those of two attempts cannot be compared."""

    def suspecting(x: Tensor) -> Outputs:
        mean = x.mean((1, 2, 3))
        return Outputs(torch.stack([torch.full_like(mean, 0.3), mean], 1), mean[:, None].expand(-1, 2))

    means, ranks = (0.9, 0.5, 0.7, 0.1), (100.0, -3.0, 7.0, 200.0)  # the last is not misclassified

    def rule(numbers: Tensor, call: int, aim: Aim) -> tuple[Tensor, Tensor, Tensor]:
        flat = torch.ones(len(numbers))
        return pictures(means[call] * flat), flat < 0, ranks[call] * flat

    found = GammaSearch(Fake(rule), searches=4)(suspecting, IMAGES, Aim(torch.zeros(4).long()), Misclassified())
    torch.testing.assert_close(found.images.mean((1, 2, 3)), torch.full((4,), 0.5))
    assert found.gamma.tolist() == pytest.approx([10] * 4)
    assert found.steps.tolist() == [20] * 4


def test_targets_that_are_given_are_refused() -> None:
    with pytest.raises(TwinlatentError, match="targets are given, but this attack tries every wrong class"):
        EveryTarget(Fake(None))(model, IMAGES, Aim(LABELS, (LABELS + 1) % 3), Misclassified())


def test_better_and_worse() -> None:
    """A success beats none; else the rank decides; the first stays where both are alike."""
    mine = Found.nothing(pictures(torch.zeros(5)))
    mine = Found(mine.images, torch.tensor([True, False, True, False, False]), torch.tensor([0.0, 9, 0, 0, 3]),
                 mine.steps + 1, mine.dead_steps, mine.gamma, mine.gamma_stuck)  # fmt: skip
    other = Found(pictures(torch.ones(4)), torch.tensor([False, True, True, False]), torch.tensor([9.0, 0, 1, 0]),
                  mine.steps[:4] + 1, mine.dead_steps[:4], mine.gamma[:4], mine.gamma_stuck[:4])  # fmt: skip
    merged = mine.merged(other, torch.tensor([0, 1, 2, 3]))
    assert merged.images[:, 0, 0, 0].tolist() == [0, 1, 1, 0, 0]
    assert merged.success.tolist() == [True, True, True, False, False]
    assert merged.rank.tolist() == [0, 0, 1, 0, 3]
    assert merged.steps.tolist() == [3, 3, 3, 3, 1]


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: Restarts(Fake(None), 0), "restarts is 0; give a whole number of at least 1"),
        (lambda: EveryTarget(Fake(None), 0), "count of targets is 0"),
        (lambda: GammaSearch(Fake(None), 0), "searches is 0"),
        (lambda: GammaSearch(Fake(None), start=0.0), "start of γ is 0.0"),
        (lambda: GammaSearch(Fake(None), factor=1.0), "factor of γ is 1.0; give a number above 1"),
    ],
)
def test_searches_without_sense_are_refused(make, complaint: str) -> None:
    with pytest.raises(TwinlatentError, match=complaint):
        make()
