"""`twinlatent export`."""

from pathlib import Path
from typing import Annotated

import typer

import twinlatent as tl
from twinlatent.cli.classifier import Guards
from twinlatent.cli.options import Force, LabelRule, Model, Score, Thresholds, loaded
from twinlatent.errors import TwinlatentError


def export(
    model: Model,
    onnx: Annotated[Path, typer.Option(help="File to write, such as detector.onnx.")],
    fpr: Annotated[
        list[float] | None,
        typer.Option(help="Share of benign images that may be flagged; may be repeated. Default: 0.05."),
    ] = None,
    classifier: Guards = None,
    label_rule: LabelRule = None,
    score: Score = None,
    thresholds: Thresholds = None,
    force: Force = False,
) -> None:
    """Write a detector as one ONNX file, thresholds and all: images in, label, suspicion, p-value and verdict out."""
    if onnx.is_file() and not force:
        raise TwinlatentError(f"{onnx} is there already; give another --onnx, or --force to write over it")
    detector = loaded(model, label_rule, score, thresholds, classifier)
    made = tl.to_onnx(detector, onnx, fpr or [0.05])
    rates, shape = ", ".join(f"{one:g}" for one in made.fprs), ", ".join(map(str, detector.image_shape))
    print(f"{onnx}: ONNX opset {made.opset}, {onnx.stat().st_size / 1e6:.1f} MB; images (n, {shape}) in [0, 1] -> "
          f"label, suspicion, p_value, adversarial (false-positive rate {rates})")  # fmt: skip
