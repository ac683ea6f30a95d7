"""The forms of what benchmarks/attacks.py and benchmarks/precision.py leave in results/."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

from twinlatent.provenance import Provenance

Count = Annotated[int, Field(ge=0)]
Images = Annotated[int, Field(ge=1)]
Positive = Annotated[FiniteFloat, Field(gt=0)]
Share = Annotated[FiniteFloat, Field(ge=0, le=1)]


class _Form(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Rates(_Form):
    """How fast an attack makes its steps, by library.

    Attributes:
        images_steps_per_second: gradient passes of one image.
        ratio: ours over the fastest other.
    """

    images_steps_per_second: dict[str, Positive]
    ratio: Positive


class ToSuccess(_Form):
    """How long an attack takes that may stop early, by library.

    Attributes:
        seconds: of the processor.
        success: share of the images that are misclassified.
        median_l2: of the changes that succeed; None where none does.
        ratio: the fastest other over ours.
    """

    seconds: dict[str, Positive]
    success: dict[str, Share]
    median_l2: dict[str, Positive | None]
    ratio: Positive


class PeersBenchmark(_Form):
    """What benchmarks/attacks.py measures, by attack.

    Attributes:
        threads: of the processor.
        images: that are attacked.
        accuracy: of the network.
        steps: of PGD and MIM.
        as_trained, frozen: with parameters that ask for gradients, and without.
        to_success: stopping early.
        detector: an attack on a shipped detector, if it was asked for.
        provenance: where the numbers come from.
    """

    threads: Images
    images: Images
    accuracy: Share
    steps: Images
    as_trained: dict[str, Rates] = Field(alias="as trained")
    frozen: dict[str, Rates] = Field(alias="parameters frozen for all")
    to_success: dict[str, ToSuccess] = Field(alias="to success")
    detector: dict[str, Any] | None = None
    provenance: Provenance


class Ways(_Form):
    """An attack on a detector that computes in several ways.

    Attributes:
        seconds: of the processor, by way.
        won: images, by way.
        other_verdicts: images that another way wins and float32 does not, or the reverse.
    """

    seconds: dict[str, Positive]
    won: dict[str, Count]
    other_verdicts: dict[str, Count] = Field(alias="other verdicts")


class PrecisionBenchmark(_Form):
    """What benchmarks/precision.py measures.

    Attributes:
        detector: name in the zoo.
        images: of each attack.
        ratio: float32 over the way, all attacks together, without the time to compile.
        compiling: seconds.
        attacks: by name.
        provenance: where the numbers come from.
    """

    detector: str
    images: Images
    ratio: dict[str, Positive]
    compiling: Positive
    attacks: dict[str, Ways]
    provenance: Provenance
