"""The forms of what benchmarks/command.py and benchmarks/cluster.py leave in results/: whole commands."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

from twinlatent.provenance import Provenance

Count = Annotated[int, Field(ge=0)]
Positive = Annotated[FiniteFloat, Field(gt=0)]
Sides = dict[str, dict[str, Annotated[FiniteFloat, Field(ge=0)]]]
"""Numbers by `before` and `now`, and then by what they are of."""


class Differing(BaseModel):
    """Numbers of the images that only one of two commits won."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    before_alone: list[int] = Field(alias="before alone")
    now_alone: list[int] = Field(alias="now alone")


class _Compared(BaseModel):
    """`evaluate` as a command, now and at an earlier commit.

    Attributes:
        detector: name in the zoo.
        suite: name.
        images: of each part.
        before: the earlier commit.
        provenance: where the numbers come from.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    detector: str
    suite: str
    images: dict[str, Annotated[int, Field(ge=1)]]
    before: str
    provenance: Provenance


class CommandBenchmark(_Compared):
    """What benchmarks/command.py measures.

    Attributes:
        seconds: of the processor, by side and part.
        ratios: before over now, by part.
        whole_seconds: by side, those of 1,000 images with a subset of 100, reckoned.
        ratio: before over now, of these.
        verdicts: that were compared, of an image at a point.
        only_before, only_now: points that only one side has.
        differing: images by point, where there are any.
    """

    seconds: Sides
    ratios: dict[str, Positive]
    whole_seconds: dict[str, Positive]
    ratio: Positive
    verdicts: Annotated[int, Field(ge=1)]
    only_before: list[str]
    only_now: list[str]
    differing: dict[str, Differing]


class ClockBenchmark(_Compared):
    """What benchmarks/command.py measures with --clock.

    Attributes:
        clock_seconds: by side, of the `clock` and of the `processor`.
    """

    clock_seconds: Sides


class ClusterCheck(BaseModel):
    """What benchmarks/cluster.py finds: an evaluation by a Ray cluster that lost a node and its driver.

    Attributes:
        detector: name in the zoo.
        asked: options of the command.
        nodes: of the cluster.
        kept_at: files that were kept when the `node` was killed, and the `driver`.
        redone: files of these that were written again.
        said: what the command said of machines that were gone.
        numbers, arrays: that were compared with those of one process.
        differing, arrays_differing: how many of them differ.
        provenance: where the numbers come from.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    detector: str
    asked: dict[str, str | int]
    nodes: Annotated[int, Field(ge=2)]
    kept_at: dict[str, Count]
    redone: Count
    said: list[str]
    numbers: Annotated[int, Field(ge=1)]
    differing: Count
    arrays: Annotated[int, Field(ge=1)]
    arrays_differing: Count
    provenance: Provenance
