"""From images to a detector: play the game, measure class means, calibrate."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray

from twinlatent.arguments import file_path
from twinlatent.data import Split, split_calibration
from twinlatent.data.given import Given, class_names_of, labelled
from twinlatent.data.split import checked_seed
from twinlatent.data.validation import Array
from twinlatent.errors import TwinlatentError
from twinlatent.files import write_json
from twinlatent.method.binary import train_binary
from twinlatent.method.calibrated import DETECTOR_FILE
from twinlatent.method.detector import Detector, DetectorSettings, build_detector
from twinlatent.method.game import play
from twinlatent.method.game_state import GameSettings
from twinlatent.method.training import (
    SETTINGS_FILE,
    training_card,
    training_folder,
)
from twinlatent.provenance import provenance
from twinlatent.recipes import recipe_of
from twinlatent.torch_state import Device, check_device, fresh_torch

TWICE_IN_A_SET = 0.01
"""Share of held-out images that a data set may hold among its training images, too, without anybody's fault."""


@fresh_torch()
def fit(
    images: Given,
    labels: Array | None = None,
    *,
    class_names: Sequence[str] | NDArray[Any] | None = None,
    preset: str | None = None,
    recipe: str | Path | None = None,
    settings: GameSettings | None = None,
    detector: DetectorSettings | None = None,
    calibration_share: float = 0.1,
    seed: int = 0,
    folder: str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    device: Device = "cpu",
    progress: bool = True,
) -> Detector:
    """Train a detector on benign labelled images.

    Args:
        images: floating (n, channels, H, W) in [0, 1], tensor or array; or a `torch.utils.data.Dataset` or
            `DataLoader` of (image, label).
        labels: whole numbers (n,), 0 to C − 1, every class present; None for a `Dataset` or `DataLoader`.
        class_names: C names, a list, tuple or array; default "0", "1", ...
        preset: one of `recipes.PURPOSES`, such as `standard` (the default), or robust, another name of
            `certified`: that of the recipe for these images, which gives the settings.
        recipe: name of a recipe or its file, instead of that one; see `twinlatent recipe list`.
        settings: of the game, instead of the recipe's.
        detector: label rule and score, instead of the recipe's.
        calibration_share: of the images, held out from training to fix thresholds, in (0, 1).
        seed: of the hold-out, weights, batches and noise.
        folder: keeps the training state, the log and the detector file; None keeps nothing.
        resume: resume from the state in `folder`.
        overwrite: train anew where `folder` holds a training.
        device: such as "cpu" or "cuda", or a `torch.device`.
        progress: whether to show a bar.

    Raises:
        TwinlatentError: bad images, labels, names, preset or device, a folder that holds a training or in which
            another process trains, or a training that diverges.
    """
    place, seed = check_device(device), checked_seed(seed)
    given = labelled(images, labels)
    names = class_names_of(given.labels, class_names)
    train, calibration = split_calibration(given, share=calibration_share, seed=seed)
    split = Split("arrays", train, calibration, calibration.subset(slice(0)), names)
    return fit_split(split, preset=preset, recipe=recipe, settings=settings, detector=detector, seed=seed,
                     folder=folder, resume=resume, overwrite=overwrite, device=place, progress=progress)  # fmt: skip


@fresh_torch()
def fit_split(
    split: Split,
    *,
    preset: str | None = None,
    recipe: str | Path | None = None,
    settings: GameSettings | None = None,
    detector: DetectorSettings | None = None,
    seed: int = 0,
    folder: str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    device: Device = "cpu",
    progress: bool = True,
    begin: Callable[[], None] = lambda: None,
    start: Detector | None = None,
) -> Detector:
    """Train a detector on the training part of a split and calibrate it on the calibration part; see `fit`.

    Args:
        begin: called before the first round, when all is checked.
        start: a detector whose encoders are trained further; None: fresh ones.

    Raises:
        TwinlatentError: as `fit`; or a start that has other networks.
    """
    asked = recipe_of(split, preset, recipe)
    settings, detector = settings or asked.game_settings(), detector or asked.detector
    _check_start(settings, start, split)
    place, seed = check_device(device), checked_seed(seed)
    origin = provenance()
    folder = file_path("folder", folder) if folder is not None else None
    with training_folder(folder, resume=resume, overwrite=overwrite):
        state = play(split.train, split.classes, settings, seed=seed, folder=folder, resume=resume,
                     fingerprint=split.fingerprint, device=place, progress=progress, begin=begin,
                     start=None if start is None else start.encoders)  # fmt: skip
        card = training_card(split, settings, seed, state.round, state.seconds, origin, place,
                             {"name": asked.name, **asked.for_game(settings, detector)})  # fmt: skip
        if start is not None:
            card["start"] = _origin(start)
        encoders = state.vaes.encoders
        if settings.binary.layers:
            began = time.monotonic()
            encoders.binary = train_binary(split.train, split.classes, settings.binary, settings.augment, seed=seed,
                                           device=place, progress=progress)  # fmt: skip
            card["seconds_binary"] = round(time.monotonic() - began, 1)
            card["seconds"] = round(card["seconds"] + card["seconds_binary"], 1)
        encoders = encoders.cpu()
        made = build_detector(encoders, split.train, split.calibration, split.class_names, detector, card)
        if folder is not None:
            made.save(folder / DETECTOR_FILE)
            write_json(folder / SETTINGS_FILE, made.card)
    return made


def _origin(start: Detector) -> dict[str, Any]:
    """Of a card: which training the encoders come from, the one before if this had no rounds."""
    if start.card.get("start") and start.card.get("rounds") == 0:
        return dict(start.card["start"])
    kept = ("training", "rounds", "seconds", "provenance")
    return {"fingerprint": start.fingerprint, **{name: start.card.get(name) for name in kept}}


def _check_start(settings: GameSettings, start: Detector | None, split: Split) -> None:
    """Refuse a start that learnt images held out here, and none where there are no rounds."""
    if start is None and not settings.rounds:
        raise TwinlatentError("rounds is 0, and there is nothing to start from; give a detector (train --start, "
                              "start=), or at least 1 round")  # fmt: skip
    if start is None:
        return
    if start.seen is None:
        raise TwinlatentError("the start does not say which images it was made with: it may have learnt those held out "
                              "here; train it anew")  # fmt: skip
    for name, part in split.parts.items():
        learnt = start.seen.among(part.images)[0] if name != "train" and len(part) else torch.zeros(1)
        if learnt.double().mean() > TWICE_IN_A_SET:
            raise TwinlatentError(f"the start was trained on {name} images of this division of {split.short_name}; "
                                  "train it with the same seed")  # fmt: skip
