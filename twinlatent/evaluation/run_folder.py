"""The folder an evaluation leaves behind: everything its report is made from, no pickles.

`results.json` holds the records, `model.json` what was trained and how, `evaluation.npz` scores and example images.
Where there are any, `checks.json` holds the checks, `judges.json` what judges say, `pictures.npz` the data of further
pictures, and `training-log.jsonl` the training log, one JSON object a round.
"""

import json
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError

from twinlatent.claims import claimed, clear, refuse_present
from twinlatent.code_digest import code_identity
from twinlatent.errors import TwinlatentError, listed
from twinlatent.evaluation.pictures import (
    Flags,
    Floats,
    LatentCloud,
    Names,
    PairGrid,
    check_array,
    check_unit_interval,
    from_arrays,
    member,
    to_arrays,
)
from twinlatent.evaluation.records import Record, complaint, read_json, read_records, write_records
from twinlatent.evaluation.reports import Check, JudgeReport
from twinlatent.evaluation.training_log import read_log
from twinlatent.files import replacing, write_json, write_text

RECORDS, MODEL, ARRAYS, LOG = "results.json", "model.json", "evaluation.npz", "training-log.jsonl"
CHECKS, JUDGES, PICTURES = "checks.json", "judges.json", "pictures.npz"
PAGE = "report.html"
RESULTS = (RECORDS, MODEL, ARRAYS, CHECKS, JUDGES, PICTURES, LOG, PAGE)
"""All that an evaluation leaves in its folder."""
UNFINISHED, WHOSE = "unfinished", "evaluation.json"
"""Folder that keeps what is done until all is, and its file that says whose that is."""
ANEW = "or begin anew (evaluate --force, overwrite=True)"

Count = Annotated[int, Field(ge=0)]
Kind = TypeVar("Kind", bound=BaseModel)


class ModelCard(BaseModel):
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

    model_config = ConfigDict(frozen=True, extra="forbid")

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
        benign: (k, H, W) in [0, 1].
        adversarial: (k, H, W) in [0, 1].
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
            check_array(f"example_{name}", getattr(self, name), _EXAMPLE_KINDS[name], 3 if name in _IMAGES else 1)
            if name in _IMAGES and getattr(self, name).shape != self.benign.shape:
                raise TwinlatentError(f"example_{name} has shape {getattr(self, name).shape}, not {self.benign.shape}")
            if len(getattr(self, name)) != len(self):
                raise TwinlatentError(f"example_{name} has {len(getattr(self, name))} rows, example_benign {len(self)}")
        for name in (*_IMAGES, *_P_VALUES):
            check_unit_interval(f"example_{name}", getattr(self, name))

    def __len__(self) -> int:
        """Return k."""
        return len(self.benign)


_IMAGES, _P_VALUES = ("benign", "adversarial"), ("benign_p", "adversarial_p")
_EXAMPLE_KINDS = {
    **dict.fromkeys((*_IMAGES, *_P_VALUES), "f"),
    **dict.fromkeys(("attack", "true", "benign_label", "adversarial_label"), "U"),
    **dict.fromkeys(("benign_flagged", "adversarial_flagged"), "b"),
}  # the numpy kind of each field


@dataclass(frozen=True, eq=False)
class EvaluationRun:
    """Everything a report is made from.

    Attributes:
        records: the measured numbers.
        model: what was trained.
        benign_suspicion: (n,) suspicion of benign test images, higher is more suspicious.
        suspicion: attack name -> (n,) suspicion of attacked test images; at least one attack.
        examples: pairs of images to show; may be empty (k = 0).
        threshold: the suspicion above which an image is flagged, where there is one for all classes.
        log: the training log, one mapping a round; empty if it was not kept.
        checks: of the evaluation by itself; empty if none were made.
        judges: what judges that never saw the detector say of attacked images; None if none were asked.
        grid: images attacked in several ways; None if none were kept.
        latents: of one class; None if none were kept.

    Errors: `TwinlatentError` on an empty, NaN or wrongly shaped array.
    """

    records: tuple[Record, ...]
    model: ModelCard
    benign_suspicion: Floats
    suspicion: Mapping[str, Floats]
    examples: Examples
    threshold: float | None = None
    log: tuple[Mapping[str, Any], ...] = ()
    checks: tuple[Check, ...] = ()
    judges: JudgeReport | None = None
    grid: PairGrid | None = None
    latents: LatentCloud | None = None

    def __post_init__(self) -> None:
        if not self.suspicion:
            raise TwinlatentError("attacks is empty: give the scores of at least one attack")
        _check_scores("benign_suspicion", self.benign_suspicion)
        for attack, scores in self.suspicion.items():
            _check_scores(f"suspicion_{attack}", scores)


@contextmanager
def evaluation_folder(folder: Path, identity: Mapping[str, Any], *, overwrite: bool = False) -> Iterator[None]:
    """Own the folder of an evaluation while the block runs, and remove the unfinished work when it succeeds.

    Args:
        folder: gets the results; what is done by then is in `UNFINISHED` below.
        identity: JSON-able; unfinished work with the same one, by the same code, is resumed.
        overwrite: begin anew where it holds another evaluation; without, that is refused.

    Raises:
        TwinlatentError: it holds results, or unfinished work of another evaluation, or another process writes there.
    """
    unfinished = folder / UNFINISHED
    with claimed(folder):
        now = json.loads(json.dumps({**identity, **code_identity()}))
        before = _whose(unfinished / WHOSE)
        if before != now:
            if overwrite:
                clear(unfinished)
            elif before is not None:
                raise TwinlatentError(f"{folder} holds unfinished work of another evaluation ({_differing(before, now)}"
                                      f"); give another folder, {ANEW}")  # fmt: skip
            else:
                refuse_present(folder, RESULTS, "an evaluation", f"give another folder, {ANEW}")
            write_json(unfinished / WHOSE, now)
        try:
            yield
        except BaseException:
            if [path.name for path in unfinished.iterdir()] == [WHOSE]:  # nothing was done
                clear(unfinished)
            raise
        clear(unfinished)


