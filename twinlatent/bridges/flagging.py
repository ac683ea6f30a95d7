"""A model with benign images of the user's own: what it flags at a rate, the model itself being left as it is."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from twinlatent.attacks.models import frozen
from twinlatent.data.validation import Array, check_images
from twinlatent.errors import TwinlatentError
from twinlatent.method.calibrated import CalibratedDetector, Scored, Verdict, chunks
from twinlatent.method.calibration import Calibration, calibrate
from twinlatent.outputs import Outputs
from twinlatent.torch_state import fresh_torch

Answers = CalibratedDetector | Callable[[Tensor], Outputs]
"""A detector, or a module or function: images (n, channels, H, W) in [0, 1] → `Outputs`."""


@dataclass(frozen=True, eq=False)
class Flagging:
    """A model and the benign suspicion that its answers are compared with.

    Attributes:
        model: a detector, or what answers images with `Outputs`.
        calibration: benign suspicion by predicted class.
    """

    model: Answers
    calibration: Calibration

    @classmethod
    def on(cls, model: Answers, images: Array) -> Self:
        """Calibrated on benign images, float (n, channels, H, W) in [0, 1], that took no part in training.

        Classes are calibrated apart or together as the detector's are, and apart where it has no calibration.
        """
        scored, classes = scores_of(model, images)
        together = isinstance(model, CalibratedDetector) and model.calibration.together
        return cls(model, calibrate(scored.suspicion, scored.label, classes, together=together))

    def verdict(self, images: Array, fpr: float) -> Verdict:
        """As `CalibratedDetector.detect`, with these thresholds; NaN is flagged."""
        scored, _ = scores_of(self.model, images)
        flagged = ~(scored.suspicion <= self.calibration.thresholds(fpr)[scored.label])
        p_value = self.calibration.p_values(scored.suspicion, scored.label, fpr)
        return Verdict(scored.label, flagged, scored.suspicion, p_value)


@fresh_torch()
@torch.no_grad()
def scores_of(model: Answers, images: Array) -> tuple[Scored, int]:
    """Predicted labels and suspicion of images, and the number of classes.

    Raises:
        TwinlatentError: images of another shape or range; a model that does not answer with `Outputs`.
    """
    if isinstance(model, CalibratedDetector):
        return model.scored(images)[model.score], model.classes
    if not callable(model):
        raise TwinlatentError(f"the detector is a {type(model).__name__}; give one of this package, or a function from "
                              "images to twinlatent.Outputs")  # fmt: skip
    labels, suspicion = [], []
    with frozen(model):
        for n, chunk in chunks(check_images(images, channels=None)[0]):
            answer: object = model(chunk)
            if not isinstance(answer, Outputs):
                raise TwinlatentError(f"the detector answers with a {type(answer).__name__}; return "
                                      "twinlatent.Outputs(logits, suspicion)")  # fmt: skip
            labels.append(answer.labels[:n].cpu())
            suspicion.append(answer.suspicion_of_label[:n].cpu())
            classes = answer.logits.shape[1]
    return Scored(torch.cat(labels), torch.cat(suspicion)), classes
