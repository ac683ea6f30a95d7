"""Thresholds anew, on benign images of the user's own.

A detector's thresholds promise a false-positive rate for images like those they were fixed on. Of images that come
another way they promise nothing; fixed anew on such images they do.
"""

import math
import warnings
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from twinlatent.arguments import real, text
from twinlatent.data.given import Given, read
from twinlatent.data.seen import Seen, image_hashes
from twinlatent.data.split import short_name
from twinlatent.data.validation import check_images
from twinlatent.digest import digest
from twinlatent.errors import TwinlatentError, listed
from twinlatent.evaluation.protocol import seen_by
from twinlatent.method.calibrated import CalibratedDetector
from twinlatent.provenance import provenance
from twinlatent.torch_state import fresh_torch

RELIABLE = 5
"""From so many flagged images on thresholds are borne out by others: of 100 at 5 %, as docs/own_data.md says."""
Kind = TypeVar("Kind", bound=CalibratedDetector)


@fresh_torch()
@torch.no_grad()
def calibrate(
    detector: Kind,
    images: Given,
    *,
    fpr: float = 0.05,
    data: str = "arrays",
    say: Callable[[str], None] = warnings.warn,
) -> Kind:
    """The detector with thresholds that are fixed anew on other benign images; labels are not needed.

    Networks, class means and scores stay as they are. For benign images that are exchangeable with these, p-values are
    valid again (`Calibration` says in which sense). The card keeps under `calibrated` each calibration, the first one
    too: which images, how many, when, which thresholds. Test images of a data set that are given here cannot be used
    to judge the detector any more; evaluations leave them out.

    Args:
        detector: ours or a baseline; it stays as it is.
        images: benign, floating (n, channels, H, W) in [0, 1], not among those that it was trained with; or a
            `torch.utils.data.Dataset` or `DataLoader` of images or of (image, label).
        fpr: the finest false-positive rate that will be asked for, in (0, 1); 0.05 needs 19 images, better 100 a class.
        data: what the card calls the images.
        say: gets a line if images are left out, or classes have too few of them.

    Raises:
        TwinlatentError: images of another shape or range; too few of them that the detector was not trained with; or a
            detector that keeps no thresholds.
    """
    given: object = detector
    if not isinstance(given, CalibratedDetector):
        raise TwinlatentError(f"the detector is a {type(given).__name__}; give a detector of this package, such as "
                              "twinlatent.load(...)")  # fmt: skip
    fpr = real("fpr", fpr, above=0, below=1, wanted="a rate between 0 and 1, such as 0.05")
    if isinstance(images, Dataset | DataLoader):
        images = read(images)[0]
    checked = check_images(images, shape=detector.image_shape, channels=detector.image_shape[0])[0].detach().cpu()
    seen = seen_by(detector)
    own = _unseen(checked, seen, say)
    _check_enough(len(own), len(checked), fpr)
    if len(own) * fpr < RELIABLE - 1e-9:
        enough = math.ceil(RELIABLE / fpr - 1e-9)
        say(f"{len(own)} images decide on the thresholds; from about {enough} on they are reliable")
    card = _card(detector, own, len(checked) - len(own), fpr, short_name(text("data", data)))
    made = detector.with_calibration(own, card, None if seen is None else Seen(seen.train, image_hashes(own).unique()))
    made.card["calibrated"][-1]["thresholds"] = made.calibration.thresholds(fpr).tolist()
    _say_few(made, fpr, say)
    return made


def _unseen(images: Tensor, seen: Seen | None, say: Callable[[str], None]) -> Tensor:
    """Those that the detector was not trained with."""
    if seen is None:
        say("whether the detector was trained on some of these images cannot be told, since its file is of an earlier "
            "version and the data it was trained on are not here")  # fmt: skip
        return images
    trained = seen.among(images)[0]
    if trained.any():
        say(f"the detector was trained with {int(trained.sum())} of the {len(images)} images; they are left out")
    return images[~trained]


def _check_enough(count: int, given: int, fpr: float) -> None:
    needed = math.ceil(1 / fpr - 1e-9) - 1
    if count < needed:
        left = "" if count == given else f" of {given} that it was not trained with"
        raise TwinlatentError(f"{count} images{left} cannot tell a false-positive rate of {fpr:g}; give at least "
                              f"{needed} benign images, or a larger fpr")  # fmt: skip


def _card(detector: CalibratedDetector, images: Tensor, left_out: int, fpr: float, data: str) -> dict[str, Any]:
    """The card with what is known of the calibrations before, and of this one all but its thresholds."""
    card, told = detector.card, fpr >= detector.calibration.finest_fpr
    before = card.get("calibrated") or [{
        "data": card.get("data", {}).get("name", "unknown"),
        "images": detector.calibration_images,
        "provenance": card.get("provenance"),
        "fpr": fpr,
        "thresholds": detector.calibration.thresholds(fpr).tolist() if told else None,
    }]  # fmt: skip
    entry = {
        "data": data,
        "images": len(images),
        "left_out": left_out,
        "fingerprint": digest([images]),
        "provenance": provenance().model_dump(),
        "flagged_before": detector.detect(images, fpr).adversarial.double().mean().item() if told else None,
        "fpr": fpr,
        "thresholds": None,
    }
    return {**card, "calibrated": [*before, entry]}


def _say_few(detector: CalibratedDetector, fpr: float, say: Callable[[str], None]) -> None:
    """Name the classes that cannot tell the rate by themselves."""
    counts = zip(detector.class_names, detector.calibration.scores, strict=True)
    few = [name for name, scores in counts if (len(scores) + 1) * fpr < 1 - 1e-9]
    if few and not detector.calibration.together:
        say(f"too few images are predicted as {listed(few)} for a threshold of its own at {fpr:g}; it is taken with "
            "those of all classes")  # fmt: skip
