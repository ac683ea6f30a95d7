"""The benign images behind a p-value: histograms that count them, and examples that are nearest."""

import base64

import numpy as np
import pytest
import torch

from twinlatent.data import Split
from twinlatent.errors import TwinlatentError
from twinlatent.method.detector import Detector
from twinlatent.serve.looking.benign import examples_of, scores_of


def test_scores_are_those_of_the_calibration(looked, trained_detector: Detector) -> None:
    calibration = trained_detector.calibration
    status, said, _ = looked.ask("v1/models/digits/scores", fpr=0.1, bins=7)
    assert status == 200
    assert (said["images"], said["together"], said["fpr"]) == (trained_detector.calibration_images, False, 0.1)
    edges = np.array(said["edges"], np.float32)
    assert (edges[0], edges[-1]) == (float(calibration.pooled[0]), float(calibration.pooled[-1]))
    for found, scores, threshold in zip(said["classes"], calibration.scores, calibration.thresholds(0.1), strict=True):
        assert found["counts"] == np.histogram(scores.numpy(), edges)[0].tolist()
        assert (found["images"], found["threshold"]) == (len(scores), float(str(threshold.numpy())))
    assert said["counts"] == np.sum([found["counts"] for found in said["classes"]], 0).tolist()


def test_thresholds_of_all_classes_together(trained_detector: Detector) -> None:
    said = scores_of("digits", trained_detector.using(thresholds="together"), 0.05)
    assert said.together
    assert len({found.threshold for found in said.classes}) == 1


@pytest.mark.parametrize(
    ("path", "query", "status"),
    [
        ("v1/models/digits/scores", {"fpr": 1e-5}, 422),
        ("v1/models/digits/scores", {"bins": 0}, 422),
        ("v1/models/other/scores", {}, 404),
        ("v1/models/digits/examples", {"label": "cat"}, 422),
        ("v1/models/digits/examples", {"label": "3", "suspicion": "nan"}, 422),
        ("v1/models/digits/examples", {"seed": -1}, 422),
        ("v1/models/mnist-mim/examples", {"label": "3"}, 404),
        ("v1/models/other/examples", {}, 404),
    ],
)
def test_what_is_not_there_is_refused(looked, path: str, query: dict, status: int) -> None:
    found, said, _ = looked.ask(path, **query)
    assert found == status
    assert said["error"]


def test_examples_are_the_nearest_of_the_calibration_images(looked, trained_detector: Detector, digits: Split) -> None:
    scored = trained_detector.detect(digits.calibration.images)
    own = scored.suspicion[scored.label == 3].double()
    for suspicion in (-1e9, float(own.median()), 1e9):
        _, said, _ = looked.ask("v1/models/digits/examples", label="3", suspicion=suspicion)
        assert said["calibration"] is True
        found = [image["suspicion"] for image in said["images"]]
        assert found == sorted(found)
        distance = (own - suspicion).abs().sort().values
        assert sorted(abs(one - suspicion) for one in found) == distance[: len(found)].tolist()
        assert len(found) == 8
        for image in said["images"]:
            shown = np.frombuffer(base64.b64decode(image["pixels"]), np.uint8).reshape(1, 8, 8)
            rounded = (255 * digits.calibration.images).round().byte().numpy()
            places = (rounded == shown).all((1, 2, 3)).nonzero()[0]
            assert image["suspicion"] in scored.suspicion[torch.from_numpy(places)].tolist()


def test_without_a_label_a_test_image_is_drawn(looked, digits: Split) -> None:
    for seed in (0, 7, 7 + len(digits.test)):
        _, said, _ = looked.ask("v1/models/digits/examples", seed=seed)
        (found,) = said["images"]
        place = seed % len(digits.test)
        assert found["label"] == digits.class_names[digits.test.labels[place]]
        shown = np.frombuffer(base64.b64decode(found["pixels"]), np.uint8).reshape(1, 8, 8)
        assert (shown == (255 * digits.test.images[place]).round().byte().numpy()).all()


def test_images_that_it_was_not_calibrated_on_are_not_said_to_be(trained_detector: Detector, digits: Split) -> None:
    other = trained_detector.with_calibration(digits.selection.images, trained_detector.card, trained_detector.seen)
    found = examples_of({"mine": trained_detector, "other": other}, "digits", lambda line: None)
    assert (found["mine"].calibration, found["other"].calibration) == (True, False)


def test_data_that_fit_no_model_are_refused(trained_detector: Detector) -> None:
    lines: list[str] = []
    narrow = replace_shape(trained_detector)
    with pytest.raises(TwinlatentError, match="--examples digits: no examples for narrow: the detector takes"):
        examples_of({"narrow": narrow}, "digits", lines.append)
    assert lines == []
    assert list(examples_of({"narrow": narrow, "mine": trained_detector}, "digits", lines.append)) == ["mine"]
    (line,) = lines
    assert line.startswith("no examples for narrow: the detector takes")


def replace_shape(detector: Detector) -> Detector:
    """The same detector, which says that it takes other images."""
    made = detector.using()
    made.image_shape = (1, 9, 9)
    return made
