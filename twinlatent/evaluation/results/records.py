"""Results as flat records: one number, what it measures, how sure it is and where it comes from."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    TypeAdapter,
    ValidationError,
    field_validator,
    model_validator,
)

from twinlatent.errors import TwinlatentError
from twinlatent.evaluation.results.file import Run, first_run, flat_rows, packed, write_results

MEAN = "mean"
"""What records call the mean over all substitutes."""
MISCLASSIFIED_ONLY = ", misclassified only"
"""Ends the budget of records that are taken over the images alone that the substitute misclassifies."""
FORMERLY = ", misread only"
"""The same in files of version 0.1.0."""
WORST, UNCHANGED, ANY = "worst", "none", "any"
"""What records call the worst of all attacks, no attack at all, and whatever attack there could be."""
CERTIFIED = "sr_certified"
"""Metric of what is proved of any attack."""
FLAGGED_SHIFT, ACCURACY_SHIFT = "flagged_shift", "accuracy_shift"
"""Metrics of mildly changed benign images, whose `attack` names the change and its strength."""
MILD, OF_CLASS = "mild changes", ", of class "
"""Budget of these, and what stands in it before a class where it is of the images of that class alone."""
BESIDE = "; "
"""In a budget, between that of the suite and what was spent that is no part of it."""
BOUNDS = "interval and linear bounds"
"""Budget of a certificate in L∞; OF_INTERVALS of one in L2, where linear bounds are not tried."""
OF_INTERVALS = "interval bounds"
OF_ATTACKED = f"{BOUNDS}{BESIDE}the attacked images"
"""The same, on exactly the images that were attacked at that point."""
L2_RADIUS = "L2 radius "
"""Stands in the budget of what was attacked or certified in L2, before the radius."""
LONGEST = 80
"""Characters of a name, at most."""


def _one_line(name: str) -> str:
    if not name.strip() or not name.isprintable() or len(name) > LONGEST:
        raise ValueError(f"give 1 to {LONGEST} printable characters on one line, not only blanks")
    return name


Kind = TypeVar("Kind", bound=BaseModel)
Label = Annotated[str, AfterValidator(_one_line)]
"""A name of a method, a training attack, an attack or a score: any short line. Ours of methods are those of
`baselines.METHODS` and twinlatent; of scores vulnerable, joint and ratio, and of the baselines confidence, binary
(Gong et al.), non-me and k-density (Pang et al.), class-detector (Yin et al.)."""
Metric = Literal["accuracy", "auc", "fpr", "tpr@1", "tpr@5", "tpr@10", "sr@1", "sr@5", "sr@10", "sr_certified",
                 "sr_c1c2", "sr_c1c2c3", "benign_pass_c1c2", "benign_c3", "l2_rms255", "substitute_accuracy",
                 "attack_success", "test_attack_success", "test_xb_accuracy", "test_xv_accuracy",
                 "control_relabelled_accuracy", "control_noise_accuracy", "control_unattacked_accuracy",
                 "flagged_shift", "accuracy_shift"]  # fmt: skip
ASKED = ("fpr", CERTIFIED, FLAGGED_SHIFT)  # metrics of a false-positive rate that is asked for
UNBOUNDED_METRICS = frozenset({"l2_rms255"})  # every other metric is a share, in [0, 1]

Name = Annotated[str, Field(min_length=1)]


class Record(BaseModel):
    """One measured number.

    Attributes:
        data: name of the data set.
        method: whose detector or classifier was measured.
        trained_with: the training attack, "none" where there was none.
        attack: "none" on benign images, "fgsm", "pgd", "mim", "cw" and so on, "worst" for the worst of several, or
            "any" for whatever attack there could be.
        epsilon: the attack's L∞ budget in [0, 1]; None where it has none.
        score: which suspicion score; None where the metric does not use one.
        metric: what was measured. "fpr" and "tpr@k", "sr@k" (attack success rate) are taken at thresholds fixed
            beforehand on held-out benign images, k in percent of benign images flagged; "sr_certified" is what no
            attack can exceed, at the rate `asked`; "attack_success" is the
            share of attacked images the substitute misclassifies; "benign_c3" is the share of benign images that
            meet C3, which bounds "sr_c1c2c3"; "flagged_shift" and "accuracy_shift" are of benign images after the mild
            change that `attack` names, such as "blur 1", "none" being the same images as they were;
            "test_xb_accuracy", "test_xv_accuracy" and "control_*" are
            of section 3's experiment, see `motivation`; "l2_rms255" is 255·‖δ‖₂/√d averaged over successes.
        value: the number, finite; in [0, 1] unless it is "l2_rms255".
        n: how many images it was taken over, at least 1.
        low: lower end of its 95 % interval; None where none was computed.
        high: upper end of it.
        seed: what every random choice was derived from.
        command: command line that produced it.
        commit: commit of the package.
        seconds: time it took; of a white-box evaluation that was interrupted, all its sittings.
        versions: version of each library.
        machine: kind of processor.
        date: day it was measured, YYYY-MM-DD.
        budget: name of the attack suite, such as "blackbox", "paper" or "standard".
        substitute: name of the classifier that a black-box number was measured with, or "mean" over all of them; None
            where there is none, and in files of version 0.1.0, which knew `f_p` alone.
        asked: of "fpr" and "flagged_shift" the rate that was asked for, in (0, 1), of which `value` is what came of
            it, and of "sr_certified" that of the thresholds; None for any other metric, and in files of version 0.1.0,
            which asked for 0.05 or the finest rate above it.
        reused: which other runs made attacked images, substitutes or judges that it rests on; None if there were none.

    Errors: pydantic's `ValidationError` on any other field or a value outside these ranges.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: Name
    method: Label
    trained_with: Label
    attack: Label
    epsilon: Annotated[FiniteFloat, Field(ge=0, le=1)] | None
    score: Label | None
    metric: Metric
    value: Annotated[FiniteFloat, Field(ge=0)]
    n: Annotated[int, Field(ge=1)]
    low: FiniteFloat | None
    high: FiniteFloat | None
    seed: int
    command: str
    commit: str
    seconds: Annotated[FiniteFloat, Field(ge=0)]
    versions: dict[str, str]
    machine: str
    date: Annotated[str, Field(pattern=r"^\d{4}-\d{2}-\d{2}$")]
    budget: Name
    substitute: Name | None = None
    asked: Annotated[FiniteFloat, Field(gt=0, lt=1)] | None = None
    reused: Name | None = None

    @field_validator("budget")
    @classmethod
    def _of_version_0_1_0(cls, budget: str) -> str:
        """By its name of today."""
        return budget.removesuffix(FORMERLY) + MISCLASSIFIED_ONLY if budget.endswith(FORMERLY) else budget

    @model_validator(mode="after")
    def _numbers_agree(self) -> Self:
        if self.metric not in UNBOUNDED_METRICS and self.value > 1:
            raise ValueError(f"{self.metric} is a share, so value must lie in [0, 1]; it is {self.value}")
        if self.asked is not None and self.metric not in ASKED:
            raise ValueError(f"asked is of {', '.join(ASKED)} alone; {self.metric} has {self.asked}")
        in_l2 = L2_RADIUS in self.budget
        if self.metric == CERTIFIED and (self.asked is None or (self.epsilon is None and not in_l2)):
            raise ValueError(f"{CERTIFIED} is of a radius and a rate; give epsilon and asked")
        if (self.low is None) != (self.high is None):
            raise ValueError("low and high come together: give both or neither")
        if self.low is not None and self.high is not None and not self.low <= self.value <= self.high:
            raise ValueError(f"value {self.value} lies outside its interval [{self.low}, {self.high}]")
        return self


