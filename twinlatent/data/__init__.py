"""Data: a name becomes a `Split` of labelled grey images in [0, 1]."""

from twinlatent.data.preparation import Made, prepare
from twinlatent.data.sources import describe, fetch, load, names, where
from twinlatent.data.split import LabelledImages, Split, split_calibration, split_selection, split_three_ways
from twinlatent.data.validation import check_images

__all__ = [
    "LabelledImages",
    "Made",
    "Split",
    "check_images",
    "describe",
    "fetch",
    "load",
    "names",
    "prepare",
    "split_calibration",
    "split_selection",
    "split_three_ways",
    "where",
]
