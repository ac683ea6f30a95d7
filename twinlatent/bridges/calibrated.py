"""A detector, or a model of the user's, with thresholds of benign images that another library hands over."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from twinlatent.data.validation import Array, check_images
from twinlatent.evaluation.protocol import Judgeable
from twinlatent.evaluation.protocol.answering import Answering, checked_model
from twinlatent.evaluation.protocol.foreign import Foreign
from twinlatent.method.calibrated import CalibratedDetector, Scored
from twinlatent.method.recalibrate import calibrate
from twinlatent.torch_state import fresh_torch


@fresh_torch()
def calibrated_on(model: Judgeable, images: Array, fpr: float) -> CalibratedDetector:
    """The model with thresholds of these benign images; the model itself stays as it is.

    Args:
        model: a detector of ours, see `calibrate`; or a user's model, as `evaluate` takes it.
        images: floating (n, channels, H, W) in [0, 1], that took no part in training.
        fpr: the finest false-positive rate that will be asked for.

    Raises:
        TwinlatentError: images of another shape or range, or too few of them; or a model that cannot answer them.
    """
    if isinstance(model, CalibratedDetector):
        return calibrate(model, images, fpr=fpr)
    answering = Answering(checked_model(model), "the detector")
    checked = check_images(images, channels=None)[0].detach().cpu()
    with answering.as_used(), torch.no_grad():
        made = Foreign(answering, checked)
    made.calibration.check(fpr)
    return made


def scored(detector: CalibratedDetector, images: Array) -> Scored:
    """Labels and suspicion under the detector's own score."""
    with _as_used(detector):
        return detector.scored(images)[detector.score]


@contextmanager
def _as_used(detector: CalibratedDetector) -> Iterator[None]:
    if isinstance(detector, Foreign):
        with detector.as_used():
            yield
    else:
        yield