def checked_label(what: str, name: str) -> str:
    """The name, if it can be one in records; else `TwinlatentError`, which calls it `what`."""
    try:
        return TypeAdapter(Label).validate_python(name)
    except ValidationError as error:
        raise TwinlatentError(f"{what} {str(name)[:LONGEST]!r}: {complaint(error).partition(' (found')[0]}") from error


def false_alarms(records: Iterable[Record], fpr: float = 0.05) -> Record | None:
    """The first "fpr" that was asked for at `fpr`, or at the finest rate above it that the calibration could tell.

    Args:
        records: of one detector; of version 0.1.0, too, which kept a single one without the rate: it is that.
        fpr: in (0, 1).
    """
    found = [r for r in records if r.metric == "fpr" and (r.asked is None or r.asked >= fpr)]
    return min(found, key=lambda r: r.asked or fpr, default=None)


def write_records(path: str | Path, records: Iterable[Record], *, detector: str | None = None,
                  settings: dict[str, Any] | None = None) -> None:  # fmt: skip
    """Write `records` to `path` in the form of `file`, whole or not at all; its `packed` has the arguments."""
    flat = [record.model_dump() for record in records]
    write_results(path, packed(flat, detector=detector, settings=settings))


def read_records(path: str | Path) -> tuple[Record, ...]:
    """Read what `write_records` wrote, now or in version 0.1.0.

    Errors: `TwinlatentError` naming the file, the record and the field when one is missing, unknown or wrong; and
    where there is no record.
    """
    item = read_json(path)
    try:
        records = tuple(_record(path, place, row) for place, row in flat_rows(path, item))
    except ValidationError as error:
        raise TwinlatentError(f"{path}: {complaint(error)}") from error
    if not records:
        raise TwinlatentError(f"{path}: holds no record")
    return records


def read_json(path: str | Path) -> object:
    """Return the JSON value in the file `path`; `TwinlatentError` if it is missing or not JSON."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise TwinlatentError(f"{path}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise TwinlatentError(f"{path}: not JSON: {error}") from error


def complaint(error: ValidationError) -> str:
    """Say in one line which field pydantic refused first, and why."""
    first = error.errors(include_url=False, include_context=False)[0]
    field = ".".join(str(part) for part in first["loc"])
    given = first["input"]
    found = f" (found {given!r})" if isinstance(given, str | int | float | bool | None) else ""
    message = first["msg"].removeprefix("Value error, ")
    return f"field {field!r}: {message}{found}" if field else message


def _record(path: str | Path, place: str, item: object) -> Record:
    try:
        return Record.model_validate(item)
    except ValidationError as error:
        raise TwinlatentError(f"{path}: {place}: {complaint(error)}") from error


def validated(path: Path, kind: type[Kind], item: object, what: str = "") -> Kind:
    """The JSON value `item` of `path` as a `kind`; `TwinlatentError` naming the file, then `what`, and the field."""
    try:
        return kind.model_validate(item)
    except ValidationError as error:
        raise TwinlatentError(f"{path}: {what}{complaint(error)}") from error


def read_first_run(path: Path) -> Run | None:
    """The run that a file of records tells of first; None where it tells of none."""
    return first_run(read_json(path))
