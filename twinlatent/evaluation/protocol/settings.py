"""What is asked of attacks that know the detector."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationInfo, field_validator

from twinlatent.arguments import by_value
from twinlatent.attacks.balls import Norm
from twinlatent.attacks.suites import SuiteName
from twinlatent.data.split import SEED_LIMIT
from twinlatent.evaluation.protocol.points import RATES
from twinlatent.method.calibrated import CalibratedDetector
from twinlatent.torch_state import batch_on

Goal = Literal["undetected", "c1c2", "misclassified"]
"""Besides being misclassified: to pass the threshold of a false-positive rate, to meet C1 and C2 (C1 alone for a
detector without a robust log-density), or nothing more."""
BATCH = 50


class WhiteBoxSettings(BaseModel):
    """What is asked of the attacks.

    Attributes:
        suite: name of the suite.
        norm: of the ball.
        epsilon: its radius.
        steps: of gradient attacks; None: the suite's own.
        goal: what counts as success.
        fpr: false-positive rate of the threshold, one of `RATES`.
        images: how many test images, drawn by `seed`; None: all.
        seed: of the draw, the substitute and the random starts.
        remaining_only: run each attack on the images alone that no earlier one won.
        unproved_only: run attacks on the images alone of which it is not proved that none can win; the others count as
            not won. For the goal `undetected`, and detectors of ours.
        batch_size: images attacked at a time, which is what an interruption can lose; on a CUDA device, where not said
            otherwise, as many as its memory has room for.

    Errors: pydantic's `ValidationError` on any other field or value.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    _by_value = field_validator("*", mode="before")(by_value)

    suite: SuiteName = "standard"
    norm: Norm = "linf"
    epsilon: Annotated[FiniteFloat, Field(ge=0)] = 0.3
    steps: Annotated[int, Field(ge=1)] | None = None
    goal: Goal = "undetected"
    fpr: float = 0.05
    images: Annotated[int, Field(ge=1)] | None = 200
    seed: Annotated[int, Field(ge=0, lt=SEED_LIMIT)] = 0
    remaining_only: bool = False
    unproved_only: bool = False
    batch_size: Annotated[int, Field(ge=1)] = BATCH

    @field_validator("fpr")
    @classmethod
    def _is_reported(cls, fpr: float) -> float:
        if fpr not in RATES:
            raise ValueError(f"choose from {', '.join(map(str, RATES))}")
        return fpr

    @field_validator("epsilon")
    @classmethod
    def _is_in_the_box(cls, epsilon: float, info: ValidationInfo) -> float:
        if epsilon > 1 and info.data.get("norm") == "linf":
            raise ValueError("give at most 1, the whole box")
        return epsilon

    @field_validator("steps", "norm")
    @classmethod
    def _are_not_the_papers(cls, value: Any, info: ValidationInfo) -> Any:
        if info.data.get("suite") == "paper" and value not in (None, "linf"):
            raise ValueError("suite paper has its own steps, in linf; choose another suite")
        return value

    @field_validator("unproved_only")
    @classmethod
    def _is_what_is_proved(cls, unproved_only: bool, info: ValidationInfo) -> bool:
        if unproved_only and info.data.get("goal") != "undetected":
            raise ValueError("proofs are of images that are misclassified and not flagged; ask for goal undetected")
        return unproved_only

    def batch_for(self, detector: CalibratedDetector) -> int:
        """Images of the detector that are attacked at a time, where it computes."""
        if "batch_size" in self.model_fields_set:
            return self.batch_size
        return batch_on(detector.device, self.batch_size, detector.image_shape, detector.classes)

    @property
    def described(self) -> str:
        """What the records call the budget."""
        parts = [self.suite, *([f"{self.steps} steps"] if self.steps else [])]
        return ", ".join([*parts, *([f"L2 radius {self.epsilon:g}"] if self.norm == "l2" else [])])

    @property
    def metric(self) -> Literal["sr@1", "sr@5", "sr@10", "sr_c1c2", "attack_success"]:
        """What the records call a success rate."""
        rates: dict[float, Literal["sr@1", "sr@5", "sr@10"]] = {0.01: "sr@1", 0.05: "sr@5", 0.10: "sr@10"}
        return {"undetected": rates[self.fpr], "c1c2": "sr_c1c2", "misclassified": "attack_success"}[self.goal]
