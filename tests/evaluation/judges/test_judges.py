"""Judges: nearest neighbours by brute force, counts on judges made to order, what is kept and what refused."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from twinlatent.attacks import pgd
from twinlatent.criteria import Misclassified
from twinlatent.data import LabelledImages, Split
from twinlatent.errors import TwinlatentError
from twinlatent.evaluation.judges.training import Judges, train_judges
from twinlatent.evaluation.judges.verdicts import benign_agreement, judge, own_accuracy, shows_true
from twinlatent.evaluation.learners import JudgeSettings
from twinlatent.evaluation.metrics import Rate
from twinlatent.recipes import recipe_of

QUICK = JudgeSettings(steps=100, remembered=700, epsilon=0.2)


@pytest.fixture(scope="module")
def judges(digits: Split) -> Judges:
    return train_judges(digits, seed=0, settings=QUICK, progress=False)


class Reads(nn.Module):
    """Sees the class that the image's first pixel says, in tenths."""

    def forward(self, images: Tensor) -> Tensor:
        return nn.functional.one_hot((10 * images[:, 0, 0, 0]).round().long(), 10).float()


class ReadsSecond:
    """The same of the second pixel, as a scikit-learn classifier."""

    def predict(self, flat: np.ndarray) -> np.ndarray:
        return (10 * flat[:, 1]).round().astype(np.int64)


def told(cnn: list[int], knn: list[int]) -> Tensor:
    """Images in which the made-up judges see these classes."""
    images = torch.zeros(len(cnn), 1, 8, 8)
    images[:, 0, 0, 0], images[:, 0, 0, 1] = torch.tensor(cnn) / 10, torch.tensor(knn) / 10
    return images


MADE_UP = Judges(ReadsSecond(), Reads())  # type: ignore[arg-type]


def test_neighbours_are_those_of_brute_force(judges: Judges, digits: Split) -> None:
    known = torch.as_tensor(judges.classifier._fit_X)
    classes = torch.as_tensor(judges.classifier._y)
    some = digits.test.images[:100].flatten(1)
    nearest = torch.cdist(some.double(), known.double()).topk(5, largest=False).indices
    votes = nn.functional.one_hot(classes[nearest], 10).sum(1)
    seen = judges.labels(digits.test.images[:100])["knn"]
    assert (votes.gather(1, seen[:, None])[:, 0] == votes.max(1).values).all()


def test_neighbours_of_images_averaged_down_are_those_of_their_means(digits: Split) -> None:
    settings = QUICK.model_copy(update={"side": 2, "steps": 1})
    judges = train_judges(digits, seed=0, settings=settings, progress=False)
    images = digits.test.images[:100]
    means = torch.stack([images[..., y : y + 4, x : x + 4].mean((1, 2, 3)) for y in (0, 4) for x in (0, 4)], 1)
    found = judges.classifier.predict(means.numpy())
    assert torch.equal(judges.labels(images)["knn"], torch.as_tensor(found))
    assert (found == digits.test.labels[:100].numpy()).mean() > 0.3


def test_support_vectors_judge_in_their_place(digits: Split) -> None:
    settings = QUICK.model_copy(update={"compared": "svm", "steps": 1})
    seen = train_judges(digits, seed=0, settings=settings, progress=False).labels(digits.test.images)
    assert list(seen) == ["svm", "cnn"]
    assert (seen["svm"] == digits.test.labels).double().mean() > 0.9
    few = digits.train.subset(digits.train.labels == 3)
    with pytest.raises(TwinlatentError, match=rf"the {len(few)} training images .* are of one class"):
        train_judges(replace(digits, train=few), seed=0, settings=settings, progress=False)


def test_judges_see_what_is_asked_brightness_contrast_and_pixels_left_out(digits: Split) -> None:
    settings = JudgeSettings(compared="svm", evened=True, side=4, network_side=4, epsilon=0, steps=60)
    judges = train_judges(digits, seed=0, settings=settings, progress=False)
    images = digits.test.images[:100]
    before, after = judges.labels(images), judges.labels(0.6 * images + 0.3)
    means = torch.nn.functional.avg_pool2d(images, 2)
    blocks = judges.labels(means.repeat_interleave(2, -1).repeat_interleave(2, -2))
    assert (after["svm"] == before["svm"]).double().mean() > 0.95
    for name, seen in before.items():
        assert (blocks[name] == seen).double().mean() > 0.98, name  # what is averaged away is not seen either
        assert seen.unique().numel() > 3, name
    blank = judges.labels(torch.zeros(1, 1, 8, 8))
    assert all(0 <= int(label) < 10 for label in blank.values())


