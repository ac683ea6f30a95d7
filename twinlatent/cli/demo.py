"""`twinlatent demo`."""

from pathlib import Path
from typing import Annotated

import typer

from twinlatent.cli.options import Progress, Seed, set_threads


def demo(
    folder: Annotated[Path, typer.Option("--out", help="Folder for the results and the page.")] = Path("demo"),
    preset: Annotated[str, typer.Option(help="Settings of the training: smoke, standard or paper.")] = "standard",
    threads: Annotated[int, typer.Option(help="Threads of the CPU; the images are too small for more.", min=1)] = 1,
    seed: Seed = 0,
    progress: Progress = True,
) -> None:
    """Train, attack and judge a detector on the embedded digits, and write an HTML page."""
    from twinlatent.demo import run_demo
    from twinlatent.report.console import print_run

    set_threads(threads)
    run = run_demo(folder, preset=preset, seed=seed, progress=progress)
    print_run(run)
    print(f"Page with pictures: {folder / 'report.html'}")
