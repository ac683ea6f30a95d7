"""From a detector to its ONNX file: the graph is made, asked the same as the detector, and written."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from twinlatent.arguments import file_path, real
from twinlatent.errors import TwinlatentError, brief
from twinlatent.export.answers import answers
from twinlatent.export.graph import BATCH, IMAGES, Graph, Info, needed
from twinlatent.export.running import FORMAT, OnnxDetector
from twinlatent.export.thresholds import verdict
from twinlatent.files import replacing
from twinlatent.guards.onnx_file import ONNX
from twinlatent.method.calibrated import CalibratedDetector
from twinlatent.method.verdicts import Verdict
from twinlatent.torch_state import CPU, fresh_torch

CHECKED = 8
"""Images of noise that the file must answer as the detector does before it is written."""
TOLERANCE = 1e-3
"""By how much suspicion may differ there, as a share of its size and of its spread over calibration images."""


@dataclass(frozen=True)
class OnnxFile:
    """What was written.

    Attributes:
        path: of the file.
        opset: version of the operators in it.
        fprs: rates at which it flags, in the order of the columns of `adversarial`.
    """

    path: Path
    opset: int
    fprs: tuple[float, ...]


@fresh_torch()
@torch.no_grad()
def to_onnx(detector: CalibratedDetector, path: str | Path, fpr: float | Sequence[float] = 0.05) -> OnnxFile:
    """Write a detector as one ONNX graph with its calibration, class names and card; needs the extra `export`.

    The graph takes `images`, float32 (n, channels, H, W) in [0, 1], and gives `label`, int64 (n,), `suspicion`, float32
    (n,), `p_value`, float32 (n,), of the finest rate, and `adversarial`, bool (n, rates). It can refuse nothing: what
    has values outside of [0, 1], or NaN, is flagged with a p-value of 0. `OnnxDetector` runs it.

    Before the file is written ONNX Runtime must answer as the detector does.

    Args:
        detector: ours, a baseline, or a guarded classifier, which becomes part of the graph.
        path: of the file, which is overwritten; ends in `.onnx`.
        fpr: share of benign images that may be flagged, in (0, 1), or several.

    Raises:
        TwinlatentError: a rate twice, out of its range, or finer than the calibration can tell; a classifier that
            cannot be exported; another ending; or a library is not installed.
    """
    path, fprs = _path(path), _rates(detector, fpr)
    graph, detector = Graph(), detector.to(CPU)
    said = answers(graph, detector, IMAGES)
    graph.add("Identity", said.label, called="label")
    graph.add("Identity", said.suspicion, called="suspicion")
    p_value, adversarial = verdict(graph, detector.calibration, said, IMAGES, fprs)
    graph.add("Identity", p_value, called="p_value")
    graph.add("Identity", adversarial, called="adversarial")
    outputs: dict[str, Info] = {"label": ("INT64", [BATCH]), "suspicion": ("FLOAT", [BATCH]),
                                "p_value": ("FLOAT", [BATCH]), "adversarial": ("BOOL", [BATCH, len(fprs)])}  # fmt: skip
    written = _serialised(graph.model(detector.image_shape, outputs, _metadata(detector, fprs)), detector.method)
    _check(written, detector, fprs)
    with replacing(path) as temporary:
        temporary.write_bytes(written)
    return OnnxFile(path, graph.opset, fprs)


def _path(path: str | Path) -> Path:
    path = file_path("path", path)
    if path.suffix.lower() != ONNX:
        raise TwinlatentError(f"{path} does not end in {ONNX}; give a name that does, such as {path.stem}{ONNX}")
    if path.is_dir():
        raise TwinlatentError(f"{path} is a folder; name a file, such as {path / 'detector.onnx'}")
    return path


def _rates(detector: CalibratedDetector, given: float | Sequence[float]) -> tuple[float, ...]:
    listed = list(given) if isinstance(given, list | tuple) else [given]
    fprs = tuple(real("fpr", fpr) for fpr in listed)
    if not fprs:
        raise TwinlatentError("fpr names no rate; give at least one, such as 0.05")
    for number, fpr in enumerate(fprs):
        if fpr in fprs[:number]:
            raise TwinlatentError(f"fpr {fpr:g} is given twice; give each rate once")
        detector.calibration.check(fpr)
    return fprs


def _metadata(detector: CalibratedDetector, fprs: Sequence[float]) -> dict[str, str]:
    thresholds = "together" if detector.calibration.together else "each_class"
    texts = {"twinlatent": FORMAT, "method": detector.method, "network": detector.network,
             "label_rule": detector.label_rule, "score": detector.score, "thresholds": thresholds,
             "fingerprint": detector.fingerprint}  # fmt: skip
    held: dict[str, Any] = {"class_names": detector.class_names, "image_shape": detector.image_shape, "fpr": fprs,
                            "calibration_images": detector.calibration_images, "card": detector.card}  # fmt: skip
    return texts | {name: json.dumps(value) for name, value in held.items()}


def _serialised(model: Any, name: str) -> bytes:
    onnx = needed("onnx")
    try:
        onnx.checker.check_model(model, full_check=True)
        return bytes(model.SerializeToString())
    except Exception as error:  # protobuf and onnx have kinds of their own
        raise TwinlatentError(f"the graph of {name} is not valid ({brief(error)})") from error


def _check(written: bytes, detector: CalibratedDetector, fprs: Sequence[float]) -> None:
    """Refuse a graph that answers noise in another way than the detector does."""
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(CHECKED, *detector.image_shape, generator=generator)
    wanted, found = detector.detect(images, fprs[0]), OnnxDetector(written).detect(images, fprs[0])
    if not bool(_same(wanted, found, detector.calibration.pooled).all()):
        raise TwinlatentError(f"ONNX Runtime does not answer as {detector.method} does, so nothing was written; export "
                              "its classifier yourself and guard that file")  # fmt: skip


def _same(wanted: Verdict, found: Verdict, benign: Tensor) -> Tensor:
    spread = benign.std(correction=0).nan_to_num()
    allowed = TOLERANCE * (wanted.suspicion.abs() + spread)
    return (wanted.label == found.label) & ((wanted.suspicion - found.suspicion).abs() <= allowed)
