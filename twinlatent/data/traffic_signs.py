"""German traffic signs (GTSRB, J. Stallkamp et al. 2012) as 32×32 images in colour, 43 classes.

A training image is one of up to 30 frames of one sign filmed in passing, a track. Frames of a track are near-copies:
with some in training and some in calibration, thresholds would be too low for new signs. So a track is in one part.
"""

import hashlib
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from twinlatent.data.arrays import read_npz
from twinlatent.data.cifar10 import read_pixels
from twinlatent.data.split import LabelledImages, seeded

SIGNS = (
    "limit 20", "limit 30", "limit 50", "limit 60", "limit 70", "limit 80", "end of limit 80", "limit 100", "limit 120",
    "no passing", "no passing for lorries", "right of way", "priority road", "yield", "stop", "no vehicles",
    "no lorries", "no entry", "caution", "curve left", "curve right", "double curve", "bumpy road", "slippery road",
    "narrows right", "road work", "traffic signals", "pedestrians", "children", "bicycles", "ice and snow",
    "wild animals", "end of limits", "turn right", "turn left", "ahead only", "ahead or right", "ahead or left",
    "keep right", "keep left", "roundabout", "end of no passing", "end of no passing for lorries",
)  # fmt: skip
CALIBRATION, SELECTION = 0.2, 0.1  # of the training images of each class, as near as whole tracks allow
HELD = {  # SHA-256 of images and labels, and of the tracks of training images, one after the other
    ("images", "labels", "track"): "28719cf9abf654409fe73e66294047dba451c9e53d566df988e95fb0c3e99e3b",
    ("images", "labels"): "8d148a0d46c1b446161713858a9ee0912fcdfd67812ddfb3485f72a47acfb84b",
}

Parts = tuple[LabelledImages, LabelledImages, LabelledImages, LabelledImages]  # train, calibration, test, selection


def read_signs(paths: Sequence[Path], seed: int) -> Parts:
    """The parts of the set: official test images for test, the others divided by track.

    Raises:
        TwinlatentError: a file is damaged, or holds something else.
    """
    train_path, test_path = paths
    data, test = read_pixels(train_path, len(SIGNS)), read_pixels(test_path, len(SIGNS))
    tracks = torch.from_numpy(read_npz(train_path, ("track",))["track"].astype(np.int64))
    part = divided_by_track(data.labels, tracks, (CALIBRATION, SELECTION), seed)
    train, calibration, selection = (data.subset((part == number).nonzero()[:, 0]) for number in range(3))
    return train, calibration, test, selection


def holds_signs(content: bytes) -> bool:
    """Whether these bytes are an .npz of all training images or all test images of the set, in whatever packing."""
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            held = {names: hashlib.sha256(b"".join(arrays[name].tobytes() for name in names)).hexdigest()
                    for names in HELD if set(names) <= set(arrays.files)}  # fmt: skip
    except Exception:  # NumPy's and zip's readers raise nearly every type on damaged files
        return False
    return any(HELD[names] == found for names, found in held.items())


def divided_by_track(labels: Tensor, tracks: Tensor, shares: Sequence[float], seed: int) -> Tensor:
    """The part of each image, 0 for the rest and then one a share: whole tracks, class by class, in an order by seed.

    Each share gets at least one track of a class, and tracks until the next would take it further from its share of the
    class's images; the rest keeps at least one.

    Args:
        labels: int64 (n,).
        tracks: int64 (n,), a number for each track that is unique over classes.
        shares: of each class's images, together below 1.
        seed: of the order.

    Returns:
        int64 (n,).
    """
    generator, part = seeded(seed), torch.zeros_like(labels)
    for label in labels.unique():
        mine = labels == label
        own, sizes = tracks[mine].unique(return_counts=True)
        order = torch.randperm(len(own), generator=generator).tolist()
        for number, share in enumerate(shares, 1):
            wanted, took = share * int(mine.sum()), 0
            later = len(shares) - number + 1  # tracks that must be left for the others
            while len(order) > later and (not took or took + int(sizes[order[-1]]) / 2 <= wanted):
                track = order.pop()
                part[mine & (tracks == own[track])] = number
                took += int(sizes[track])
    return part
