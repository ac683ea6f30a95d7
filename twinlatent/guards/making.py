"""From a classifier and a split to a calibrated detector: rejecting by log-odds, or guarded by our class encoders."""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypedDict, Unpack

import torch
from torch import Tensor

from twinlatent.arguments import file_path
from twinlatent.data import Split
from twinlatent.data.seen import Seen, image_hashes
from twinlatent.data.split import check_split
from twinlatent.errors import TwinlatentError
from twinlatent.evaluation.protocol import detector_of
from twinlatent.evaluation.protocol.first_questions import Say
from twinlatent.evaluation.protocol.which_split import seen_by
from twinlatent.guards.classifier import AskedClassifier, Classifier, asked
from twinlatent.guards.guarded import LOG_ODDS, Guarded, answers_of, benign_answers
from twinlatent.method.calibrated import DETECTOR_FILE
from twinlatent.method.detector import Detector, DetectorSettings
from twinlatent.method.fit import TWICE_IN_A_SET, fit_split
from twinlatent.method.game_state import GameSettings
from twinlatent.outputs import Outputs
from twinlatent.torch_state import Device, fresh_torch

TRIED = 256
"""Calibration images that a classifier answers before any work."""


class Training(TypedDict, total=False):
    """Keywords of `fit_split`."""

    preset: str | None
    recipe: str | Path | None
    settings: GameSettings | None
    detector: DetectorSettings | None
    seed: int
    resume: bool
    overwrite: bool
    device: Device
    progress: bool
    begin: Callable[[], None]
    start: Detector | None


@fresh_torch()
def rejecting(classifier: Classifier, split: Split, *, name: str | None = None, say: Say = warnings.warn) -> Guarded:
    """Make a detector of a classifier by log-odds rejection: suspicious is a label that the classifier is not sure of.

    The suspicion of class c is log((1 − p_c) / p_c), p being the softmax of the logits. It costs nothing, and on
    adversarially trained classifiers it is hard to beat: compare every defence with it.

    Args:
        classifier: module or function, images (n, channels, H, W) in [0, 1] → logits (n, C); or the path of an `.onnx`
            file. A module is asked in evaluation mode and stays as it is.
        split: fixes thresholds on `split.calibration`, benign images that should be new to the classifier, too.
        name: of the classifier in records; None: that of its class, function or file.
        say: gets a line on what looks wrong and need not be.

    Raises:
        TwinlatentError: a classifier that cannot answer the split's images, answers with probabilities, NaN or another
            number of classes, or has no gradients (`attacks.bpda` gives it those of a surrogate).

    Example:
        >>> import torch
        >>> import twinlatent as tl
        >>> split = tl.data.load("digits", progress=False)
        >>> network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))
        >>> verdict = tl.rejecting(network, split).detect(split.test.images[:20])
        >>> verdict.label.shape, verdict.adversarial.dtype
        (torch.Size([20]), torch.bool)
    """
    given = asked(classifier, name)
    _check(given, split, say)
    images = {part: len(images) for part, images in split.parts.items()}
    data = {"name": split.short_name, "fingerprint": split.fingerprint, "images": images}
    return _calibrated(given, None, split, {"data": data})


@fresh_torch()
def guard(
    classifier: Classifier,
    split: Split,
    by: Detector | None = None,
    *,
    name: str | None = None,
    folder: str | Path | None = None,
    say: Say = warnings.warn,
    **training: Unpack[Training],
) -> Guarded:
    """Put our suspicion beside a classifier's label: class encoders judge whether the label fits what they see.

    Args:
        classifier: as for `rejecting`.
        split: the encoders are trained on its training part; `split.calibration` fixes thresholds by the classifier's
            label, and should be new to the classifier, too.
        by: a trained detector, such as `load("mnist-mim")`, whose suspicion is used; None trains one.
        name: of the classifier in records and in the file; None: that of its class, function or file.
        folder: keeps the training and, as its detector file, the guard; None keeps nothing. Not together with `by`.
        say: gets a line on what looks wrong and need not be.
        **training: keywords of `fit_split`, such as preset, settings, seed and progress; not together with `by`.

    Raises:
        TwinlatentError: as `rejecting` and `fit_split`; or `by` is for other images or classes, or was trained on the
            calibration images.
    """
    given = asked(classifier, name)
    _check(given, split, say)
    folder = None if folder is None else file_path("folder", folder)
    if folder is not None:
        _ = given.identity  # refuses what cannot be saved before any work
    if by is None:
        by = fit_split(split, folder=folder, **training)
    elif training or folder is not None:
        said = ", ".join([*training, *([] if folder is None else ["folder"])])
        raise TwinlatentError(f"{said} is for a training, but a trained detector is given; leave one of them out")
    _check_guard(by, split)
    made = _calibrated(given, by, split, {**by.card, "guards": given.name})
    if folder is not None:
        made.save(folder / DETECTOR_FILE)
    return made


def _check(given: AskedClassifier, split: Split, say: Say) -> None:
    """Ask a few calibration images in all ways that evaluations will."""
    check_split(split)
    few, it = split.calibration.subset(slice(TRIED)), replace(given, name="it")  # errors begin with its name already

    def model(images: Tensor) -> Outputs:
        return answers_of(it, None, images)[LOG_ODDS]

    with detector_of(model, replace(split, calibration=few), given.name, say=say):
        pass


def _check_guard(by: Detector, split: Split) -> None:
    if by.image_shape != split.image_shape or by.class_names != split.class_names:
        raise TwinlatentError(f"the detector takes {by.image_shape} images of the classes {', '.join(by.class_names)}; "
                              f"{split.name} has {split.image_shape} of {', '.join(split.class_names)}: give one that "
                              "was trained for these")  # fmt: skip
    seen = seen_by(by)
    learnt = torch.zeros(1) if seen is None else seen.among(split.calibration.images)[0]
    if learnt.double().mean() > TWICE_IN_A_SET:
        raise TwinlatentError(f"the detector was trained on {int(learnt.sum())} of {len(learnt)} calibration images of "
                              f"{split.name}, so thresholds would be too low; load the set with the seed of its "
                              "training, or guard by another")  # fmt: skip


def _calibrated(given: AskedClassifier, by: Detector | None, split: Split, card: Mapping[str, Any]) -> Guarded:
    """Thresholds from the calibration images, under each score."""
    images, place = split.calibration.images, given.device if by is None else by.device
    benign = benign_answers(given, by, images, place)
    for answers in benign.values():
        bad = ~answers.suspicion.isfinite()
        if bool(bad.any()):
            raise TwinlatentError(f"{given.name}: its suspicion is not finite for {int(bad.sum())} of {len(bad)} "
                                  "calibration images; answer every image in [0, 1] with finite logits")  # fmt: skip
    seen: Seen | None = Seen.of(images[:0], images)
    if by is not None:
        seen = by.seen and Seen(by.seen.train, image_hashes(images).unique())
    score = LOG_ODDS if by is None else by.score
    return Guarded(given, by, benign, split.class_names, split.image_shape, card, score, seen)
