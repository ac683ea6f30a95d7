"""From a classifier to a detector: what is checked before any work, what training keeps, how the result is judged."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import twinlatent as tl
from twinlatent.data import Split
from twinlatent.errors import TwinlatentError
from twinlatent.guards.guarded import Guarded
from twinlatent.method.detector import Detector
from twinlatent.method.game_state import GameSettings

BRIEF = GameSettings(encoder="c(3,8) z(6,6)", decoder="d(24) d(64)", rounds=2, batch=8)


def linear(images: Tensor) -> Tensor:
    return images.flatten(1)[:, :10]


@pytest.mark.parametrize(
    ("classifier", "line"),
    [
        (lambda x: linear(x)[:, :7], r"logits of shape \(8, 7\); \(8, 10\)"),
        (lambda x: linear(x).softmax(1), "probabilities, which hide gradients"),
        (lambda x: linear(x).detach(), "no gradient"),
        (lambda x: (linear(x), x), "answers images with a tuple"),
        (lambda x: tl.Outputs(linear(x), linear(x)), "with a Outputs; that is a detector and no classifier"),
        (lambda x: linear(x) * torch.nan, "answers 8 of 8 images with NaN"),
        (nn.Linear(3, 10), r"cannot answer images \(8, 1, 8, 8\): RuntimeError"),
        (lambda x: linear(x.reshape(8, 1, 8, 8)), r"cannot answer images \(1, 1, 8, 8\)"),
    ],
    ids=["classes", "probabilities", "gradient", "tuple", "detector", "nan", "shape", "batch"],
)
@pytest.mark.parametrize("make", [tl.rejecting, tl.guard])
def test_what_cannot_be_judged_is_refused_before_any_work(make, classifier, line, digits: Split, tmp_path) -> None:
    with pytest.raises(TwinlatentError, match=line) as refused:
        make(classifier, digits, name="mine")
    assert str(refused.value).startswith("mine")
    assert str(refused.value).count("mine") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_logit_that_is_infinite_for_a_later_image_is_refused(digits: Split) -> None:
    odd = digits.calibration.images[-1].mean()

    def classifier(images: Tensor) -> Tensor:
        return torch.where((images.mean((1, 2, 3)) == odd)[:, None], torch.inf, linear(images))

    with pytest.raises(TwinlatentError, match=r"classifier: its suspicion is not finite for \d+ of \d+ calibration"):
        tl.rejecting(classifier, digits)


def test_a_name_of_ours_is_refused(network: nn.Sequential, digits: Split) -> None:
    with pytest.raises(TwinlatentError, match="name 'gong': records call a detector of this package so"):
        tl.rejecting(network, digits, name="gong")


def test_a_guard_is_trained_and_kept_in_a_folder(network: nn.Sequential, digits: Split, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    made = tl.guard(network, digits, settings=BRIEF, name="mine", folder=folder, seed=3, progress=False)
    alone = tl.fit_split(digits, settings=BRIEF, seed=3, progress=False)
    assert made.detector is not None
    assert made.detector.fingerprint == alone.fingerprint
    assert (made.card["rounds"], made.card["guards"], made.method) == (2, "mine", "mine")
    read = tl.load(folder, classifier=network)
    assert read.fingerprint == made.fingerprint
    resumed = tl.guard(network, digits, settings=BRIEF, name="mine", folder=folder, seed=3, resume=True, progress=False)
    assert resumed.fingerprint == made.fingerprint
    assert tl.load(folder, classifier=network).fingerprint == made.fingerprint


def test_a_function_is_not_trained_for_where_it_cannot_be_kept(digits: Split, tmp_path: Path) -> None:
    with pytest.raises(TwinlatentError, match="linear is a function or has no parameters"):
        tl.guard(linear, digits, folder=tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_a_detector_of_other_images_cannot_guard(network, digits: Split, trained_detector: Detector) -> None:
    renamed = replace(digits, class_names=tuple("abcdefghij"))
    with pytest.raises(TwinlatentError, match=r"classes 0, .*; digits has \(1, 8, 8\) of a, b"):
        tl.guard(network, renamed, trained_detector)


def test_thresholds_are_not_set_on_images_that_the_guard_learnt(network, digits: Split, trained_detector) -> None:
    learnt = replace(digits, calibration=digits.train.subset(slice(100)))
    with pytest.raises(TwinlatentError, match="trained on 100 of 100 calibration images of digits, so thresholds"):
        tl.guard(network, learnt, trained_detector)


def test_a_trained_detector_takes_no_training(network, digits: Split, trained_detector, tmp_path: Path) -> None:
    with pytest.raises(TwinlatentError, match="preset, folder is for a training, but a trained detector is given"):
        tl.guard(network, digits, trained_detector, preset="smoke", folder=tmp_path)


def test_surrogate_gradients_let_a_classifier_without_any_be_judged(network: nn.Sequential, digits: Split) -> None:
    """As ONNX Runtime would answer: no gradient of its own, that of a surrogate behind `bpda`."""
    network.eval()

    def exact(images: Tensor) -> Tensor:
        with torch.no_grad():
            return network(images)

    attackable = tl.attacks.bpda(nn.Identity(), exact, nn.Sequential(nn.Flatten(), nn.Linear(64, 10)))
    made = tl.rejecting(lambda images: attackable(images).logits, digits, name="runtime")
    assert torch.equal(made.detect(digits.test.images).label, exact(digits.test.images).argmax(1))
    images = digits.test.images[:3].clone().requires_grad_()
    assert torch.autograd.grad(made(images).suspicion_of_label.sum(), images)[0].abs().sum() > 0


def test_an_onnx_file_is_a_classifier(exported, digits: Split, network: nn.Sequential) -> None:
    path = exported(1)
    ours, theirs = (tl.rejecting(one, digits).detect(digits.test.images) for one in (path, network))
    assert torch.equal(ours.label, theirs.label)
    torch.testing.assert_close(ours.suspicion, theirs.suspicion, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_both_are_judged_as_any_detector(network: nn.Sequential, digits: Split, trained_detector: Detector) -> None:
    few = replace(digits, test=digits.test.subset(slice(40)))

    def judged(made: Guarded) -> tl.Report:
        return tl.evaluate(made, few, suite="none", blackbox_images=20, substitutes=["f_p"], progress=False)

    alone, guarded = judged(tl.rejecting(network, digits)), judged(tl.guard(network, digits, trained_detector))
    assert alone.accuracy.value == guarded.accuracy.value > 0.9
    for report, score in ((alone, "log-odds"), (guarded, "ratio")):
        assert (report.model.method, report.model.label_rule, report.model.score) == ("Sequential", "classifier", score)


@pytest.mark.parametrize("make", [tl.rejecting, tl.guard])
def test_what_looks_wrong_is_said_to_who_asks(make, digits: Split, trained_detector: Detector) -> None:
    said: list[str] = []
    more = {"by": trained_detector} if make is tl.guard else {}
    make(lambda x: linear(x).detach() + 0 * linear(x), digits, name="flat", say=said.append, **more)
    assert said
    assert all(line.startswith("flat: ") for line in said)
