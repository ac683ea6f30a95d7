"""Data: a name becomes a `Split` of labelled images in [0, 1]."""

from typing import TYPE_CHECKING

from twinlatent.lazy import lazily

if TYPE_CHECKING:
    from twinlatent.data.given import make_split
    from twinlatent.data.known import describe, names, where
    from twinlatent.data.preparation import PreparedSet, prepare
    from twinlatent.data.sources import fetch, load
    from twinlatent.data.split import LabelledImages, Split, split_calibration, split_selection, split_three_ways
    from twinlatent.data.validation import check_images
else:
    __getattr__, __dir__ = lazily(
        __name__,
        {
            "twinlatent.data.given": ("make_split",),
            "twinlatent.data.known": ("describe", "names", "where"),
            "twinlatent.data.preparation": ("PreparedSet", "prepare"),
            "twinlatent.data.sources": ("fetch", "load"),
            "twinlatent.data.split": (
                "LabelledImages", "Split", "split_calibration", "split_selection", "split_three_ways",
            ),
            "twinlatent.data.validation": ("check_images",),
        },
    )  # fmt: skip

__all__ = [
    "LabelledImages",
    "PreparedSet",
    "Split",
    "check_images",
    "describe",
    "fetch",
    "load",
    "make_split",
    "names",
    "prepare",
    "split_calibration",
    "split_selection",
    "split_three_ways",
    "where",
]
