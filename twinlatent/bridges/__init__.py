"""To and from other people's libraries: their attacks on our detectors, our detectors in their toolboxes.

None of them is needed for anything else; each is imported when its function is called (the extra
`bridges` brings foolbox and ART).
"""

from typing import TYPE_CHECKING

from twinlatent.lazy import lazily

if TYPE_CHECKING:
    from twinlatent.bridges.attacks import adv_lib, art, foolbox, secml, torchattacks
    from twinlatent.bridges.models import art_classifier, art_detector, foolbox_model
    from twinlatent.bridges.outliers import OutlierDetector
else:
    __getattr__, __dir__ = lazily(
        __name__,
        {
            "twinlatent.bridges.attacks": ("adv_lib", "art", "foolbox", "secml", "torchattacks"),
            "twinlatent.bridges.models": ("art_classifier", "art_detector", "foolbox_model"),
            "twinlatent.bridges.outliers": ("OutlierDetector",),
        },
    )

__all__ = [
    "OutlierDetector",
    "adv_lib",
    "art",
    "art_classifier",
    "art_detector",
    "foolbox",
    "foolbox_model",
    "secml",
    "torchattacks",
]
