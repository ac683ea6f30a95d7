"""A detector as scikit-learn knows outlier detectors: its own checks, its pipelines, and our verdicts."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from torch import Tensor
from torch.nn import functional as F

import twinlatent as tl
from twinlatent.bridges import OutlierDetector
from twinlatent.data import Split
from twinlatent.errors import TwinlatentError
from twinlatent.method.detector import Detector


class AnyLength:
    """A detector of 8×8 images that takes rows of any length, stretched to 64 pixels."""

    def __init__(self, detector: Detector) -> None:
        self.detector = detector

    def __call__(self, rows: Tensor) -> tl.Outputs:
        return self.detector(F.interpolate(rows.flatten(1)[:, None], 64).reshape(-1, 1, 8, 8))


@pytest.fixture(scope="module")
def rows(digits: Split) -> np.ndarray:
    return digits.calibration.images.flatten(1).numpy()


CANNOT_PASS = {
    "check_estimators_overwrite_params": "compares pickles of a parameter and of its deep copy, and tensors pickle by "
    "their place in memory; test_a_fit_leaves_the_detector_as_it_is compares what they hold",
}


@pytest.mark.slow
def test_scikit_learn_has_nothing_to_find_fault_with(trained_detector) -> None:
    from sklearn.utils.estimator_checks import check_estimator  # slow to import

    checked = OutlierDetector(AnyLength(trained_detector), fpr=0.2, value_range=None)
    done = check_estimator(checked, on_fail=None, on_skip=None, expected_failed_checks=CANNOT_PASS)
    assert {check["check_name"]: repr(check["exception"]) for check in done if check["status"] == "failed"} == {}
    assert {check["check_name"] for check in done if check["status"] == "xfail"} == CANNOT_PASS.keys()
    assert sum(check["status"] == "passed" for check in done) >= 40


def test_a_fit_leaves_the_detector_as_it_is(trained_detector, digits: Split, rows) -> None:
    before = trained_detector.fingerprint, trained_detector.detect(digits.test.images).adversarial
    OutlierDetector(trained_detector, fpr=0.3).fit(rows[:50] ** 2).predict(rows)
    assert trained_detector.fingerprint == before[0]
    assert (trained_detector.detect(digits.test.images).adversarial == before[1]).all()


def test_its_verdicts_are_the_detector_s(trained_detector, digits: Split, rows) -> None:
    known = OutlierDetector(trained_detector, fpr=0.1).fit(rows)
    noisy = (digits.test.images + 0.3 * digits.test.images.flip(0)).clamp(0, 1)
    expected = trained_detector.detect(noisy, 0.1)
    found = known.predict(noisy.flatten(1).numpy())
    assert np.array_equal(found == -1, expected.adversarial.numpy())
    assert 0.2 < (found == -1).mean() < 1
    assert known.image_shape_ == (1, 8, 8)
    assert np.array_equal(known.score_samples(rows[:9]), known.decision_function(rows[:9]))
    worth = np.concatenate([known.score_samples(rows), known.score_samples(noisy.flatten(1).numpy())])
    assert roc_auc_score(np.arange(len(worth)) < len(rows), worth) > 0.6


def test_the_share_that_is_asked_is_flagged_and_bytes_are_scaled(trained_detector, rows) -> None:
    flagged = {fpr: (OutlierDetector(trained_detector, fpr=fpr).fit_predict(rows) == -1).mean() for fpr in (0.2, 0.5)}
    assert 0.1 < flagged[0.2] <= 0.2 < flagged[0.5] <= 0.5
    plain, bytes_in = OutlierDetector(trained_detector), OutlierDetector(trained_detector, value_range=(0, 255))
    assert np.array_equal(plain.fit_predict(rows), bytes_in.fit_predict(255 * rows))
    measured = OutlierDetector(trained_detector, value_range=None).fit(7 * rows - 3)
    assert measured.value_range_ == (-3, 4)
    assert np.isfinite(measured.score_samples(20 * rows[:3])).all()


def test_it_works_in_pipelines_and_searches(trained_detector, rows) -> None:
    line = make_pipeline(FunctionTransformer(lambda x: x / 16), OutlierDetector(trained_detector))
    assert clone(line).fit(16 * rows).predict(16 * rows).shape == (len(rows),)
    search = GridSearchCV(OutlierDetector(trained_detector), {"fpr": [0.1, 0.2]}, cv=2,
                          scoring=lambda estimator, x, y=None: (estimator.predict(x) == 1).mean())  # fmt: skip
    assert search.fit(rows).best_params_ == {"fpr": 0.1}


@pytest.mark.parametrize(
    ("settings", "wrong", "line"),
    [
        ({"detector": None}, lambda rows: rows, "detector is None; give one"),
        ({}, lambda rows: rows[:, :9], r"rows have 9 pixels, images \(1, 8, 8\) have 64"),
        ({}, lambda rows: rows[:5], "n_samples = 5 cannot tell fpr 0.05; give 19 benign rows or more"),
        ({}, lambda rows: 255 * rows, r"images reach from 0 to 255, outside \[0, 1\]"),
        ({"fpr": 2}, lambda rows: rows, "fpr is 2; give a number above 0 and below 1"),
        ({"image_shape": (1, 4, 4)}, lambda rows: rows, r"rows have 64 pixels, images \(1, 4, 4\) have 16"),
    ],
)
def test_what_does_not_fit_is_said_in_a_line(settings, wrong, line, trained_detector, rows) -> None:
    with pytest.raises(TwinlatentError, match=line):
        OutlierDetector(**({"detector": trained_detector} | settings)).fit(wrong(rows))
