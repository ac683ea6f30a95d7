"""`twinlatent detect`."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

import twinlatent as tl
from twinlatent.cli.classifier import Guards
from twinlatent.cli.options import Device, Threads, classifier_named, say_aside, set_threads
from twinlatent.errors import TwinlatentError
from twinlatent.terminal import show

if TYPE_CHECKING:
    from twinlatent.method.calibrated import CalibratedDetector

FILES_OF_IMAGES = (
    "PNG, JPEG and the like, folders of them, .npy, .npz (of an attack's file the worst images; FILE.npz:NAME for "
    "another array), or IDX as MNIST's."
)


def detect(
    model: Annotated[
        str,
        typer.Argument(help="Name in the zoo (or zoo:NAME), detector file, training folder, or .onnx file of export."),
    ],
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

    set_threads(threads)
    detector = _asked(model, classifier, device, fpr)
    names, images = read_images(files, detector.image_shape, background, say_aside)
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


def _asked(model: str, classifier: str | None, device: str, fpr: float) -> "CalibratedDetector | tl.OnnxDetector":
    """The detector, which can be asked at that rate."""
    from twinlatent.guards.onnx_file import ONNX
    from twinlatent.torch_state import check_device

    check_device(device)
    if not model.lower().endswith(ONNX) or Path(model).is_dir():
        detector = tl.load(model, classifier_named(classifier)).to(device)
        detector.calibration.check(fpr)
        return detector
    if classifier is not None:
        raise TwinlatentError(f"{model} has the classifier that it guards in it, if any; leave --classifier out")
    if device != "cpu":
        raise TwinlatentError(f"{model} is run by ONNX Runtime on the CPU; leave --device {device} out")
    exported = tl.OnnxDetector(model)
    exported.check(fpr)
    return exported
