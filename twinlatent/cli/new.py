"""`twinlatent new`: files to start from."""

from pathlib import Path
from typing import Annotated

import typer

from twinlatent.errors import TwinlatentError
from twinlatent.loading import SUFFIX

TEMPLATES = Path(__file__).parent / "templates"


def new_detector(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="To write.")] = Path("my_detectors.py"),
) -> None:
    """Write a detector of your own to start from, with comments, and say how to judge it."""
    if path.suffix != SUFFIX:
        raise TwinlatentError(f"{path}: give a name that ends in {SUFFIX}, such as my_detectors.py")
    text = (TEMPLATES / "detector.py.txt").read_text(encoding="utf-8").replace("{FILE}", path.as_posix())
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        raise TwinlatentError(f"{path} is there already; name another file") from error
    command = next(line.strip() for line in text.splitlines() if line.strip().startswith("twinlatent "))
    print(f"{path} is a detector to change; judge it as it stands: {command}")
