"""What the server answers, as pydantic models: the documentation is made of them."""

import math
from importlib import metadata
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from twinlatent.method.calibrated import CalibratedDetector
    from twinlatent.method.verdicts import Verdict


class ImageVerdict(BaseModel):
    """Of one image."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    label: str = Field(description="Name of the predicted class.", examples=["7"])
    class_index: int = Field(description="Its number, from 0.", examples=[7])
    adversarial: bool = Field(description="Whether it is flagged at the rate `fpr`.", examples=[False])
    p_value: float = Field(description="Conformal p-value, in (0, 1]; at most `fpr` where flagged.", examples=[0.41])
    suspicion: float | None = Field(description="Higher is more suspicious; null where it is not finite.",
                                    examples=[-1.25])  # fmt: skip


class Detected(BaseModel):
    """Of the images of a request, in their order."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str = Field(description="Name of the detector.", examples=["mnist-mim"])
    fpr: float = Field(description="Share of benign images that may be flagged.", examples=[0.05])
    results: list[ImageVerdict] = Field(description="One an image.")


class ModelInfo(BaseModel):
    """A detector that the server has."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(examples=["mnist-mim"])
    method: str = Field(examples=["twinlatent"])
    image_shape: tuple[int, int, int] = Field(description="Channels, height, width.", examples=[(1, 28, 28)])
    class_names: list[str] = Field(examples=[["0", "1", "2"]])
    finest_fpr: float = Field(description="The smallest rate that its calibration can tell.", examples=[0.0002])
    fingerprint: str = Field(description="SHA-256 of all that decides its answers.")
    card: dict[str, Any] = Field(description="Where it comes from.")


class Models(BaseModel):
    """All of them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    models: list[ModelInfo]


class Refused(BaseModel):
    """Why a request is not answered."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    error: str = Field(description="One line: what is wrong, and the mend.",
                       examples=["the body: is not an image; give PNG, JPEG or .npy"])  # fmt: skip


def version() -> str:
    """Of this package; "unknown" where it runs without being installed."""
    try:
        return metadata.version("twinlatent")
    except metadata.PackageNotFoundError:
        return "unknown"


def shortest(value: float) -> float:
    """The number of fewest digits that is the same in float32.

    Example:
        >>> 26 / 520, float(np.float32(26 / 520)), shortest(float(np.float32(26 / 520)))
        (0.05, 0.05000000074505806, 0.05)
    """
    return float(str(np.float32(value)))


def image_verdicts(verdict: "Verdict", class_names: tuple[str, ...], fpr: float) -> list[ImageVerdict]:
    """One an image: in float32 the numbers of `detect` at the rate `fpr`, above which no p-value is that is flagged."""
    rows = zip(*(part.tolist() for part in (verdict.label, verdict.adversarial, verdict.p_value, verdict.suspicion)),
               strict=True)  # fmt: skip
    return [
        ImageVerdict(label=class_names[label], class_index=label, adversarial=flagged,
                     p_value=min(shortest(p_value), fpr) if flagged else shortest(p_value),
                     suspicion=shortest(suspicion) if math.isfinite(suspicion) else None)
        for label, flagged, p_value, suspicion in rows
    ]  # fmt: skip


def info_of(name: str, detector: "CalibratedDetector") -> ModelInfo:
    """What `/v1/models` says of a detector."""
    return ModelInfo(name=name, method=detector.method, image_shape=detector.image_shape,
                     class_names=list(detector.class_names), finest_fpr=detector.calibration.finest_fpr,
                     fingerprint=detector.fingerprint, card=detector.card)  # fmt: skip
