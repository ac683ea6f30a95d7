"""What may lie in a folder of results, whether a file of it is whole, and old ones in today's form."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from twinlatent.errors import TwinlatentError
from twinlatent.evaluation.results.file import FORMAT
from twinlatent.evaluation.results.folder import ARRAYS, MODEL, RECORDS, RESULTS
from twinlatent.evaluation.results.forms import FORMS
from twinlatent.evaluation.results.parts import read_checks
from twinlatent.evaluation.results.records import read_json, read_records, validated, write_records
from twinlatent.evaluation.results.report import read_run


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
    for mark, (name, form) in FORMS.items():
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
