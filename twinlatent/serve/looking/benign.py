"""`/v1/models/NAME/scores` and `/examples`: the benign images that a verdict's p-value compares with."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from twinlatent.errors import TwinlatentError
from twinlatent.serve.answers import shortest
from twinlatent.serve.detecting import REFUSALS
from twinlatent.serve.looking.attacking import class_index, pixels_of
from twinlatent.serve.refusals import Refusal
from twinlatent.serve.service import Service

if TYPE_CHECKING:
    from fastapi import FastAPI
    from torch import Tensor

    from twinlatent.data.split import Split
    from twinlatent.method.calibrated import CalibratedDetector, Scored

BINS = 40
NEAREST = 8
"""Examples that are shown of a class."""
SAME = 1e-3
"""Suspicion of one image on two machines differs by less."""


class ClassScores(BaseModel):
    """Suspicion of the benign calibration images that are read as one class."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    label: str = Field(examples=["7"])
    images: int = Field(description="How many there are.", examples=[529])
    counts: list[int] = Field(description="How many in each bin.")
    threshold: float = Field(description="Suspicion above which an image is flagged at `fpr`.", examples=[-3.8])


class Scores(BaseModel):
    """Suspicion of the benign calibration images of a detector, as histograms with common bins."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str = Field(examples=["mnist-mim"])
    score: str = Field(description="Which suspicion score.", examples=["ratio"])
    fpr: float = Field(examples=[0.05])
    together: bool = Field(description="Whether an image is compared with those of all classes.")
    images: int = Field(description="How many there are, of all classes.", examples=[5000])
    edges: list[float] = Field(description="Of the bins, one more than there are.")
    counts: list[int] = Field(description="Of all classes.")
    classes: list[ClassScores]


class Example(BaseModel):
    """A benign image."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    label: str = Field(description="Its true class.", examples=["7"])
    suspicion: float | None = Field(description="What the detector says of it; null where it was not asked.")
    pixels: str = Field(description="A byte a value, channel after channel, in base64.")


