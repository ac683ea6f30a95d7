"""What an evaluation reports besides single numbers: what was judged, examples, checks of itself, what judges see."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

from twinlatent.errors import TwinlatentError
from twinlatent.evaluation.results.pictures import (
    Flags,
    Floats,
    Names,
    check_array,
    check_pictures,
    check_unit_interval,
)
from twinlatent.evaluation.results.records import read_json, validated

Status = Literal["pass", "skip", "warn", "fail"]
Count = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Check(_Part):
    """One check of an evaluation by itself.

    Attributes:
        name: such as `gradients`; docs/trusting_a_result.md has a paragraph of that name.
        status: `fail`: do not believe the numbers; `warn`: look first; `skip`: there was nothing to check.
        finding: one sentence with the numbers it rests on.
    """

    name: str
    status: Status
    finding: str


class JudgeCase(_Part):
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


class JudgedAttack(_Part):
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


class JudgeReport(_Part):
    """What the judges are worth, and what they say."""

    cases: tuple[JudgeCase, ...]
    attacks: tuple[JudgedAttack, ...]


class ModelCard(_Part):
    """What was trained, in words and numbers a reader can check.

    Attributes:
        title: heading of the report.
        method: whose detector it is, as in records.
        trained_with: the training attack, "none" where there was none.
        data: name of the data set it was trained on.
        class_names: one name a class.
        training_images, calibration_images, test_images: how many of each were used.
        network: in the paper's notation, such as "3(c(4,16)) z(8,8)".
        decoder: the same; None where there is none.
        parameters: trained numbers, all classes together.
        score: which suspicion score flags an image.
        label_rule: how the label is inferred.
        fpr: share of benign images the detector was set to flag, in (0, 1).
        seconds: training time.
        settings: the training settings, nested as they are in the settings file.
        judged_on: name of the data set whose test images were judged; empty in folders of earlier versions.
    """

    title: str
    method: str
    trained_with: str
    data: str
    class_names: tuple[str, ...]
    training_images: Count
    calibration_images: Count
    test_images: Count
    network: str
    decoder: str | None
    parameters: Count
    score: str
    label_rule: str
    fpr: Annotated[FiniteFloat, Field(gt=0, lt=1)]
    seconds: Annotated[FiniteFloat, Field(ge=0)]
    settings: dict[str, Any]
    judged_on: str = ""

    @property
    def test_data(self) -> str:
        """Name of the data set whose test images were judged."""
        return self.judged_on or self.data


@dataclass(frozen=True, eq=False)
class Examples:
    """k pairs of a benign image and its attacked version, with what the detector said of each.

    Attributes:
        benign: (k, H, W), or in colour (k, H, W, 3), in [0, 1].
        adversarial: the same.
        attack: (k,) name of the attack.
        true: (k,) name of the true class.
        benign_label: (k,) name of the class the detector inferred for the benign image.
        adversarial_label: (k,) the same for the attacked one.
        benign_flagged: (k,) whether the detector flagged the benign image.
        adversarial_flagged: (k,) the same for the attacked one.
        benign_p: (k,) p-value of the benign image in [0, 1], small where it is suspicious.
        adversarial_p: (k,) the same for the attacked one.

    Errors: `TwinlatentError` when the shapes, types or ranges are not these.
    """

    benign: Floats
    adversarial: Floats
    attack: Names
    true: Names
    benign_label: Names
    adversarial_label: Names
    benign_flagged: Flags
    adversarial_flagged: Flags
    benign_p: Floats
    adversarial_p: Floats

    def __post_init__(self) -> None:
        for name in _EXAMPLE_KINDS:
            check, dimensions = (check_pictures, 3) if name in _IMAGES else (check_array, 1)
            check(f"example_{name}", getattr(self, name), _EXAMPLE_KINDS[name], dimensions)
            if name in _IMAGES and getattr(self, name).shape != self.benign.shape:
                raise TwinlatentError(f"example_{name} has shape {getattr(self, name).shape}, not {self.benign.shape}")
            if len(getattr(self, name)) != len(self):
                raise TwinlatentError(f"example_{name} has {len(getattr(self, name))} rows, example_benign {len(self)}")
        for name in (*_IMAGES, *_P_VALUES):
            check_unit_interval(f"example_{name}", getattr(self, name))

    def __len__(self) -> int:
        """Return k."""
        return len(self.benign)


def read_checks(path: Path) -> tuple[Check, ...]:
    """The checks in a file, none where there is no file; `TwinlatentError` naming the file, the check and the field."""
    if not path.exists():
        return ()
    items = read_json(path)
    if not isinstance(items, list):
        raise TwinlatentError(f"{path}: expected a JSON list of checks, found {type(items).__name__}")
    return tuple(validated(path, Check, item, f"check {number}: ") for number, item in enumerate(items))


_IMAGES, _P_VALUES = ("benign", "adversarial"), ("benign_p", "adversarial_p")
_EXAMPLE_KINDS = {
    **dict.fromkeys((*_IMAGES, *_P_VALUES), "f"),
    **dict.fromkeys(("attack", "true", "benign_label", "adversarial_label"), "U"),
    **dict.fromkeys(("benign_flagged", "adversarial_flagged"), "b"),
}  # the numpy kind of each field
