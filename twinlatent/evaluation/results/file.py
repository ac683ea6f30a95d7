"""The form of a file of results: what a run has in common once, then one number a row.

A run is what one command measured of one detector; a row holds what differs from number to number, and those of
`SHARED` that differ from the run's. Files of version 0.1.0 are a flat list, each of whose records says everything.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

from twinlatent.errors import TwinlatentError
from twinlatent.files import write_text

FORMAT: Literal["twinlatent results 1"] = "twinlatent results 1"
SHARED = ("budget", "substitute", "reused", "seconds")
"""What most rows of a run have in common, but not all."""

Name = Annotated[str, Field(min_length=1)]
Seconds = Annotated[FiniteFloat, Field(ge=0)]
Flat = dict[str, Any]
"""Everything about one number, as `Record` has it."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Row(_Part):
    """One measured number; `Record` says what each field means and allows. What is None may be left out."""

    metric: Name
    attack: Name
    epsilon: FiniteFloat | None = None
    score: Name | None = None
    value: FiniteFloat
    low: FiniteFloat | None = None
    high: FiniteFloat | None = None
    n: int
    asked: FiniteFloat | None = None
    budget: Name | None = None
    substitute: Name | None = None
    reused: Name | None = None
    seconds: Seconds | None = None


class Run(_Part):
    """What one command measured of one detector.

    Attributes:
        detector: hex digest of what was measured; None where it was not kept.
        settings: of the whole evaluation, as JSON; None where they were not kept.
        rows: the numbers, in the order in which they were measured.

    The others are those of `Record`.
    """

    data: Name
    method: Name
    trained_with: Name
    seed: int
    command: str
    commit: str
    date: str
    machine: str
    versions: dict[str, str]
    detector: Annotated[str, Field(pattern="^[0-9a-f]{8,}$")] | None = None
    settings: dict[str, Any] | None = None
    budget: Name
    substitute: Name | None = None
    reused: Name | None = None
    seconds: Seconds
    rows: Annotated[tuple[Row, ...], Field(min_length=1)]


class ResultsFile(_Part):
    """A whole file."""

    format: Literal["twinlatent results 1"]
    runs: tuple[Run, ...]


OWN = tuple(name for name in Run.model_fields if name not in (*SHARED, "detector", "settings", "rows"))
"""What all rows of a run have in common."""


def packed(records: Iterable[Flat], *, detector: str | None = None, settings: Flat | None = None) -> ResultsFile:
    """Put what the records of a run have in common above them; neighbours that agree in all of `OWN` are a run.

    Args:
        records: with every field of `Record`.
        detector: hex digest of what was measured, if it is known.
        settings: of the evaluation, if they are known.
    """
    runs = []
    for _, group in groupby(records, key=lambda record: [record[name] for name in OWN]):
        rows = list(group)
        common = {name: Counter(row[name] for row in rows).most_common(1)[0][0] for name in SHARED}
        own = {name: rows[0][name] for name in OWN}
        runs.append(Run(**own, **common, detector=detector, settings=settings, rows=tuple(
            Row(**{name: row[name] for name in Row.model_fields
                   if (row[name] != common[name] if name in SHARED else row[name] is not None)})
            for row in rows
        )))  # fmt: skip
    return ResultsFile(format=FORMAT, runs=tuple(runs))


def unpacked(file: ResultsFile) -> Iterator[tuple[str, Flat]]:
    """Each number with everything about it, after its place in the file, such as `runs.0.rows.3`."""
    for i, run in enumerate(file.runs):
        own = {name: getattr(run, name) for name in (*OWN, *SHARED)}
        for j, row in enumerate(run.rows):
            said = {name: value for name, value in row if name not in SHARED or name in row.model_fields_set}
            yield f"runs.{i}.rows.{j}", own | said


def flat_rows(path: str | Path, item: object) -> Iterator[tuple[str, object]]:
    """Each number of the JSON value `item` of the file `path`, of this form or of version 0.1.0, after its place.

    Errors: pydantic's `ValidationError` on a field, `TwinlatentError` on what is neither.
    """
    if isinstance(item, list):
        return ((f"record {number}", record) for number, record in enumerate(item))
    if not isinstance(item, Mapping) or "runs" not in item:
        raise TwinlatentError(f"{path}: expected an object with format and runs, or a JSON list of records as version "
                              f"0.1.0 wrote it; found {type(item).__name__}")  # fmt: skip
    return unpacked(ResultsFile.model_validate(item))


def first_run(item: object) -> Run | None:
    """The first run of the JSON value `item`; None where it is of version 0.1.0, or holds none.

    Errors: pydantic's `ValidationError` on a field.
    """
    runs = ResultsFile.model_validate(item).runs if isinstance(item, Mapping) else ()
    return runs[0] if runs else None


def write_results(path: str | Path, file: ResultsFile) -> None:
    """Write `file` as JSON, one row a line, whole or not at all. The same file always gives the same bytes."""
    runs = ",\n".join(_run_text(run) for run in file.runs)
    write_text(path, f'{{\n  "format": {_json(file.format)},\n  "runs": [\n{runs}\n  ]\n}}\n')


def _run_text(run: Run) -> str:
    head = [f"      {_json(name)}: {_json(value)}" for name, value in run if name != "rows" and value is not None]
    rows = ",\n".join(f"        {_json(row.model_dump(exclude_unset=True))}" for row in run.rows)
    return "    {\n" + ",\n".join([*head, f'      "rows": [\n{rows}\n      ]']) + "\n    }"


def _json(value: object) -> str:
    return json.dumps(value, allow_nan=False)
