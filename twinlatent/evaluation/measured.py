"""From measured numbers to records, and which test images are measured."""

from collections.abc import Sequence

import torch
from torch import Tensor

from twinlatent.data import LabelledImages, Split
from twinlatent.data.split import seeded
from twinlatent.errors import TwinlatentError
from twinlatent.evaluation.metrics import Rate
from twinlatent.evaluation.records import Record
from twinlatent.method.calibrated import CalibratedDetector
from twinlatent.provenance import Provenance

RATES = (0.01, 0.05, 0.10)
"""False-positive rates at which detection is reported, where the calibration images can tell them."""
Measured = tuple[str, str, float | None, str | None, Rate]
"""Metric, attack, epsilon, score, number."""


def drawn_rows(count: int, images: int | None, seed: int) -> Tensor:
    """Positions of so many of `count` images, drawn by seed, in random order: a set may be sorted. None: all of them.

    Raises:
        TwinlatentError: there are not so many.
    """
    images = count if images is None else images
    if not (images == count or 1 <= images <= count):
        raise TwinlatentError(f"{images} test images are asked for; there are {count}")
    return torch.randperm(count, generator=seeded(seed))[:images]


def draw(data: LabelledImages, images: int | None, seed: int) -> LabelledImages:
    """So many of the images, see `drawn_rows`: any first few of them are a random sample, too."""
    return data.subset(drawn_rows(len(data), images, seed))


def records_of(
    measured: Sequence[Measured],
    detector: CalibratedDetector,
    split: Split,
    seed: int,
    seconds: float,
    origin: Provenance,
    budget: str,
    substitute: str | None = None,
    reused: str | None = None,
    asked: float | None = None,
) -> list[Record]:
    """Records of measured numbers, all with the same origin, and of "fpr" with the rate that was asked for."""
    return [
        Record.model_validate({
            "data": split.short_name,
            "method": detector.method,
            "trained_with": detector.trained_with,
            "attack": attack,
            "epsilon": epsilon,
            "score": score,
            "metric": metric,
            "value": found.value,
            "n": found.n,
            "low": found.low,
            "high": found.high,
            "seed": seed,
            "seconds": round(seconds, 1),
            **origin.model_dump(),
            "budget": budget,
            "substitute": substitute,
            "reused": reused,
            "asked": asked,
        })
        for metric, attack, epsilon, score, found in measured
    ]  # fmt: skip
