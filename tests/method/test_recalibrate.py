"""Thresholds anew on other benign images: valid p-values, what the card keeps, what is refused."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

import twinlatent as tl
from twinlatent.baselines import Baseline, fit_baseline
from twinlatent.data import Split
from twinlatent.data.seen import Seen
from twinlatent.errors import TwinlatentError
from twinlatent.evaluation.protocol import fitted
from twinlatent.evaluation.shift import changed
from twinlatent.method.calibrated import CalibratedDetector
from twinlatent.method.detector import Detector
from twinlatent.method.recalibrate import calibrate
from twinlatent.method.verdicts import PARTS
from twinlatent.recipes import recipe_of


def no_line(line: str) -> None:
    pytest.fail(line)


def nothing(line: str) -> None:
    pass


@pytest.fixture(scope="module")
def baseline(digits: Split) -> Baseline:
    settings = recipe_of(digits, "smoke").baseline_settings("plain").model_copy(update={"network": "c(3,8) sm(10)"})
    return fit_baseline("plain", digits, settings=settings, progress=False)


@pytest.fixture(scope="module")
def faint(digits: Split) -> Tensor:
    """All images but those of training, of half the contrast."""
    images = torch.cat([digits.test.images, digits.calibration.images, digits.selection.images])
    return changed(images, "contrast", 3)


def test_p_values_are_valid_by_leaving_each_image_out(trained_detector: Detector, digits: Split) -> None:
    """Of n + 1 exchangeable images each is as likely to be the new one: counted exactly, within a predicted class."""
    images = torch.cat([digits.test.images, digits.calibration.images])
    own = images[trained_detector.detect(images).label == 0][:40]
    rows = torch.arange(len(own))
    p = torch.cat([calibrate(trained_detector, own[rows != i], say=nothing).detect(own[i : i + 1], 0.5).p_value
                   for i in range(len(own))])  # fmt: skip
    for k in range(1, len(own) + 1):
        assert (p <= k / len(own) + 1e-6).sum() <= k
    assert len(own) == 40
    assert (p <= 0.5 + 1e-6).sum() >= 19, "no more careful than ties make it"


@pytest.mark.parametrize("thresholds", ["each_class", "together"])
def test_the_score_stays_what_it_is_and_a_few_images_do_not_flag_more(
    thresholds, trained_detector: Detector, digits: Split, tmp_path: Path
) -> None:
    """The score `joint` has a scale, which few images of a class tell badly: it is the one that was measured first."""
    joint = trained_detector.using(score="joint", thresholds=thresholds)
    images = torch.cat([digits.test.images, digits.selection.images])
    made = calibrate(joint, images[:25], say=nothing)
    assert torch.equal(made(images).suspicion, joint(images).suspicion)
    made.save(tmp_path / "made.safetensors")
    again = Detector.load(tmp_path / "made.safetensors")
    assert torch.equal(again(images).suspicion, joint(images).suspicion)
    assert again.fingerprint == made.fingerprint != Detector.load(tmp_path / "made.safetensors").using(
        thresholds="together" if thresholds == "each_class" else "each_class").fingerprint  # fmt: skip
    flagged = [calibrate(joint, some, say=nothing).detect(images, 0.05).adversarial.double().mean().item()
               for some in images[:400].split(25)]  # fmt: skip
    assert sum(flagged) / len(flagged) < 0.1, "a scale measured on these few would flag half"


def test_images_like_the_given_ones_are_flagged_as_often_as_asked(
    trained_detector: Detector, baseline: Baseline, faint: Tensor
) -> None:
    first, second = faint[::2], faint[1::2]
    for detector in (trained_detector, baseline):
        made = calibrate(detector, first, say=nothing)
        for fpr in (0.05, 0.1, 0.3):
            flagged = made.detect(second, fpr).adversarial.double().mean().item()
            assert abs(flagged - fpr) < 4 * (2 * fpr / len(second)) ** 0.5
        assert made.card["calibrated"][-1]["flagged_before"] == pytest.approx(
            detector.detect(first, 0.05).adversarial.double().mean().item()
        )
    assert trained_detector.detect(second, 0.05).adversarial.double().mean() > 0.3, "these thresholds were no use"


def test_labels_and_suspicion_stay_and_the_same_images_give_the_same_thresholds(
    trained_detector: Detector, baseline: Baseline, digits: Split
) -> None:
    for detector in (trained_detector, baseline):
        made = calibrate(detector, digits.calibration.images, say=nothing)
        before, now = detector.detect(digits.test.images), made.detect(digits.test.images)
        assert all(torch.equal(getattr(before, part), getattr(now, part)) for part in PARTS)
        assert made.fingerprint == detector.fingerprint
        for score in detector.scores:
            other = calibrate(detector.with_score(score), digits.selection.images, say=nothing)
            assert other.score == score
            assert torch.equal(other.detect(digits.test.images).label, before.label)
            assert other.fingerprint != detector.with_score(score).fingerprint


@pytest.mark.parametrize("method", ["twinlatent", "plain"])
def test_the_card_keeps_every_calibration_and_the_file_everything(
    trained_detector: Detector, baseline: Baseline, faint: Tensor, digits: Split, tmp_path: Path, method: str
) -> None:
    detector: CalibratedDetector = trained_detector if method == "twinlatent" else baseline
    once = calibrate(detector, faint, data="folder:/home/somebody/mine", say=nothing)
    calibrate(once, digits.selection.images, fpr=0.1, data="others", say=nothing).save(tmp_path / "a.safetensors")
    made = tl.load(tmp_path / "a.safetensors")
    first, second, third = made.card["calibrated"]
    assert [(one["data"], one["images"], one["fpr"]) for one in (first, second, third)] == [
        ("digits", 360, 0.05), ("folder:mine", len(faint), 0.05), ("others", 98, 0.1)
    ]  # fmt: skip
    assert first["thresholds"] == pytest.approx(detector.calibration.thresholds(0.05).tolist())
    assert second["thresholds"] == pytest.approx(once.calibration.thresholds(0.05).tolist())
    assert third["thresholds"] == pytest.approx(made.calibration.thresholds(0.1).tolist())
    assert first["provenance"] == detector.card["provenance"]
    assert len(third["provenance"]["date"]) == 10
    assert third["fingerprint"] != second["fingerprint"]
    assert {name: made.card[name] for name in detector.card} == detector.card
    assert made.calibration_images == 98
    assert "calibrated" not in detector.card
    again, test = calibrate(once, digits.selection.images, say=nothing), digits.test.images
    assert torch.equal(made.detect(test, 0.1).p_value, again.detect(test, 0.1).p_value)


def test_images_it_was_trained_with_are_left_out_with_a_line(trained_detector: Detector, digits: Split) -> None:
    lines: list[str] = []
    mixed = torch.cat([digits.train.images[:50], digits.selection.images])
    made = calibrate(trained_detector, mixed, say=lines.append)
    assert made.calibration_images == 98
    assert lines[0] == "the detector was trained with 50 of the 148 images; they are left out"
    assert made.card["calibrated"][-1]["left_out"] == 50
    alone = calibrate(trained_detector, digits.selection.images, say=nothing)
    assert torch.equal(made.calibration.pooled, alone.calibration.pooled)
    with pytest.raises(TwinlatentError, match=r"^0 images of 50 that it was not trained with cannot tell"):
        calibrate(trained_detector, digits.train.images[:50], say=nothing)


def test_images_it_was_calibrated_on_are_no_test_images_any_more(trained_detector: Detector, digits: Split) -> None:
    made = calibrate(trained_detector, digits.test.images[:100], say=nothing)
    lines: list[str] = []
    assert len(fitted(made, digits, say=lines.append).test) == len(digits.test) - 100
    assert "(0 in training, 100 for its thresholds)" in lines[0]
    assert made.seen is not None
    assert trained_detector.seen is not None
    assert torch.equal(made.seen.train, trained_detector.seen.train)
    assert len(fitted(made, replace(digits, test=digits.calibration), say=no_line).test) == 360, "no longer decisive"


def test_a_detector_that_does_not_say_what_it_saw_asks_its_data_set(trained_detector: Detector, digits: Split) -> None:
    d = trained_detector

    def unseen(card: dict) -> Detector:
        return Detector(d.encoders, d.class_means, d.benign, d.class_names, d.settings, card)

    lines: list[str] = []
    made = calibrate(unseen(d.card), torch.cat([digits.selection.images, digits.train.images[:3]]), say=lines.append)
    assert "trained with 3 of the 101 images" in lines[0]
    assert isinstance(made.seen, Seen)
    lines.clear()
    unknown = calibrate(unseen({}), digits.selection.images, say=lines.append)
    assert lines[0].startswith("whether the detector was trained on some of these images cannot be told")
    assert unknown.seen is None
    assert unknown.card["calibrated"][0]["data"] == "unknown"


def test_classes_with_too_few_images_are_named(trained_detector: Detector, digits: Split) -> None:
    lines: list[str] = []
    calibrate(trained_detector, digits.selection.images, say=lines.append)
    assert len(lines) == 2
    assert lines[0] == f"{len(digits.selection)} images decide on the thresholds; from about 100 on they are reliable"
    assert "too few images are predicted as 0, 1, 2 and 7 more for a threshold of its own at 0.05" in lines[1]
    calibrate(trained_detector, digits.calibration.images, say=no_line)
    together = calibrate(trained_detector.using(thresholds="together"), digits.calibration.images, say=no_line)
    assert len(together.calibration.thresholds(0.05).unique()) == 1


@pytest.mark.parametrize(
    ("images", "options", "line"),
    [
        (
            lambda d: d.selection.images[:18],
            {},
            r"^18 images cannot tell a false-positive rate of 0\.05; give at least 19 ",
        ),
        (lambda d: d.selection.images[:98], {"fpr": 0.01}, "give at least 99 benign images"),
        (lambda d: d.selection.images[:, :, :7], {}, r"images are \(1, 7, 8\) each, \(1, 8, 8\) is expected"),
        (lambda d: d.selection.images * 255, {}, "divide by 255"),
        (lambda d: d.selection.images, {"fpr": 0}, "fpr is 0; give a rate between 0 and 1"),
        (lambda d: d.selection, {}, "images are a LabelledImages"),
    ],
)
def test_what_cannot_be_is_refused(
    trained_detector: Detector, digits: Split, images: Callable, options: dict, line: str
):
    with pytest.raises(TwinlatentError, match=line):
        calibrate(trained_detector, images(digits), say=nothing, **options)


def test_what_is_no_detector_is_refused(digits: Split) -> None:
    with pytest.raises(TwinlatentError, match="the detector is a str; give a detector of this package"):
        calibrate("mnist-mim", digits.selection.images)  # type: ignore[type-var]
