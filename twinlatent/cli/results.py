"""`twinlatent results`: check, convert."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from twinlatent.errors import TwinlatentError, listed, one_line
from twinlatent.failures import fail, line_of


def check(
    paths: Annotated[list[Path] | None, typer.Argument(help="Files, or folders of them; default: results.")] = None,
) -> None:
    """Check result files and evaluation folders; say what is wrong with a damaged one, and exit with status 1."""
    from twinlatent.evaluation.results.check import check_file, result_files

    _each(result_files(paths or [Path("results")], whole=True), check_file, "damaged")


def convert(
    paths: Annotated[list[Path], typer.Argument(help="Files, or folders of them; only records of 0.1.0 are changed.")],
) -> None:
    """Rewrite result files of version 0.1.0 in today's shorter format; no number is lost."""
    from twinlatent.evaluation.results.check import convert_file, result_files

    _each(result_files(paths), convert_file, "not converted")


def _each(files: list[Path], read: Callable[[Path], str | None], failed: str) -> None:
    """Print what `read` says of each file, None if it is no result; if one failed, go on and exit with 1 in the end."""
    bad, good = [], 0
    for path in files:
        try:
            said = read(path)
        except (TwinlatentError, OSError) as error:
            print(line_of(error))
            bad.append(str(path))
            continue
        print(one_line(f"{path}: {said or 'no result, left out'}"))
        good += said is not None
    if bad:
        fail(f"{len(bad)} of {good + len(bad)} {'is' if len(bad) == 1 else 'are'} {failed}: {listed(bad)}")
    if not good:
        fail(f"no result among {listed([str(path) for path in files])}")
