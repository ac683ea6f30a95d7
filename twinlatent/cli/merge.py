"""`twinlatent merge`: shards of an evaluation or an attack become the whole."""

from pathlib import Path
from typing import Annotated, Any

import typer

from twinlatent.cli.options import Progress
from twinlatent.errors import TwinlatentError

PATHS = ("folder", "shared", "path", "records")
"""Options that are paths."""


def merge(
    whole: Annotated[Path, typer.Argument(help="What the command without --shard would make: its --out or --save.")],
    shards: Annotated[list[Path], typer.Argument(help="Folders of all shards.")],
    progress: Progress = True,
) -> None:
    """Put the shards of an evaluation or an attack together; the result is as without shards.

    Shards that do not belong together are refused, and what is missing is said, before anything is written.
    """
    from twinlatent.claims import refuse_present
    from twinlatent.cli.attack import attack
    from twinlatent.cli.evaluate import evaluate
    from twinlatent.evaluation.results import merging
    from twinlatent.evaluation.results.folder import RESULTS, UNFINISHED
    from twinlatent.evaluation.white_box.to_file import unfinished_of
    from twinlatent.provenance import working_for

    first = merging.read_shard(shards[0])
    if first.command == "evaluate":
        refuse_present(whole, RESULTS, "an evaluation")
    elif whole.exists():
        raise TwinlatentError(f"{whole} is there already; remove it or give another")
    _check_model(first.asked)
    into = whole / UNFINISHED if first.command == "evaluate" else unfinished_of(whole)
    asked: dict[str, Any] = merging.merge(shards, into).asked
    asked |= {name: Path(asked[name]) for name in PATHS if asked.get(name) is not None}
    own: dict[str, Any] = {"workers": 1, "progress": progress}  # nothing is left to attack
    with working_for(first.origin):
        if first.command == "evaluate":
            evaluate(**{**asked, **own, "folder": whole})
        else:
            attack(**{**asked, **own, "path": whole})


def _check_model(asked: dict[str, Any]) -> None:
    """Refuse, before anything is copied, to merge where the detector that shards attacked is not found."""
    from twinlatent.cli.judged import is_own
    from twinlatent.cli.options import loaded

    if is_own(asked["model"]) or asked["rejecting"]:
        return
    try:
        loaded(asked["model"], None, None, None, asked["classifier"])
    except TwinlatentError as error:
        raise TwinlatentError(f"{error}; merge in the folder in which the shards were made") from error
