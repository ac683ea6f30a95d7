"""A detector's certified SR@FPR on many images, without any attack."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, field_validator, model_validator
from torch import Tensor

from twinlatent.arguments import by_value
from twinlatent.attacks.balls import Norm
from twinlatent.data import LabelledImages, Split
from twinlatent.data.split import SEED_LIMIT
from twinlatent.errors import TwinlatentError
from twinlatent.evaluation.metrics import Rate, rate
from twinlatent.evaluation.protocol import Point, draw, fitted
from twinlatent.evaluation.results import BESIDE, BOUNDS, OF_INTERVALS, UNCHANGED, Record, Row, Rows, records_of
from twinlatent.evaluation.white_box.kept_proofs import KeptProofs
from twinlatent.evaluation.white_box.proofs import certified_rows, holds_at
from twinlatent.method.calibrated import CalibratedDetector
from twinlatent.method.certificate import bounded
from twinlatent.provenance import provenance
from twinlatent.torch_state import fresh_torch

Part = Literal["test", "selection"]
Radius = Annotated[FiniteFloat, Field(ge=0)]


class CertifySettings(BaseModel):
    """What is asked of certificates.

    Attributes:
        epsilons: radii, in L∞ at most 1.
        norm: of the radii: L∞, or L2 (l2).
        fprs: false-positive rates.
        images: how many of the part, drawn by `seed`; None: all.
        part: whose images: `test`, or `selection`, on which settings are chosen.
        seed: of the draw.

    Errors: pydantic's `ValidationError` on any other field or value.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    _by_value = field_validator("*", mode="before")(by_value)

    epsilons: Annotated[tuple[Radius, ...], Field(min_length=1)]
    norm: Norm = "linf"
    fprs: Annotated[tuple[Annotated[float, Field(gt=0, lt=1)], ...], Field(min_length=1)] = (0.05,)
    images: Annotated[int, Field(ge=1)] | None = None
    part: Part = "test"
    seed: Annotated[int, Field(ge=0, lt=SEED_LIMIT)] = 0

    @model_validator(mode="after")
    def _radii_fit_the_norm(self) -> Self:
        if self.norm == "linf" and max(self.epsilons) > 1:
            raise ValueError(f"epsilon is {max(self.epsilons)}; in L∞ give at most 1, the whole box")
        return self


@dataclass(frozen=True)
class Certified:
    """What is proved of a detector, and what it says of the same images as they are.

    Attributes:
        accuracy: share of the images that are classified correctly.
        flagged: rate that was asked for → share of the images that are flagged.
        holds: radius and rate → bool (n,), images for which no attack can succeed.
        records: all of that.
    """

    accuracy: Rate
    flagged: Mapping[float, Rate]
    holds: Mapping[Point, Tensor]
    records: tuple[Record, ...]


@fresh_torch()
def certify_split(
    detector: CalibratedDetector,
    split: Split,
    settings: CertifySettings,
    *,
    folder: Path | None = None,
    progress: bool = True,
) -> Certified:
    """Certify a detector on images that it was not made with.

    Args:
        detector: ours.
        split: its data set, or another of the same classes.
        settings: what is asked.
        folder: keeps what is proved of every hundred images; called again after an interruption, it resumes.
        progress: whether to show a bar.

    Raises:
        Undecided: no bound is known for such a detector.
        TwinlatentError: the split does not fit the detector or lacks the part, has fewer images than are asked for, or
            the calibration images are too few for a rate.
    """
    origin, began = provenance(), time.monotonic()
    bounded(detector)
    for fpr in settings.fprs:
        detector.calibration.check(fpr)
    images = draw(_part(detector, split, settings.part), settings.images, settings.seed)
    points = [Point(epsilon, fpr) for epsilon in settings.epsilons for fpr in settings.fprs]
    kept = KeptProofs(folder) if folder is not None else None
    holds = holds_at(detector, images, points, norm=settings.norm, kept=kept, progress=progress)
    verdicts = {fpr: detector.detect(images.images, fpr) for fpr in settings.fprs}
    right = next(iter(verdicts.values())).label == images.labels
    accuracy = rate(int(right.sum()), len(right))
    flagged = {fpr: rate(int(said.adversarial.sum()), len(right)) for fpr, said in verdicts.items()}
    budget = BOUNDS if settings.norm == "linf" else OF_INTERVALS
    budget += "" if settings.part == "test" else f"{BESIDE}{settings.part} images"
    parts = [Rows((Row("accuracy", UNCHANGED, None, None, accuracy),), budget)]
    parts += [Rows((Row("fpr", UNCHANGED, None, detector.score, share),), budget, asked=fpr)
              for fpr, share in flagged.items()]  # fmt: skip
    parts += certified_rows(holds, detector.score, budget, settings.norm)
    seconds = time.monotonic() - began + (kept.seconds if kept else 0.0)
    records = records_of(parts, detector, split, settings.seed, seconds, origin)
    return Certified(accuracy, flagged, holds, tuple(records))


def _part(detector: CalibratedDetector, split: Split, part: Part) -> LabelledImages:
    """The images of a part that the detector was not made with, classes in its order."""
    if part not in split.parts:
        raise TwinlatentError(f"{split.short_name}, divided as for this detector, holds no images back for {part}; "
                              "certify on the test images")  # fmt: skip
    return fitted(detector, split if part == "test" else replace(split, test=split.selection)).test
