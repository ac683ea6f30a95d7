"""What may lie in a folder of results, whether a file of it is whole, and old ones in today's form."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError

from twinlatent.errors import TwinlatentError
from twinlatent.evaluation.results import Check, complaint, read_json, read_records, write_records
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


def check_file(path: Path) -> str:
    """Read a file of results: records of either form, checks of an evaluation, or a benchmark.

    Returns:
        What it holds, such as `171 records`, for a reader.

    Errors: `TwinlatentError`, one line that names the file, the row and the field.
    """
    item = read_json(path)
    if isinstance(item, list) and item and all(isinstance(one, Mapping) and "finding" in one for one in item):
        for number, one in enumerate(item):
            _valid(path, f"check {number}: ", partial(Check.model_validate, one))
        return f"{len(item)} checks"
    if isinstance(item, Mapping) and "milliseconds" in item:
        _valid(path, "", partial(Benchmark.model_validate, item))
        return "a benchmark"
    records = read_records(path)
    if not records:
        raise TwinlatentError(f"{path}: holds no record")
    old = "; of version 0.1.0's form: `twinlatent results convert` shortens it" if isinstance(item, list) else ""
    return f"{len(records)} records{old}"


def result_files(paths: Sequence[Path]) -> list[Path]:
    """The files that are named, and all .json of the folders that are, whatever depth.

    Errors: `TwinlatentError` if there is none, or one is not there.
    """
    found = [file for path in paths for file in (sorted(path.rglob("*.json")) if path.is_dir() else [path])]
    if not found:
        raise TwinlatentError(f"{', '.join(map(str, paths))}: no .json file of results there")
    return found


def convert_file(path: Path) -> int:
    """Write a file of records anew in today's form, which loses nothing; return how many there are.

    A file that has it already is left as it is.

    Errors: `TwinlatentError` if it holds no records; it stays as it was.
    """
    records = read_records(path)
    if isinstance(read_json(path), list):
        write_records(path, records)
    return len(records)


def _valid(path: Path, place: str, read: Callable[[], object]) -> None:
    try:
        read()
    except ValidationError as error:
        raise TwinlatentError(f"{path}: {place}{complaint(error)}") from error