def _whose(path: Path) -> dict[str, Any] | None:
    """The identity of unfinished work: None where there is none, empty where it cannot be read."""
    if not path.exists():
        return None
    try:
        found = read_json(path)
    except TwinlatentError:
        return {}
    return found if isinstance(found, dict) else {}


def _differing(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    return "other " + listed([name for name in now if before.get(name) != now[name]])


def write_run(folder: str | Path, run: EvaluationRun) -> None:
    """Write `run` into `folder`, each file whole or not at all. What the run lacks leaves no file behind.

    The same run always gives the same bytes.
    """
    folder = Path(folder)
    write_records(folder / RECORDS, run.records)
    write_json(folder / MODEL, run.model.model_dump(mode="json"))
    _write_arrays(folder / ARRAYS, _arrays(run))
    log = "".join(json.dumps(dict(line), allow_nan=False) + "\n" for line in run.log)
    _write_or_remove(folder / LOG, log, write_text)
    _write_or_remove(folder / CHECKS, [check.model_dump() for check in run.checks], write_json)
    _write_or_remove(folder / JUDGES, run.judges and run.judges.model_dump(), write_json)
    _write_or_remove(folder / PICTURES, to_arrays(run.grid, run.latents), _write_arrays)


def read_run(folder: str | Path) -> EvaluationRun:
    """Read what `write_run` wrote.

    Errors: `TwinlatentError` naming the file, and the array or field, when one is missing or wrong.
    """
    folder = Path(folder)
    records = read_records(folder / RECORDS)
    model = _validated(folder / MODEL, ModelCard, read_json(folder / MODEL))
    log, checks = read_log(folder / LOG), _read_checks(folder / CHECKS)
    judges = folder / JUDGES
    judged = _validated(judges, JudgeReport, read_json(judges)) if judges.exists() else None
    grid, latents = _read_pictures(folder / PICTURES)
    path = folder / ARRAYS
    arrays = _read_arrays(path)
    try:
        attacks = [str(name) for name in member(arrays, "attacks")]
        examples = {field.name: member(arrays, f"example_{field.name}") for field in fields(Examples)}
        return EvaluationRun(
            records=records,
            model=model,
            benign_suspicion=member(arrays, "benign_suspicion"),
            suspicion={name: member(arrays, f"suspicion_{name}") for name in attacks},
            examples=Examples(**examples),
            threshold=float(arrays["threshold"]) if "threshold" in arrays else None,
            log=log,
            checks=checks,
            judges=judged,
            grid=grid,
            latents=latents,
        )
    except TwinlatentError as error:
        raise TwinlatentError(f"{path}: {error}") from error


def _arrays(run: EvaluationRun) -> dict[str, Any]:
    named: dict[str, Any] = {"attacks": np.array(list(run.suspicion)), "benign_suspicion": run.benign_suspicion}
    named |= {f"suspicion_{attack}": scores for attack, scores in run.suspicion.items()}
    named |= {f"example_{field.name}": getattr(run.examples, field.name) for field in fields(Examples)}
    return named if run.threshold is None else named | {"threshold": np.array(run.threshold)}


def _write_or_remove(path: Path, content: Any, write: Callable[[Path, Any], None]) -> None:
    """No content leaves no file, not an earlier one either."""
    if content:
        write(path, content)
    else:
        path.unlink(missing_ok=True)


def _write_arrays(path: Path, arrays: Mapping[str, Any]) -> None:
    with replacing(path) as temporary:
        np.savez_compressed(temporary, **arrays)


def _read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except FileNotFoundError as error:
        raise TwinlatentError(f"{path}: no such file") from error
    except (OSError, ValueError, AttributeError, EOFError, zipfile.BadZipFile) as error:
        reason = str(error).partition("\n")[0]
        raise TwinlatentError(f"{path}: not an .npz of plain arrays: {reason}") from error


def _validated(path: Path, kind: type[Kind], item: object, what: str = "") -> Kind:
    try:
        return kind.model_validate(item)
    except ValidationError as error:
        raise TwinlatentError(f"{path}: {what}{complaint(error)}") from error


def _read_checks(path: Path) -> tuple[Check, ...]:
    if not path.exists():
        return ()
    items = read_json(path)
    if not isinstance(items, list):
        raise TwinlatentError(f"{path}: expected a JSON list of checks, found {type(items).__name__}")
    return tuple(_validated(path, Check, item, f"check {number}: ") for number, item in enumerate(items))


def _read_pictures(path: Path) -> tuple[PairGrid | None, LatentCloud | None]:
    if not path.exists():
        return None, None
    arrays = _read_arrays(path)
    try:
        return from_arrays(arrays)
    except TwinlatentError as error:
        raise TwinlatentError(f"{path}: {error}") from error


def _check_scores(name: str, values: NDArray[Any]) -> None:
    check_array(name, values, "f", 1)
    if not len(values) or np.isnan(values).any():
        raise TwinlatentError(f"{name} is empty or holds NaN")
