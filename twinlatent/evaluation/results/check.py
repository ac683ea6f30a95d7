"""What may lie in a folder of results, whether a file of it is whole, and old ones in today's form."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

from twinlatent.errors import TwinlatentError
from twinlatent.evaluation.results.file import FORMAT
from twinlatent.evaluation.results.folder import ARRAYS, MODEL, RECORDS, RESULTS
from twinlatent.evaluation.results.parts import JudgeReport, ModelCard
from twinlatent.evaluation.results.records import read_json, read_records, write_records
from twinlatent.evaluation.results.report import read_checks, read_run, validated
from twinlatent.provenance import Provenance

Positive = Annotated[FiniteFloat, Field(gt=0)]


class Benchmark(BaseModel):
    """What benchmarks/encoder_step.py measures: an image gradient through all encoders, computed in several ways.

    Attributes:
        data: whose networks.
        threads: of the processor.
        milliseconds: of each contestant.
        speedup: of ours over the fastest other.
        share_of_peak: of the machine's speed in matrix products that ours reaches.
        relative_error: of each contestant's gradient.
        provenance: where the numbers come from.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: str
    threads: Annotated[int, Field(ge=1)]
    milliseconds: Annotated[dict[str, Positive], Field(min_length=1)]
    speedup: Positive
    share_of_peak: Positive
    relative_error: dict[str, Annotated[FiniteFloat, Field(ge=0)]]
    provenance: Provenance


class CostOfClasses(BaseModel):
    """What encoders cost at one number of classes, shared first layers against none; medians.

    Attributes:
        classes: how many.
        step_milliseconds: of a plain pass and one of bounds, forth and back, by `shared` and `separate`.
        file_megabytes: of a detector, likewise.
        step_ratio: separate over shared.
        file_ratio: likewise.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    classes: Annotated[int, Field(ge=1)]
    step_milliseconds: Annotated[dict[str, Positive], Field(min_length=1)]
    file_megabytes: Annotated[dict[str, Positive], Field(min_length=1)]
    step_ratio: Positive
    file_ratio: Positive


class ClassBenchmark(BaseModel):
    """What benchmarks/classes.py measures.

    Attributes:
        encoders: notation by `shared` and `separate`.
        batch: images of a step.
        threads: of the processor.
        by_classes: one a number of classes.
        provenance: where the numbers come from.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    encoders: dict[str, str]
    batch: Annotated[int, Field(ge=1)]
    threads: Annotated[int, Field(ge=1)]
    by_classes: Annotated[list[CostOfClasses], Field(min_length=1)]
    provenance: Provenance


class Differences(BaseModel):
    """How verdicts of ONNX Runtime, or of another device, differ from the detector's on the CPU.

    Attributes:
        images: that both were asked.
        label, adversarial, p_value: images of which both say another one.
        suspicion: the most by which it differs, as a share of its size, or of 1 where that is smaller.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    images: Annotated[int, Field(ge=1)]
    label: Annotated[int, Field(ge=0)]
    adversarial: Annotated[int, Field(ge=0)]
    p_value: Annotated[int, Field(ge=0)]
    suspicion: Annotated[FiniteFloat, Field(ge=0)]


class CostOfBatch(BaseModel):
    """What verdicts on so many images cost, medians, and how many times as fast ONNX Runtime is."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    batch: Annotated[int, Field(ge=1)]
    milliseconds: Annotated[dict[str, Positive], Field(min_length=1)]
    times_as_fast: Annotated[dict[str, Positive], Field(min_length=1)]


class ExportedDetector(BaseModel):
    """A detector and its ONNX file.

    Attributes:
        model: name in the zoo.
        bytes: of its file, `safetensors`, and of the other, `onnx`.
        size_ratio: onnx over safetensors.
        differences: of verdicts on all test images.
        by_batch: times.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str
    bytes: Annotated[dict[str, Annotated[int, Field(ge=1)]], Field(min_length=1)]
    size_ratio: Positive
    differences: Differences
    by_batch: Annotated[list[CostOfBatch], Field(min_length=1)]


class ExportBenchmark(BaseModel):
    """What benchmarks/export.py measures.

    Attributes:
        threads: of the processor.
        rounds: of which medians are.
        models: one a detector.
        provenance: where the numbers come from.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    threads: Annotated[int, Field(ge=1)]
    rounds: Annotated[int, Field(ge=1)]
    models: Annotated[list[ExportedDetector], Field(min_length=1)]
    provenance: Provenance


class TrainedOnDevice(BaseModel):
    """A recipe that was trained on a device, with as many rounds as there was time for.

    Attributes:
        recipe: its name.
        rounds: that were played.
        of: rounds the recipe asks for.
        seconds: they took.
        accuracy: on selection images, or test images where there are none.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    recipe: str
    rounds: Annotated[int, Field(ge=1)]
    of: Annotated[int, Field(ge=1)]
    seconds: Positive
    accuracy: Annotated[FiniteFloat, Field(ge=0, le=1)]


class AttackedOnDevice(BaseModel):
    """A suite of attacks on a detector, at the main point.

    Attributes:
        detector: name in the zoo.
        suite: name.
        images: that were attacked.
        batch: images at a time.
        seconds: they took.
        rates: success rates by attack, `worst` being any.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    detector: str
    suite: str
    images: Annotated[int, Field(ge=1)]
    batch: Annotated[int, Field(ge=1)]
    seconds: Positive
    rates: dict[str, Annotated[FiniteFloat, Field(ge=0, le=1)]]


