"""The folder of an evaluation: the files in it, whose unfinished work it keeps, and the log of a training."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from twinlatent.claims import claimed, clear, holds_work, refuse_present
from twinlatent.code_digest import code_identity
from twinlatent.errors import TwinlatentError, differing, listed
from twinlatent.evaluation.results.records import read_json
from twinlatent.files import write_json

RECORDS, MODEL, ARRAYS, LOG = "results.json", "model.json", "evaluation.npz", "training-log.jsonl"
CHECKS, JUDGES, PICTURES = "checks.json", "judges.json", "pictures.npz"
PAGE = "report.html"
RESULTS = (RECORDS, MODEL, ARRAYS, CHECKS, JUDGES, PICTURES, LOG, PAGE)
"""All that an evaluation leaves in its folder."""
UNFINISHED, WHOSE = "unfinished", "evaluation.json"
"""Folder that keeps what is done until all is, and its file that says whose that is."""
ANEW = "or begin anew (evaluate --force, overwrite=True)"


@contextmanager
def evaluation_folder(
    folder: Path, identity: Mapping[str, Any], *, overwrite: bool = False, keep: bool = False
) -> Iterator[None]:
    """Own the folder of an evaluation while the block runs, and remove the unfinished work when it succeeds.

    Args:
        folder: gets the results; what is done by then is in `UNFINISHED` below.
        identity: JSON-able; unfinished work with the same one, by the same code, is resumed.
        overwrite: begin anew where it holds another evaluation; without, that is refused.
        keep: whether the unfinished work stays all the same.

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
                raise TwinlatentError(f"{folder} holds unfinished work of another evaluation (other "
                                      f"{listed(differing(before, now))}); give another folder, {ANEW}")  # fmt: skip
            else:
                if any((folder / name).exists() for name in RESULTS):
                    clear(unfinished)  # of the evaluation that is there, which was killed while it did this itself
                refuse_present(folder, RESULTS, "an evaluation", f"give another folder, {ANEW}")
            write_json(unfinished / WHOSE, now)
        try:
            yield
        except BaseException:
            if not holds_work(unfinished):
                clear(unfinished)
            raise
        if not keep:
            (unfinished / WHOSE).unlink(missing_ok=True)  # first: else, killed half-way, it does much again
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


# --- the log of a training, one JSON object a round, and whether it is that of a detector ---


def read_log(path: Path) -> tuple[Mapping[str, Any], ...]:
    """Read a training log, one mapping a round; empty if there is no such file.

    Errors: `TwinlatentError` naming the file, and the line that is no JSON object.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise TwinlatentError(f"{path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise TwinlatentError(f"{path}: not UTF-8 text") from error
    rounds = []
    for number, line in enumerate(lines, start=1):
        try:
            rounds.append(json.loads(line, parse_constant=_refused))
        except (ValueError, RecursionError) as error:
            raise TwinlatentError(f"{path}: line {number} is not JSON: {error}") from error
        if not isinstance(rounds[-1], dict):
            raise TwinlatentError(f"{path}: line {number} is not a JSON object")
    return tuple(rounds)


def log_of(path: Path, card: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
    """The log of the training that a detector's card tells of; empty if there is no such file.

    Errors: `TwinlatentError` naming the file where it is damaged, or has not a line for each of the card's rounds.
    """
    log, rounds = read_log(path), card.get("rounds")
    if log and rounds is not None and len(log) != rounds:
        raise TwinlatentError(f"{path}: {len(log)} lines, and the detector was trained for {rounds} rounds; "
                              "move this file away")  # fmt: skip
    return log


def _refused(constant: str) -> None:
    raise ValueError(f"{constant} is not finite")