class ExampleImages(BaseModel):
    """Benign images."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    calibration: bool = Field(description="Whether the detector was calibrated on these very images.")
    images: list[Example]


def scores_of(name: str, detector: "CalibratedDetector", fpr: float, bins: int = BINS) -> Scores:
    """The histograms.

    Raises:
        TwinlatentError: the calibration cannot tell the rate.
    """
    import torch

    calibration = detector.calibration
    low, high = (float(end) for end in calibration.pooled.aminmax())
    edges = torch.linspace(low, high if high > low else low + 1, bins + 1)

    def counted(scores: "Tensor") -> list[int]:
        places = torch.bucketize(scores, edges[1:-1], right=True)
        return [int(count) for count in torch.bincount(places, minlength=bins)]

    classes = [
        ClassScores(label=label, images=len(scores), counts=counted(scores), threshold=shortest(float(threshold)))
        for label, scores, threshold in zip(
            detector.class_names, calibration.scores, calibration.thresholds(fpr), strict=True
        )
    ]
    return Scores(model=name, score=detector.score, fpr=fpr, together=calibration.together,
                  images=len(calibration.pooled), edges=edges.tolist(), counts=counted(calibration.pooled),
                  classes=classes)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Examples:
    """Benign images beside what a detector says of them.

    Attributes:
        split: the calibration images are compared with, the test images are shown.
        scored: of the calibration images.
        calibration: whether the detector was calibrated on them.
    """

    split: "Split"
    scored: "Scored"
    calibration: bool

    def nearest(self, label: int, suspicion: float, count: int = NEAREST) -> list[tuple[int, float]]:
        """Calibration images that are read as `label`, nearest in suspicion and in its order: (place, suspicion)."""
        rows = (self.scored.label == label).nonzero()[:, 0]
        own = self.scored.suspicion[rows].double()  # far away, too, the nearest differ
        near = (own - suspicion).abs().argsort(stable=True)[:count]
        near = near[own[near].argsort(stable=True)]
        return [(int(rows[place]), float(own[place])) for place in near]


def examples_of(
    models: "Mapping[str, CalibratedDetector]", data: str, say: Callable[[str], None]
) -> dict[str, Examples]:
    """Benign images of a data set, for each detector that can be judged on it.

    Args:
        models: by name.
        data: name of the set, as `data.load` takes it.
        say: gets a line on what is left out.

    Raises:
        TwinlatentError: it fits none of them.
    """
    from twinlatent.evaluation.protocol.which_split import split_of

    found, left_out = {}, []
    for name, detector in models.items():
        try:
            split = split_of(detector, data, progress=False, say=say)
        except TwinlatentError as error:
            left_out.append(f"no examples for {name}: {error}")
            continue
        scored = detector.scored(split.calibration.images)[detector.score]
        found[name] = Examples(split, scored, _calibrated_on(detector, scored))
    if not found:
        raise TwinlatentError(f"--examples {data}: {left_out[0]}")
    for line in left_out:
        say(line)
    return found


def _calibrated_on(detector: "CalibratedDetector", scored: "Scored") -> bool:
    """Whether these are the answers that it was calibrated with, as far as rounding lets them be the same."""
    import torch

    own = [scored.suspicion[scored.label == label].sort().values for label in range(detector.classes)]
    return all(len(a) == len(b) and torch.allclose(a, b, rtol=0, atol=SAME)
               for a, b in zip(own, detector.calibration.scores, strict=True))  # fmt: skip


def add_benign(app: "FastAPI", service: Service, examples: Mapping[str, Examples]) -> None:
    """Add its routes."""
    from fastapi import Path, Query

    name_of = Path(description="Name of a detector.", examples=list(service.models))
    rate_of = Query(description="Share of benign images that may be flagged; default: the server's.", gt=0, lt=1)
    refused: dict[int | str, dict[str, Any]] = {status: REFUSALS[status] for status in (404, 422)}

    @app.get("/v1/models/{name}/scores", tags=["look"], summary="What benign images score", response_model=Scores,
             responses=refused)  # fmt: skip
    async def scores(
        name: Annotated[str, name_of],
        fpr: Annotated[float | None, rate_of] = None,
        bins: Annotated[int, Query(ge=1, le=200)] = BINS,
    ) -> Scores:
        return scores_of(name, service.model(name), service.rate(name, fpr), bins)

    @app.get("/v1/models/{name}/examples", tags=["look"], summary="Benign images", response_model=ExampleImages,
             responses=refused)  # fmt: skip
    async def benign(
        name: Annotated[str, name_of],
        label: Annotated[str | None, Query(description="Predicted class.")] = None,
        suspicion: Annotated[float, Query(allow_inf_nan=False)] = 0.0,
        seed: Annotated[int, Query(ge=0, lt=2**63, description="Of the draw, without a label.")] = 0,
    ) -> ExampleImages:
        """With a label: calibration images that are read so, nearest in suspicion. Without: one test image, drawn.

        Only where the server was started with `--examples`.
        """
        detector = service.model(name)
        if name not in examples:
            raise Refusal(404, "there are no examples for this model; start the server with --examples DATA")
        of = examples[name]
        if label is None:
            return ExampleImages(calibration=False, images=[_drawn(of.split, seed)])
        near = of.nearest(class_index(detector, label), suspicion)
        images = [_example(of.split, "calibration", place, said) for place, said in near]
        return ExampleImages(calibration=of.calibration, images=images)


def _drawn(split: "Split", seed: int) -> Example:
    return _example(split, "test", seed % len(split.test), None)


def _example(split: "Split", part: str, place: int, suspicion: float | None) -> Example:
    images = getattr(split, part)
    label = split.class_names[int(images.labels[place])]
    return Example(label=label, suspicion=suspicion, pixels=pixels_of(images.images[place]))
