"""The log of a training, one JSON object a round, and whether it is that of a detector."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from twinlatent.errors import TwinlatentError


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
