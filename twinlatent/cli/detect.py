"""`twinlatent detect`."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

import twinlatent as tl
from twinlatent.cli.classifier import Guards
from twinlatent.cli.options import Device, Model, Threads, classifier_named, set_threads
from twinlatent.terminal import show

FILES_OF_IMAGES = (
    "PNG, JPEG and the like, folders of them, .npy, .npz (of an attack's file the worst images; FILE.npz:NAME for "
    "another array), or IDX as MNIST's."
)


def detect(
    model: Model,
    files: Annotated[list[Path], typer.Argument(help=FILES_OF_IMAGES)],
    fpr: Annotated[float, typer.Option(help="Share of benign images that may be flagged.")] = 0.05,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line and image.")] = False,
    invert: Annotated[bool, typer.Option(help="Invert the images first: MNIST is white on black.")] = False,
    classifier: Guards = None,
    background: Annotated[str, typer.Option(help="Colour behind transparent parts, a name or #rrggbb.")] = "white",
    device: Device = "cpu",
    threads: Threads = None,
) -> None:
    """Classify images and say which are adversarial."""
    from twinlatent.data.files import read_images
    from twinlatent.torch_state import check_device

    set_threads(threads)
    check_device(device)
    detector = tl.load(model, classifier_named(classifier)).to(device)
    detector.calibration.check(fpr)
    names, images = read_images(files, detector.image_shape, background)
    verdict = detector.detect(1 - images if invert else images, fpr)
    rows = [
        {"image": name, "label": detector.class_names[verdict.label[i]], "adversarial": bool(verdict.adversarial[i]),
         "p_value": round(verdict.p_value[i].item(), 6), "suspicion": round(verdict.suspicion[i].item(), 6)}
        for i, name in enumerate(names)
    ]  # fmt: skip
    if as_json:
        for row in rows:
            print(json.dumps(row))
        return
    table = Table("image", "label", "verdict", "p-value", "suspicion")
    for row in rows:
        said = Text("adversarial", "bold") if row["adversarial"] else Text("benign")
        table.add_row(str(row["image"]), str(row["label"]), said, f"{row['p_value']:.4f}",
                      f"{row['suspicion']:.2f}")  # fmt: skip
    show(table)
