"""Which images a detector may be judged on: of its classes and not made with, whatever they are called."""

import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from typing import Any

from twinlatent.data import Split, load, names
from twinlatent.data.known import FOLDER
from twinlatent.data.seen import Seen
from twinlatent.errors import TwinlatentError
from twinlatent.method.calibrated import CalibratedDetector

FEW = 0.01
"""Share of the test images of other data that may be left out; beyond it the data are refused."""
Say = Callable[[str], None]
"""Takes a line that people should see."""


def split_of(
    detector: CalibratedDetector,
    data: str | None = None,
    *,
    size: int | None = None,
    background: str = "white",
    progress: bool = True,
    say: Say = warnings.warn,
) -> Split:
    """Load the split a detector was trained on, divided as it was then, or another set to judge it on; see `fitted`.

    Args:
        detector: with the card it got in training.
        data: name of the set; None for the one on the card.
        size: pixels a side, for `folder:PATH`; None for the detector's. Channels are those of the detector.
        background: what is behind transparent parts of a folder's images.
        progress: whether to show a bar.
        say: gets what is left out, or cannot be checked.

    Raises:
        TwinlatentError: the card's set has no name that can be loaded; a set of that name holds other images now; or as
            `fitted`.
    """
    card = detector.card.get("data", {})
    trained_on = card.get("name", "unknown")
    if data is None and trained_on not in names():
        where = f"{FOLDER}PATH" if trained_on.startswith(FOLDER) else "NAME"
        raise TwinlatentError(f"the detector was trained on {trained_on!r}; say where these images are, as {where}")
    seed, name = detector.card.get("seed", 0), data or trained_on
    look: dict[str, Any] = {"size": size, "background": background}
    if name.startswith(FOLDER):  # others have a size and channels of their own
        look |= {"size": size or detector.image_shape[-1], "channels": detector.image_shape[0]}
    split = load(name, seed=seed, progress=progress, **look)
    if not _is_own(detector, split):  # trained before a part was held out for selection?
        whole = load(name, seed=seed, selection=False, progress=False, **look)
        split = whole if _is_own(detector, whole) else split
    _check_shape(detector, split)
    if not _is_own(detector, split):
        if data is None:
            raise TwinlatentError(
                f"{trained_on} holds other images than the detector was trained on; put those back, or name the data "
                f"set to judge it on these: {trained_on}"
            )
        _check_known(detector, split, say)
    return fitted(detector, split, say=say)


def fitted(detector: CalibratedDetector, split: Split, *, say: Say = warnings.warn) -> Split:
    """The split as a detector can be judged on it: classes in its order, no test image that it was made with.

    Classes are told by their names, images by what they show (`Seen`): the names of sets and files play no part. Test
    images that the detector was trained or calibrated on are left out if they are few, or if the data are its own: then
    they are there twice. A split that fits already is returned as it is.

    Args:
        detector: calibrated on held-out images.
        split: labelled images, divided in any way.
        say: gets a line if images are left out.

    Raises:
        TwinlatentError: images of another shape, other classes, or more test images that the detector was made with
            than `FEW`.
    """
    _check_shape(detector, split)
    own = _is_own(detector, split)
    split = split.with_classes(detector.class_names)
    seen = detector.seen if own else seen_by(detector)
    return split if seen is None else _without(seen, split, detector, own, say)


def _check_shape(detector: CalibratedDetector, split: Split) -> None:
    if detector.image_shape != split.image_shape or detector.classes != split.classes:
        raise TwinlatentError(
            f"the detector takes {detector.image_shape} images of {detector.classes} classes; {split.name} has "
            f"{split.image_shape} of {split.classes}: evaluate on the data it was trained for "
            f"({detector.card.get('data', {}).get('name', 'unknown')})"
        )


def _without(seen: Seen, split: Split, detector: CalibratedDetector, own: bool, say: Say) -> Split:
    """The split without test images that were seen."""
    trained, calibrated = seen.among(split.test.images)
    left = ~(trained | calibrated)
    count, n = int((~left).sum()), len(left)
    if not count:
        return split
    found = (
        f"the detector was made with {count} of the {n} test images of {split.name} "
        f"({int(trained.sum())} in training, {int(calibrated.sum())} for its thresholds)"
    )
    if count == n or (not own and count > FEW * n):
        card = detector.card
        where = f"{card.get('data', {}).get('name', 'its data')}, seed {card.get('seed', 0)}"
        raise TwinlatentError(
            f"{found}; judge it on the data it was trained on as they were ({where}), or on a set of new images alone"
        )
    say(f"{found}; they are left out")
    return replace(split, test=split.test.subset(left.nonzero()[:, 0].to(split.test.labels.device)))


def _is_own(detector: CalibratedDetector, split: Split) -> bool:
    """Whether these are the data it was made with, divided as they were."""
    known = detector.card.get("data", {}).get("fingerprint")
    return known is not None and known == split.fingerprint


def _check_known(detector: CalibratedDetector, split: Split, say: Say) -> None:
    """Refuse other data of the name it was trained on, and say it of others, if nothing tells which images it saw."""
    if seen_by(detector) is not None:
        return
    if split.short_name == detector.card.get("data", {}).get("name"):
        raise TwinlatentError(
            f"{split.name} holds other images than in training, so training images could be judged as test images; "
            "put the images back, or give a set of another name"
        )
    say(
        f"{split.name}: whether the detector was trained on some of these images cannot be told, since its file is of "
        "an earlier version and the data it was trained on are not here"
    )


def seen_by(detector: CalibratedDetector) -> Seen | None:
    """The images it was made with: as its file keeps them, else as its data set tells if that is here, else None."""
    if detector.seen is not None:
        return detector.seen
    card = detector.card.get("data", {})
    try:
        return _seen_in(card.get("name", ""), detector.card.get("seed", 0), card.get("fingerprint", ""))
    except TwinlatentError:
        return None


@lru_cache(maxsize=1)
def _seen_in(name: str, seed: int, fingerprint: str) -> Seen:
    """The training and calibration images of a set that has a name.

    Raises:
        TwinlatentError: it is not here, or holds other images.
    """
    split = _divided_as(name, seed, fingerprint)
    return Seen.of(split.train.images, split.calibration.images)


@lru_cache(maxsize=1)
def _divided_as(name: str, seed: int, fingerprint: str) -> Split:
    """The set of that name, in four parts or, as up to version 0.1.0, in three."""
    for selection in (True, False):
        split = load(name if name in names() else "", seed=seed, selection=selection, fetch=False, progress=False)
        if split.fingerprint == fingerprint:
            return split
    raise TwinlatentError(f"{name} holds other images")
