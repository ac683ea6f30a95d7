"""Thresholds for benign images of one's own: the detector's where these are its own, and the rate that is asked."""

import pytest
import torch

import twinlatent as tl
from twinlatent.bridges.flagging import Flagging, scores_of
from twinlatent.data import Split
from twinlatent.errors import TwinlatentError


@pytest.mark.parametrize("thresholds", ["each_class", "together"])
def test_on_its_own_calibration_images_a_detector_flags_what_it_flagged(
    trained_detector, digits: Split, thresholds
) -> None:
    ours = trained_detector.using(thresholds=thresholds)
    mine = Flagging.on(ours, digits.calibration.images)
    expected, found = ours.detect(digits.test.images, 0.1), mine.verdict(digits.test.images, 0.1)
    assert 0 < expected.adversarial.float().mean() < 1
    for part in ("label", "adversarial", "suspicion", "p_value"):
        assert torch.equal(getattr(found, part), getattr(expected, part))


def test_other_images_have_other_thresholds(trained_detector, digits: Split) -> None:
    noisy = (digits.test.images + 0.3 * torch.rand(digits.test.images.shape)).clamp(0, 1)
    before = trained_detector.detect(noisy, 0.1).adversarial.float().mean()
    after = Flagging.on(trained_detector, noisy).verdict(noisy, 0.1).adversarial.float().mean()
    assert before > 0.3
    assert after <= 0.1


def test_a_function_answers_the_same_whatever_comes_with_it(trained_detector, digits: Split) -> None:
    def model(images):
        return trained_detector(images)

    whole, classes = scores_of(model, digits.test.images[:50])
    assert classes == 10
    for part in ("label", "suspicion"):
        assert torch.equal(getattr(whole, part), getattr(scores_of(trained_detector, digits.test.images[:50])[0], part))
        assert torch.equal(getattr(whole[3:5], part), getattr(scores_of(model, digits.test.images[3:5])[0], part))


@pytest.mark.parametrize(
    ("model", "line"),
    [
        (3, "the detector is a int; give one of this package, or a function"),
        (lambda x: x.flatten(1), r"the detector answers with a Tensor; return twinlatent\.Outputs"),
    ],
)
def test_what_is_no_detector_is_named(model, line, digits: Split) -> None:
    with pytest.raises(TwinlatentError, match=line):
        Flagging.on(model, digits.test.images)


def test_a_module_is_asked_in_evaluation_mode_and_put_back(digits: Split) -> None:
    class Dropping(torch.nn.Module):
        def forward(self, images):
            assert not self.training
            return tl.Outputs(images.flatten(1)[:, :2], images.flatten(1)[:, :2])

    module = Dropping().train()
    scores_of(module, digits.test.images[:3])
    assert module.training
