"""Our detectors in other libraries: as a model of foolbox, as an estimator and as a detector of ART.

A detector is given with a false-positive rate or without. With one it is a classifier of C + 1 classes, whose last,
"adversarial", is the prediction exactly where the detector flags the image at that rate, see `Rejecting`; so an attack
that is to pass the detector aims at a class, or must not count the last one. Without, it is its classifier alone.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from twinlatent.bridges.attacks import imported
from twinlatent.bridges.views import Rejecting
from twinlatent.method.calibrated import CalibratedDetector
from twinlatent.method.recalibrate import calibrate


def foolbox_model(detector: CalibratedDetector, fpr: float | None = None) -> Any:
    """A detector as `foolbox.PyTorchModel`, for images (n, channels, H, W) in [0, 1].

    Args:
        detector: of ours, or any other that is calibrated.
        fpr: share of benign images that may be flagged, for C + 1 classes; None: C.

    Raises:
        TwinlatentError: foolbox is not installed; fpr finer than the calibration can tell.
    """
    library = imported("foolbox", "foolbox")
    return library.PyTorchModel(_classifier(detector, fpr), bounds=(0, 1), device=detector.device)


def art_classifier(detector: CalibratedDetector, fpr: float | None = None) -> Any:
    """A detector as ART's `PyTorchClassifier`, an estimator with gradients, for arrays like images in [0, 1].

    Its `fit` has nothing to train: it is refused by ART, which asks for an optimiser.

    Args and errors: as `foolbox_model`, the library being ART.
    """
    classes = imported("art", "art.estimators.classification")
    return classes.PyTorchClassifier(
        _classifier(detector, fpr),
        nn.CrossEntropyLoss(),
        tuple(detector.image_shape),
        detector.classes + (fpr is not None),
        clip_values=(0.0, 1.0),
        device_type="cpu" if detector.device.type == "cpu" else "gpu",
    )


def art_detector(detector: CalibratedDetector, fpr: float = 0.05) -> Any:
    """A detector as ART's `EvasionDetector`.

    `detect(x)` answers arrays (n, channels, H, W) in [0, 1] with a report, which has label, suspicion and p-value of
    each image, and with which of them are flagged, bool (n,). It can be asked at once, with the thresholds that the
    detector has; `fit(x, y)` sets them anew on benign images x of one's own, as `twinlatent.calibrate` does,
    without labels and without training.

    Args:
        detector: of ours, or any other that is calibrated.
        fpr: share of benign images that may be flagged.

    Raises:
        TwinlatentError: ART is not installed; fpr finer than the calibration can tell; within `fit` and `detect`,
            images of another shape or range.
    """
    base: Any = imported("art", "art.defences.detector.evasion").EvasionDetector

    class TwinlatentDetector(base):  # type: ignore[misc]
        defence_params = ("detector", "fpr")

        def __init__(self, detector: CalibratedDetector, fpr: float) -> None:
            super().__init__()
            self.detector = self.given = self.calibrated = detector
            self.fpr = fpr
            self._check_params()

        def fit(self, x: NDArray[Any], y: object = None, batch_size: int = 128, nb_epochs: int = 20, **_: Any) -> None:
            self.calibrated = calibrate(self.detector, x, fpr=self.fpr)

        def detect(self, x: NDArray[Any], batch_size: int = 128, **_: Any) -> tuple[dict[str, Any], NDArray[np.bool_]]:
            verdict = self.calibrated.detect(x, self.fpr)
            report = {"label": verdict.label, "suspicion": verdict.suspicion, "p_value": verdict.p_value}
            return {name: part.numpy() for name, part in report.items()}, verdict.adversarial.numpy()

        def _check_params(self) -> None:
            if self.given is not self.detector:  # by `set_params`
                self.given = self.calibrated = self.detector
            self.calibrated.calibration.check(self.fpr)

    return TwinlatentDetector(detector, fpr)


def _classifier(detector: CalibratedDetector, fpr: float | None) -> Rejecting:
    level = None if fpr is None else detector.bounds(fpr).thresholds[fpr]
    return Rejecting(detector, torch.empty(0, device=detector.device), level)
