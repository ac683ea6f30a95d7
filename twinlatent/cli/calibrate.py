"""`twinlatent calibrate`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import twinlatent as tl
from twinlatent.cli.classifier import Guards
from twinlatent.cli.options import Background, Force, Model, Progress, Seed, Threads, loaded, say_aside, set_threads
from twinlatent.errors import TwinlatentError

if TYPE_CHECKING:
    from torch import Tensor


def calibrate(
    model: Model,
    images: Annotated[
        str,
        typer.Argument(
            help="folder:PATH or PATH of benign images, any folders below it, or of an array file; or the "
            "name of a data set, for its calibration part."
        ),
    ],
    path: Annotated[Path, typer.Option("--out", help="File for the detector with its new thresholds.")],
    fpr: Annotated[float, typer.Option(help="Finest share of benign images that may be flagged.")] = 0.05,
    invert: Annotated[bool, typer.Option(help="Invert the images first: MNIST is white on black.")] = False,
    background: Background = "white",
    classifier: Guards = None,
    force: Force = False,
    threads: Threads = None,
    seed: Seed = 0,
    progress: Progress = True,
) -> None:
    """Fix a detector's thresholds anew, on benign images of yours as they come to you; no labels are needed.

    The old thresholds and where they came from stay on its card. Keep other images of yours to judge it on.
    """
    set_threads(threads)
    _check_out(path, force)
    detector = loaded(model, None, None, classifier=classifier)
    name, given = _read(images, detector.image_shape, background, seed, progress)
    made = tl.calibrate(detector, 1 - given if invert else given, fpr=fpr, data=name, say=say_aside)
    made.save(path)
    before, now = made.card["calibrated"][-2:]
    flagged = now["flagged_before"]
    told = "" if flagged is None else f", whose thresholds flagged {flagged:.4f} of these where {fpr:g} was asked for"
    print(f"{path}: calibrated on {now['images']} images of {now['data']}, before on {before['images']} of "
          f"{before['data']}{told}")  # fmt: skip


def _check_out(path: Path, force: bool) -> None:
    if path.is_dir():
        raise TwinlatentError(f"--out {path} is a folder; name a file, such as {path / 'detector.safetensors'}")
    if path.exists() and not force:
        raise TwinlatentError(f"{path} is there already; give another --out, or --force to write over it")


def _read(images: str, shape: tuple[int, ...], background: str, seed: int, progress: bool) -> "tuple[str, Tensor]":
    """The images, and what the card calls them."""
    from twinlatent.data.files import read_images
    from twinlatent.data.known import FOLDER

    if images in tl.data.names() and not Path(images).exists():
        return images, tl.data.load(images, seed=seed, progress=progress).calibration.images
    path = Path(images.removeprefix(FOLDER)).expanduser()
    if not path.exists():
        raise TwinlatentError(f"{images!r} is no data set, folder or file; see `twinlatent data list`, or give "
                              f"{FOLDER}PATH")  # fmt: skip
    return f"{FOLDER}{path.name}" if path.is_dir() else path.name, read_images([path], shape, background, say_aside)[1]