class DeviceCheck(BaseModel):
    """What scripts/gpu_check finds on a machine with a GPU; None is what there was no time for, or what failed.

    Attributes:
        gpu: its name.
        device: as commands call it.
        seconds: it took, all of it.
        failed: what went wrong, by the name of the step; empty where nothing did.
        left_out: steps that there was no time for.
        commands: seconds of each command that ran with that device.
        resumed: most by which a weight differs from those of an uninterrupted training, by `from → to`.
        verdicts: against those of the CPU, by detector.
        training: of a certified recipe.
        attack: of a whole suite.
        milliseconds: of the same small work on both, by its name, `cpu` and `device`.
        times_as_fast: cpu over device.
        provenance: where the numbers come from.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    gpu: Annotated[str, Field(min_length=1)]
    device: str
    seconds: Positive
    failed: dict[str, str]
    left_out: list[str]
    commands: dict[str, Positive]
    resumed: dict[str, Annotated[FiniteFloat, Field(ge=0)]]
    verdicts: dict[str, Differences]
    training: TrainedOnDevice | None
    attack: AttackedOnDevice | None
    milliseconds: dict[str, dict[str, Positive]]
    times_as_fast: dict[str, Positive]
    provenance: Provenance


_MARKS: Mapping[str, tuple[str, type[BaseModel]]] = {
    "gpu": ("a check of a GPU", DeviceCheck),
    "milliseconds": ("a benchmark", Benchmark),
    "by_classes": ("a benchmark", ClassBenchmark),
    "models": ("a benchmark", ExportBenchmark),
    "label_rule": ("a model card", ModelCard),
    "cases": ("what judges say", JudgeReport),
}
"""Field by which a JSON object is known -> what it is, and the form that it must have."""


def check_file(path: Path) -> str | None:
    """Read a file of results, or all files of an evaluation's folder.

    Returns:
        What it holds, such as `171 records`, for a reader; None for JSON that is no result, such as training settings.

    Errors: `TwinlatentError`, one line that names the file, the row and the field.
    """
    if path.is_dir():
        return _evaluation(path)
    item = read_json(path)
    if _are_checks(item):
        return f"{len(read_checks(path))} checks"
    if isinstance(item, list) or _has_runs(item):
        return f"{len(read_records(path))} records{_old(item)}"
    for mark, (name, form) in _MARKS.items():
        if isinstance(item, Mapping) and mark in item:
            validated(path, form, item)
            return name
    return None


def result_files(paths: Sequence[Path], *, whole: bool = False) -> list[Path]:
    """The files that are named, and all .json of the folders that are, whatever depth; no hidden ones.

    Args:
        paths: of files and folders.
        whole: in folders, give an evaluation's folder in place of the files that the evaluation left there.

    Errors: `TwinlatentError` if there is none, or one is not there.
    """
    missing = [path for path in paths if not path.exists()]
    if missing:
        raise TwinlatentError(f"{missing[0]}: no such file or folder")
    found = dict.fromkeys(file for path in paths for file in (_inside(path, whole) if path.is_dir() else [path]))
    if not found:
        raise TwinlatentError(f"{', '.join(map(str, paths))}: no .json file of results there")
    return list(found)


def convert_file(path: Path) -> str | None:
    """Write a file of records of version 0.1.0 anew in today's form, which loses nothing; leave others as they are.

    Returns:
        What it holds and what was done, for a reader; None for JSON that is no result.

    Errors: `TwinlatentError` if it is damaged; it stays as it was.
    """
    holds = check_file(path)
    if not _old(read_json(path)):
        return holds and f"{holds}, left as it is"
    records = read_records(path)
    write_records(path, records)
    return f"{len(records)} records, shortened"


def _evaluation(folder: Path) -> str:
    """What an evaluation left in its folder."""
    run = read_run(folder)
    parts = {"judges": run.judges, "pictures": run.grid or run.latents, "a training log": run.log}
    there = [
        f"{len(run.records)} records",
        f"{len(run.checks)} checks",
        *(name for name, part in parts.items() if part),
    ]
    return f"an evaluation: {', '.join(there)}{_old(read_json(folder / RECORDS))}"


def _are_checks(item: object) -> bool:
    return isinstance(item, list) and any(isinstance(one, Mapping) and "finding" in one for one in item)


def _has_runs(item: object) -> bool:
    return isinstance(item, Mapping) and ("runs" in item or item.get("format") == FORMAT)


def _old(item: object) -> str:
    """What to add where a file of that JSON value has version 0.1.0's form."""
    is_old = isinstance(item, list) and not _are_checks(item)
    return "; of version 0.1.0's form: `twinlatent results convert` shortens it" if is_old else ""


def _inside(folder: Path, whole: bool) -> list[Path]:
    """Results below a folder: .json files, and evaluations' folders in place of theirs if these are taken `whole`."""
    kinds = ("*.json", ARRAYS) if whole else ("*.json",)
    files = sorted(path for kind in kinds for path in folder.rglob(kind) if not path.is_dir())
    shown = [path for path in files if not any(part.startswith(".") for part in path.relative_to(folder).parts)]
    return [path.parent if whole and path.name in RESULTS and _is_evaluation(path.parent) else path for path in shown]


def _is_evaluation(folder: Path) -> bool:
    return (folder / ARRAYS).exists() or ((folder / MODEL).exists() and (folder / RECORDS).exists())
