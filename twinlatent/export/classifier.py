"""A user's classifier as nodes: one of ours layer by layer, a graph as it was read from its file, any other module by
PyTorch's own exporter."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from twinlatent.attacks.models import frozen
from twinlatent.errors import TwinlatentError, brief
from twinlatent.export.graph import BATCH, IMAGES, OPSET, Graph, needed
from twinlatent.export.layers import plain
from twinlatent.guards.classifier import AskedClassifier
from twinlatent.guards.guarded import Guarded
from twinlatent.guards.onnx_file import OnnxClassifier
from twinlatent.method.networks import PlainNetwork

PREFIX = "classifier/"
"""Before the names of all that is the classifier's."""


def classifier_logits(graph: Graph, guarded: Guarded, images: str) -> str:
    """The logits (n, C) of the classifier that is guarded.

    Raises:
        TwinlatentError: it cannot be exported; the line says why, as far as PyTorch or ONNX do.
    """
    asked = guarded.classifier
    if isinstance(asked.given, PlainNetwork):
        return plain(graph, asked.given, images)
    if isinstance(asked.given, OnnxClassifier):
        return graph.include(_of_file(asked.given), images, PREFIX)
    return graph.include(_of_module(asked, guarded.image_shape), images, PREFIX)


def _of_file(given: OnnxClassifier) -> Any:
    if given.one_image:
        raise TwinlatentError(f"{given.name}.onnx takes one image at a time, so no graph of many can be made of it; "
                              "export the classifier with a batch of any size")  # fmt: skip
    onnx, model = needed("onnx"), given.model()
    if model.opset_import[0].version >= OPSET:
        return model
    try:
        return onnx.version_converter.convert_version(model, OPSET)
    except Exception as error:  # onnx has kinds of its own
        raise TwinlatentError(f"{given.name}.onnx cannot be converted to opset {OPSET} ({brief(error)}); export the "
                              f"classifier with opset {OPSET}") from error  # fmt: skip


class _Answering(nn.Module):
    """The classifier in its own precision, from float32 to float32."""

    def __init__(self, asked: AskedClassifier) -> None:
        super().__init__()
        self.given = asked.given
        self._type = next((part.dtype for part in asked.held if part.is_floating_point()), torch.float32)

    def forward(self, images: Tensor) -> Tensor:
        answers: Tensor = self.given(images.to(self._type)).float()
        return answers


def _of_module(asked: AskedClassifier, shape: tuple[int, ...]) -> Any:
    needed("onnxscript")
    sizes: Any = ({0: torch.export.Dim(BATCH)},)
    example = torch.full((2, *shape), 0.5)
    try:
        with frozen(asked.given), _quiet():  # which leaves the module's mode as it was
            model = _Answering(asked).eval()
            made = torch.onnx.export(model, (example,), input_names=[IMAGES], output_names=["logits"], dynamo=True,
                                     opset_version=OPSET, dynamic_shapes=sizes, verbose=False)  # fmt: skip
    except Exception as error:  # of many kinds
        reason = brief(error.__cause__ or error)
        raise TwinlatentError(f"PyTorch cannot export {asked.name} ({reason}); export it to a file of opset {OPSET} or "
                              "newer yourself, and guard that") from error  # fmt: skip
    assert made is not None  # no file was named
    return needed("onnx.inliner").inline_local_functions(made.model_proto)


@contextmanager
def _quiet() -> Iterator[None]:
    """PyTorch's exporter warns of its own insides and of libraries that are missing on purpose."""
    logger = logging.getLogger("torch.onnx")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)
