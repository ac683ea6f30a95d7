"""Adversarial-example detectors with robust and vulnerable latent features, and the attacks that test them.

>>> import twinlatent as tl
>>> split = tl.data.load("digits")
>>> split.train.images.shape[1:]
torch.Size([1, 8, 8])
"""

from typing import TYPE_CHECKING

from twinlatent.errors import TwinlatentError
from twinlatent.lazy import lazily

__version__ = "0.2.0"

if TYPE_CHECKING:
    from twinlatent import attacks, bridges, criteria, data
    from twinlatent.evaluation.evaluate import evaluate
    from twinlatent.evaluation.protocol.settings import WhiteBoxSettings
    from twinlatent.evaluation.results.report import Report
    from twinlatent.evaluation.settings import EvaluationSettings
    from twinlatent.evaluation.white_box.suite import attack_detector
    from twinlatent.export.running import OnnxDetector
    from twinlatent.export.writing import to_onnx
    from twinlatent.guards.guarded import Guarded
    from twinlatent.guards.making import guard, rejecting
    from twinlatent.guards.onnx_file import from_onnx
    from twinlatent.method.adversaries.search import AdversarySettings
    from twinlatent.method.certificate import Certificate, Undecided, certify
    from twinlatent.method.detector import Detector, DetectorSettings
    from twinlatent.method.fit import fit, fit_split
    from twinlatent.method.game_state import GameSettings
    from twinlatent.method.losses import LossSettings
    from twinlatent.method.negatives import NegativesSettings
    from twinlatent.method.recalibrate import calibrate
    from twinlatent.method.verdicts import Verdict
    from twinlatent.normalised import Normalised
    from twinlatent.outputs import Bounds, Outputs
    from twinlatent.zoo import load
else:
    __getattr__, __dir__ = lazily(
        __name__,
        {
            "twinlatent": ("attacks", "bridges", "criteria", "data"),
            "twinlatent.evaluation.evaluate": ("evaluate",),
            "twinlatent.evaluation.protocol.settings": ("WhiteBoxSettings",),
            "twinlatent.evaluation.results.report": ("Report",),
            "twinlatent.evaluation.settings": ("EvaluationSettings",),
            "twinlatent.evaluation.white_box.suite": ("attack_detector",),
            "twinlatent.export.running": ("OnnxDetector",),
            "twinlatent.export.writing": ("to_onnx",),
            "twinlatent.guards.guarded": ("Guarded",),
            "twinlatent.guards.making": ("guard", "rejecting"),
            "twinlatent.guards.onnx_file": ("from_onnx",),
            "twinlatent.method.verdicts": ("Verdict",),
            "twinlatent.method.certificate": ("Certificate", "Undecided", "certify"),
            "twinlatent.method.detector": ("Detector", "DetectorSettings"),
            "twinlatent.method.fit": ("fit", "fit_split"),
            "twinlatent.method.adversaries.search": ("AdversarySettings",),
            "twinlatent.method.game_state": ("GameSettings",),
            "twinlatent.method.losses": ("LossSettings",),
            "twinlatent.method.negatives": ("NegativesSettings",),
            "twinlatent.method.recalibrate": ("calibrate",),
            "twinlatent.normalised": ("Normalised",),
            "twinlatent.outputs": ("Bounds", "Outputs"),
            "twinlatent.zoo": ("load",),
        },
    )

__all__ = [
    "AdversarySettings",
    "Bounds",
    "Certificate",
    "Detector",
    "DetectorSettings",
    "EvaluationSettings",
    "GameSettings",
    "Guarded",
    "LossSettings",
    "NegativesSettings",
    "Normalised",
    "OnnxDetector",
    "Outputs",
    "Report",
    "TwinlatentError",
    "Undecided",
    "Verdict",
    "WhiteBoxSettings",
    "__version__",
    "attack_detector",
    "attacks",
    "bridges",
    "calibrate",
    "certify",
    "criteria",
    "data",
    "evaluate",
    "fit",
    "fit_split",
    "from_onnx",
    "guard",
    "load",
    "rejecting",
    "to_onnx",
]
