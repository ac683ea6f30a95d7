"""`twinlatent reproduce` and `motivation`: the paper's experiments."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import twinlatent as tl
from twinlatent.cells import CELLS, MOTIVATION_CELLS, MOTIVATION_DATA
from twinlatent.cli.options import Device, Few, Progress, Seed, resumable
from twinlatent.cli.workers import OnRay, Workers, WorkerThreads, workers_of
from twinlatent.errors import TwinlatentError

if TYPE_CHECKING:
    from twinlatent.motivation.settings import MotivationSettings

STEPS = 100
"""Of most attacks of the suite `standard`."""


def _place(name: str) -> tuple[int, int]:
    """Tables come first, then figures, then all, by their numbers."""
    kind = name.rstrip("0123456789")
    return ["table", "fig", "all"].index(kind), int(name.removeprefix(kind) or 0)


def reproduce(
    what: Annotated[str, typer.Argument(help=f"One of {', '.join(sorted([*MOTIVATION_CELLS, *CELLS], key=_place))}.")],
    folder: Annotated[Path, typer.Option("--out", help="Folder for trainings, evaluations and pages.")] = Path("paper"),
    preset: Annotated[
        str, typer.Option(help="standard (hours), or smoke (minutes; shows that all runs); table1 has paper, too.")
    ] = "standard",
    data: Annotated[list[str] | None, typer.Option(help="Data set; may be repeated; default: the paper's.")] = None,
    images: Annotated[
        int | None, typer.Option(help="Test images for the white box, or in each cell of table1.", min=1)
    ] = None,
    subset: Annotated[int | None, typer.Option(help="How many of these are attacked at other points.", min=1)] = None,
    few: Few = None,
    workers: Workers = None,
    ray: OnRay = None,
    threads: WorkerThreads = None,
    seed: Seed = 0,
    progress: Progress = True,
) -> None:
    """Train and evaluate what a table or figure of the paper is made of, ours and baselines.

    `all` leaves out table1 and fig2, which have no detector. After an interruption, run the same command to resume.
    """
    from twinlatent.report.console import print_comparison, print_motivation
    from twinlatent.reproduce import COMPARISON
    from twinlatent.reproduce import reproduce as reproduced
    from twinlatent.reproduce_motivation import reproduce_motivation

    runner = workers_of(workers, threads, "cpu", ray=ray)
    with resumable("what is finished is kept"):
        if what not in (*MOTIVATION_CELLS, *CELLS):
            raise TwinlatentError(f"{what!r} is unknown; choose from {', '.join([*MOTIVATION_CELLS, *CELLS])}")
        if what in MOTIVATION_CELLS:
            if (subset or few) is not None:
                raise TwinlatentError(f"--subset {subset or few}: {what} has one number of images; leave it out")
            cells = reproduce_motivation(what, folder, preset=preset, data=data or MOTIVATION_DATA, images=images,
                                         seed=seed, workers=runner, progress=progress)  # fmt: skip
            print_motivation([record for cell in cells for record in cell.records])
            print(f"Page with pictures: {folder / f'{what}.html'}")
            return
        found = reproduced(what, folder, preset=preset, data=data, images=images, subset=subset or few,
                           seed=seed, workers=runner, progress=progress)  # fmt: skip
    for name, runs in found.items():
        print_comparison(name, runs)
        print(f"Pages with pictures: {folder / name / COMPARISON} and evaluation/report.html of each detector")


def motivation(
    data: Annotated[str, typer.Option(help="Data set: mnist or fashion-mnist5 as in the paper, or another.")] = "mnist",
    attack_: Annotated[str, typer.Option("--attack", help="fgsm, pgd, mim or cw.")] = "cw",
    preset: Annotated[
        str, typer.Option(help="smoke (seconds), standard, or paper (all training images: days for mim and cw).")
    ] = "standard",
    folder: Annotated[Path, typer.Option("--out", help="Folder for the state and the results.")] = Path("motivation"),
    images: Annotated[
        int | None, typer.Option(help="Training images attacked in each iteration; default: the preset's.", min=1)
    ] = None,
    iterations: Annotated[int | None, typer.Option(help="Of Algorithm 2; default: the paper's.", min=1)] = None,
    change: Annotated[
        list[str] | None, typer.Option("--set", help="Change a setting, such as targets=any; may be repeated.")
    ] = None,
    shared: Annotated[Path | None, typer.Option(help="Folder of the attacked classifier, for several attacks.")] = None,
    device: Device = "cpu",
    workers: Workers = None,
    threads: WorkerThreads = None,
    seed: Seed = 0,
    progress: Progress = True,
) -> None:
    """Train a classifier on attacked images with their wrong labels alone (section 3 of the paper), with controls.

    After an interruption, run the same command to resume.
    """
    from twinlatent.motivation.settings import check_names
    from twinlatent.recipes import recipe_of
    from twinlatent.report.console import print_motivation
    from twinlatent.reproduce_motivation import PAGE, run_cell
    from twinlatent.settings import override

    check_names(attack_, preset)
    split = tl.data.load(data, seed=seed, progress=progress)
    settings = recipe_of(split, preset).motivation_settings(attack_, images=images,
                                   iterations=iterations, seed=seed)  # fmt: skip
    settings = override(settings, change or [])
    runner = workers_of(workers, threads, device, _worth(settings, len(split.train)))
    with resumable("what is finished is kept"):
        found = run_cell(split, settings, folder, shared=shared, device=device, workers=runner, progress=progress)
    print_motivation(found.records)
    print(f"Page with pictures: {folder / PAGE}")


def _worth(settings: "MotivationSettings", available: int) -> int:
    """As how many images of `attack` those of an iteration count, by the steps that they take."""
    return int((settings.images or available) * min(1.0, (settings.spent.steps or 1) / STEPS))
