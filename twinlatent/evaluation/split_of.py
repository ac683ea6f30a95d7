"""The data set that a detector was trained on, divided as it was then."""

from twinlatent.data import Split, load, names
from twinlatent.errors import TwinlatentError
from twinlatent.method.calibrated import CalibratedDetector


def split_of(
    detector: CalibratedDetector, data: str | None = None, *, size: int | None = None, progress: bool = True
) -> Split:
    """Load the split a detector was trained on, so that its training images are never taken for test images.

    Args:
        detector: with the card it got in training.
        data: name of the set; None for the one on the card. Another set than the card's is loaded as it is.
        size: pixels a side, for `folder:PATH`; None for the detector's.
        progress: whether to show a bar.

    Raises:
        TwinlatentError: the card's set has no name that can be loaded, or a set of that name holds other images now
            or is divided otherwise.
    """
    card = detector.card.get("data", {})
    trained_on = card.get("name", "unknown")
    if data is None and trained_on not in names():
        raise TwinlatentError(f"the detector was trained on {trained_on!r}, which has no name here; give the data set")
    seed, side = detector.card.get("seed", 0), size or detector.image_shape[-1]
    split = load(data or trained_on, seed=seed, size=side, progress=progress)
    if split.short_name == trained_on and split.fingerprint != card.get("fingerprint"):
        raise TwinlatentError(
            f"{split.name} holds other images than in training, so training images could be judged as test images; "
            "put the images back, or give a set of another name"
        )
    return split
