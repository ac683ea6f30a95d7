"""Thresholds for benign images that another library hands over, of our detectors and of a user's model."""

import pytest
import torch

import twinlatent as tl
from twinlatent.bridges.calibrated import calibrated_on, scored
from twinlatent.data import Split
from twinlatent.errors import TwinlatentError


def alike(found: object, expected: object, *parts: str) -> None:
    for part in parts:
        assert torch.equal(getattr(found, part), getattr(expected, part))


def test_a_detector_of_ours_is_calibrated_as_everywhere(trained_detector, digits: Split) -> None:
    images = digits.test.images
    expected = tl.calibrate(trained_detector, images, fpr=0.1).detect(images, 0.1)
    made = calibrated_on(trained_detector, images, 0.1)
    alike(made.detect(images, 0.1), expected, "label", "adversarial", "suspicion", "p_value")
    alike(scored(made, images), expected, "label", "suspicion")
    assert trained_detector.detect(images, 0.1).adversarial.sum() != expected.adversarial.sum()


def test_a_user_s_function_or_pair_is_calibrated_as_ours_are(trained_detector, digits: Split) -> None:
    def logits(images):
        return trained_detector(images).logits

    def suspicion(images):
        return trained_detector(images).suspicion_of_label  # one an image

    images = digits.calibration.images
    expected = trained_detector.detect(digits.test.images, 0.1)
    for model in (trained_detector.outputs, (logits, suspicion)):
        made = calibrated_on(model, images, 0.1)
        assert made.class_names == tuple("0123456789")
        found = made.detect(digits.test.images, 0.1)
        alike(found, expected, "label", "adversarial", "p_value")
        alike(scored(made, digits.test.images[3:5]), expected_rows := trained_detector.scored(
            digits.test.images[3:5])["ratio"], "label", "suspicion")  # fmt: skip
        assert len(expected_rows.label) == 2


def test_images_it_was_trained_with_are_left_out(trained_detector, digits: Split) -> None:
    mixed = torch.cat([digits.train.images[:30], digits.test.images])
    with pytest.warns(UserWarning, match="was trained with 30 of the 389 images; they are left out"):
        made = calibrated_on(trained_detector, mixed, 0.1)
    assert made.calibration_images == len(digits.test.images)


@pytest.mark.parametrize(
    ("model", "line"),
    [
        (3, "the model is a int, which answers no images; give a module"),
        (lambda x: x.flatten(1), "the detector: it answers images with a Tensor, which lacks a suspicion"),
        (lambda x: tl.Outputs(x.flatten(1), x.flatten(1) > 0), "the detector: its suspicion is true or false"),
        (lambda x: tl.Outputs(x.flatten(1), 0 * x.flatten(1) / 0), "the detector: its suspicion .* not finite"),
    ],
)
def test_what_is_no_detector_is_named(model, line, digits: Split) -> None:
    with pytest.raises(TwinlatentError, match=line):
        calibrated_on(model, digits.test.images, 0.1)


def test_a_module_is_asked_in_evaluation_mode_and_put_back(digits: Split) -> None:
    class Dropping(torch.nn.Module):
        def forward(self, images):
            assert not self.training
            return tl.Outputs(images.flatten(1)[:, :2], images.flatten(1)[:, 20:22])

    module = Dropping().train()
    made = calibrated_on(module, digits.test.images, 0.1)
    scored(made, digits.test.images[:3])
    assert module.training
