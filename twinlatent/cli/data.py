"""`twinlatent data`: list, fetch, prepare, show."""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

import twinlatent as tl
from twinlatent.cli.options import Background, Channels, Progress, Seed, Size, resumable, say_aside
from twinlatent.errors import TwinlatentError
from twinlatent.terminal import show as show_table


def data_list() -> None:
    """List the data sets and where their files are."""
    table = Table("name", "what", "where")
    for name in tl.data.names():
        table.add_row(name, tl.data.describe(name), tl.data.where(name))
    table.add_row("folder:PATH", "your own images, a folder a class", "")
    show_table(table)


def fetch(name: Annotated[str, typer.Argument(help="Data set, see `data list`.")], progress: Progress = True) -> None:
    """Download a data set into the cache, checked, unless it is there."""
    for path in tl.data.fetch(name, progress=progress):
        print(path)


def prepare(
    name: Annotated[str, typer.Argument(help="cats-dogs, or a new name for photographs of yours.")],
    photos: Annotated[Path, typer.Option(help="Folder of the photographs; without --boxes, of a folder a class.")],
    boxes: Annotated[
        Path | None,
        typer.Option(
            help="Where to cut: .csv (file, crop_x, crop_y, crop_side, label) or folder of Pascal VOC .xml, as "
            "Oxford-IIIT Pet has; default: the largest centred square."
        ),
    ] = None,
    size: Annotated[int | None, typer.Option(help="Pixels a side; default: 64.")] = None,
    channels: Annotated[int, typer.Option(help="1 for grey images, 3 to keep colours.")] = 1,
    background: Annotated[str, typer.Option(help="Colour behind transparent parts, a name or #rrggbb.")] = "white",
    folder: Annotated[
        Path | None, typer.Option("--out", help="Data folder, for TWINLATENT_DATA; default: the user's cache.")
    ] = None,
    progress: Progress = True,
) -> None:
    """Make a data set of photographs: squares, grey or in colour, checked, without duplicates.

    After an interruption, run the same command to resume.
    """
    with resumable(""):
        made = tl.data.prepare(name, photos, boxes=boxes, size=size, channels=channels, background=background,
                               folder=folder, progress=progress, say=say_aside)  # fmt: skip
    counts = ", ".join(f"{count} {class_name}" for class_name, count in made.counts.items())
    print(f"{made.path}: {sum(made.counts.values())} images of shape {(made.channels, made.size, made.size)}: {counts}")


def show(
    name: Annotated[str, typer.Argument(help="Data set, or folder:PATH.")],
    path: Annotated[Path, typer.Option("--out", help="PNG file of the contact sheet.")] = Path("contact-sheet.png"),
    size: Size = None,
    channels: Channels = None,
    background: Background = "white",
    seed: Seed = 0,
    progress: Progress = True,
) -> None:
    """Write a contact sheet of the training images and print the sizes of the parts."""
    from twinlatent.report.contact_sheet import contact_sheet

    if path.is_dir():
        raise TwinlatentError(f"{path} is a folder; name a PNG file, such as {path / 'contact-sheet.png'}")
    split = tl.data.load(name, seed=seed, size=size, channels=channels, background=background, progress=progress)
    contact_sheet(split.train, split.class_names, path, rows_per_class=2)
    parts = ", ".join(f"{len(images)} {part}" for part, images in split.parts.items())
    print(f"{path}: {parts} images of shape {split.image_shape}, {split.classes} classes")
