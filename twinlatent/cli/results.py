"""`twinlatent results`: check, convert."""

from pathlib import Path
from typing import Annotated

import typer

from twinlatent.failures import fail


def check(
    paths: Annotated[list[Path] | None, typer.Argument(help="Files, or folders of them; default: results.")] = None,
) -> None:
    """Check result files; say what is wrong with a damaged one, and exit with status 1."""
    from twinlatent.errors import TwinlatentError
    from twinlatent.evaluation.results.check import check_file, result_files

    files, damaged = result_files(paths or [Path("results")]), []
    for path in files:
        try:
            print(f"{path}: {check_file(path)}")
        except TwinlatentError as error:
            print(error)
            damaged.append(path)
    if damaged:
        fail(f"{len(damaged)} of {len(files)} files are damaged, such as {damaged[0]}")


def convert(
    paths: Annotated[list[Path], typer.Argument(help="Files of records, as version 0.1.0 wrote them.")],
) -> None:
    """Rewrite result files of version 0.1.0 in today's shorter format; no number is lost."""
    from twinlatent.evaluation.results.check import convert_file

    for path in paths:
        print(f"{path}: {convert_file(path)} records")