def test_large_images_have_judges_that_suit_them(digits: Split) -> None:
    larger = {part: LabelledImages(torch.kron(getattr(digits, part).images[:60], torch.ones(6, 6)),
                                   getattr(digits, part).labels[:60])
              for part in ("train", "calibration", "test")}  # fmt: skip
    large = replace(digits, **larger)
    settings = recipe_of(large).judges.model_copy(update={"steps": 1})
    judges = train_judges(large, seed=0, settings=settings, progress=False)
    assert (judges.compared, judges.view.side, judges.view.evened) == ("svm", 16, True)


def test_what_judges_see_is_counted_once() -> None:
    #          true   predicted  a third  differ  true and predicted
    cnn, knn = [1, 2, 3, 1, 4], [1, 2, 3, 2, 4]
    found = judge(
        MADE_UP, "mim_w", 0.3, "c1c2", told(cnn, knn), torch.tensor([1, 1, 1, 1, 4]), torch.tensor([2, 2, 2, 2, 4])
    )
    assert (found.shows_true, found.shows_predicted, found.neither, found.disagree) == (2, 1, 1, 1)
    assert shows_true(MADE_UP, told(cnn, knn), torch.tensor([1, 1, 1, 1, 4])).tolist() == [
        True,
        False,
        False,
        False,
        True,
    ]


def test_no_images_give_zero_counts() -> None:
    nothing = torch.empty(0, dtype=torch.int64)
    found = judge(MADE_UP, "cw_w", None, "c1c2", torch.empty(0, 1, 8, 8), nothing, nothing)
    assert (found.shows_true, found.shows_predicted, found.neither, found.disagree) == (0, 0, 0, 0)


def test_judges_read_digits_and_what_beyond_doubt_is_one(judges: Judges, digits: Split) -> None:
    cases = {(case.judge, case.cases): case for case in own_accuracy(judges, digits, seed=0)}
    assert len(cases) == 3 * 5
    for (who, kind), case in cases.items():
        assert case.n == len(digits.test)
        assert case.low <= case.value <= case.high
        if kind in ("benign", "fainter", "replaced"):
            assert case.value > 0.75, (who, kind)
        assert cases["agreement", kind].value <= cases["knn", kind].value
    ceiling, benign = benign_agreement(judges, digits, seed=0), cases["agreement", "benign"]
    assert ceiling == Rate(benign.value, benign.n, benign.low, benign.high)
    test = digits.test
    assert ceiling.value == shows_true(judges, test.images, test.labels).double().mean().item()


def test_a_judge_is_right_only_if_it_sees_what_was_pasted_over(digits: Split) -> None:
    """One who always sees the old class is never right about a replaced image."""
    seen = {case.cases: case.value for case in own_accuracy(MADE_UP, digits, seed=0) if case.judge == "cnn"}
    zeros = (digits.test.labels == 0).double().mean().item()
    assert seen["benign"] == pytest.approx(zeros, abs=0.02)  # the first pixel of these digits is black
    assert 0 < seen["replaced"] < 0.2


def test_the_network_withstands_more_than_one_trained_without_attacks(judges: Judges, digits: Split) -> None:
    plain = train_judges(digits, seed=0, settings=QUICK.model_copy(update={"epsilon": 0.0}), progress=False)
    some = digits.test.subset(slice(80))
    won = [
        pgd(made.network, some.images, some.labels, epsilon=0.2, steps=10, criterion=Misclassified())
        .success.double().mean().item()
        for made in (judges, plain)
    ]  # fmt: skip
    assert won[0] < won[1] - 0.2


def test_kept_judges_answer_as_before_and_others_are_refused(digits: Split, tmp_path: Path) -> None:
    few = JudgeSettings(steps=5, remembered=100)
    first = train_judges(digits, seed=3, folder=tmp_path, settings=few, progress=False)
    kept = (tmp_path / "judge.safetensors").read_bytes()
    again = train_judges(digits, seed=3, folder=tmp_path, settings=few, progress=False)
    anew = train_judges(digits, seed=3, settings=few, progress=False)
    for other in (again, anew):
        for name, seen in first.labels(digits.test.images).items():
            assert torch.equal(seen, other.labels(digits.test.images)[name])
    for seed, settings, named in ((4, few, "seed"), (3, QUICK, "settings")):
        with pytest.raises(TwinlatentError, match=f"holds a judge of other {named}"):
            train_judges(digits, seed=seed, folder=tmp_path, settings=settings, progress=False)
    assert (tmp_path / "judge.safetensors").read_bytes() == kept
