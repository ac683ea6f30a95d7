"""Settings of the classifiers that an evaluation trains for itself: the attacker's substitutes, and the judges."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from twinlatent.arguments import by_value

SubstituteName = Literal["f_p", "cnn5", "cleverhans"]
"""`f_p`: the plain classifier of the paper's Table 5. `cnn5`: two 5×5 convolutions, each pooled. `cleverhans`: the
basic CNN of the library CleverHans (Papernot et al. 2016): 8×8, 6×6 and 5×5 convolutions with strides, no pooling."""
Compared = Literal["knn", "svm"]


class SubstituteSettings(BaseModel):
    """A plain classifier of the attacker's own, and its training with Adam on cross-entropy."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    layers: str
    """In the paper's notation."""
    steps: int = Field(2000, ge=1)
    batch: int = Field(64, ge=1)
    learning_rate: float = Field(2e-3, gt=0)
    """At most; it rises and falls in one cycle."""


class JudgeSettings(BaseModel):
    """How judges are made."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    _by_value = field_validator("*", mode="before")(by_value)

    compared: Compared = "knn"
    """How one judge compares pixels: nearest neighbours, or support vectors with Gaussian kernels, as scikit-learn has
    them by default."""
    neighbours: int = Field(5, ge=1)
    remembered: int = Field(10_000, ge=1)
    """Training images to compare with, at most."""
    side: int | None = Field(None, ge=1)
    """Pixels a side that images are averaged down to before they are compared; None: as they are."""
    evened: bool = False
    """Whether images are given mean 0 and deviation 1 before they are compared."""
    network_side: int | None = Field(None, ge=4)
    """`side` for the network."""
    filters: tuple[int, int] = (16, 32)
    """Of the network's two 5×5 convolutions."""
    hidden: int = Field(128, ge=1)
    """Units of its hidden layer."""
    epsilon: float = Field(0.3, ge=0, le=1)
    """L∞ radius of the attacks in training after the ramp."""
    attack_steps: int = Field(7, ge=1)
    stride: float = Field(2.5, gt=0)
    """An attack's step is `stride` × ε / `attack_steps`."""
    ramp: float = Field(1 / 3, gt=0, le=1)
    """Share of the steps over which ε grows to its full size."""
    steps: int = Field(1200, ge=1)
    batch: int = Field(64, ge=1)
    learning_rate: float = Field(4e-3, gt=0)
