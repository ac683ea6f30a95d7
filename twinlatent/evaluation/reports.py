"""What an evaluation finds out that is no single number: checks of itself, and what judges see in attacked images."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Status = Literal["pass", "warn", "fail"]
Count = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]


class _Finding(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Check(_Finding):
    """One check of an evaluation by itself.

    Attributes:
        name: such as `gradients`; docs/trusting_a_result.md has a paragraph of that name.
        status: `fail`: do not believe the numbers; `warn`: look first.
        finding: one sentence with the numbers it rests on.
    """

    name: str
    status: Status
    finding: str


class JudgeCase(_Finding):
    """How often a judge is right on images whose class is beyond doubt.

    Attributes:
        judge: its name, or `agreement` for all of them together, where no agreement counts as wrong.
        cases: what kind of images, such as `benign`.
        value, n, low, high: the share judged rightly, of how many, and its 95 % interval.
    """

    judge: str
    cases: str
    value: Share
    n: Count
    low: Share
    high: Share


class JudgedAttack(_Finding):
    """What the judges see in the images with which an attack won.

    Attributes:
        attack: name.
        epsilon: L∞ radius; None where it has none.
        goal: what counted as winning, such as `c1c2` or `undetected at 5 %`.
        shows_true: images in which all judges see the true class: condition C3.
        shows_predicted: images in which all see the class that the detector predicts.
        neither: images in which all see one and the same third class.
        disagree: images on which they differ, which count as no longer showing the true class.
    """

    attack: str
    epsilon: float | None
    goal: str
    shows_true: Count
    shows_predicted: Count
    neither: Count
    disagree: Count


class JudgeReport(_Finding):
    """What the judges are worth, and what they say."""

    cases: tuple[JudgeCase, ...]
    attacks: tuple[JudgedAttack, ...]
