"""A classifier from an ONNX file, as a module that gradients go through; the library `onnx` only reads the file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from twinlatent.arguments import file_path
from twinlatent.errors import TwinlatentError, brief, extra, listed
from twinlatent.guards.onnx_operators import OPERATORS

ONNX = ".onnx"
"""How the names of its files end."""
INSTEAD = (
    "give the classifier in PyTorch, or answer by ONNX Runtime with the gradient of a surrogate: attacks.bpda, see "
    "docs/guarding_a_classifier.md"
)


@dataclass(frozen=True)
class Node:
    """One operator of a graph.

    Attributes:
        operator: its name, see `OPERATORS`.
        inputs: names of values, "" where one is left out.
        output: name of its first output.
        attributes: by name.
    """

    operator: str
    inputs: tuple[str, ...]
    output: str
    attributes: Mapping[str, Any]


class OnnxClassifier(nn.Module):
    """The first output of an ONNX graph, computed by torch; made by `from_onnx`.

    Attributes:
        name: of the file, without its ending.
        one_image: whether the graph takes one image at a time.
    """

    def __init__(
        self, name: str, nodes: Sequence[Node], weights: Mapping[str, Tensor], images: str, output: str, one: bool
    ) -> None:
        super().__init__()
        self.name, self._nodes, self._images, self._output, self.one_image = name, tuple(nodes), images, output, one
        self._numbers = {weight: number for number, weight in enumerate(weights)}
        self.weights = nn.ParameterList([nn.Parameter(value, requires_grad=False) for value in weights.values()])

    def forward(self, images: Tensor) -> Tensor:
        """Images (n, channels, H, W) → the graph's answers (n, C); a graph of one image is run image by image."""
        if not self.one_image:
            return self._run(images)
        answers: Tensor = torch.vmap(lambda image: self._run(image[None])[0])(images)
        return answers

    def model(self) -> Any:
        """The graph again as an `onnx.ModelProto`, with what it is asked for alone: images, and logits."""
        from onnx import TensorProto, helper, numpy_helper

        weights = [numpy_helper.from_array(self.weights[number].detach().cpu().numpy(), name)
                   for name, number in self._numbers.items()]  # fmt: skip
        nodes = []
        for node in self._nodes:
            given = {name: numpy_helper.from_array(value.numpy()) if isinstance(value, Tensor) else value
                     for name, value in node.attributes.items() if name != "opset"}  # fmt: skip
            nodes.append(helper.make_node(node.operator, list(node.inputs), [node.output], **given))
        opset = max((node.attributes["opset"] for node in self._nodes), default=1)
        ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in (self._images, self._output)]
        graph = helper.make_graph(nodes, self.name, ends[:1], ends[1:], weights)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])

    def _run(self, images: Tensor) -> Tensor:
        values: dict[str, Any] = {"": None, self._images: images}
        values |= {name: self.weights[number] for name, number in self._numbers.items()}
        for node in self._nodes:
            values[node.output] = OPERATORS[node.operator]([values[name] for name in node.inputs], node.attributes)
        answers: Tensor = values[self._output]
        return answers


def from_onnx(path: str | Path) -> OnnxClassifier:
    """Read a classifier from an ONNX file (https://onnx.ai) as a module with gradients; needs the extra `onnx`.

    The module answers with the graph's first output. A softmax at its end is left out, since attacks need logits. A
    graph made for one image at a time takes any number. Images are what the graph wants them to be: where those
    are normalised ones, wrap it in `Normalised`.

    Args:
        path: of the file, with all weights in it or beside it.

    Raises:
        TwinlatentError: no such file, or none of ONNX; it has operators that are not known here, more than one input,
            or a fixed number of images other than one; or `onnx` is not installed.
    """
    path = file_path("path", path)
    if not path.is_file():
        raise TwinlatentError(f"{path} is no file; give the path of an {ONNX} file")
    try:
        import onnx
    except ImportError as error:
        raise TwinlatentError(f"{path} needs the library onnx; install it: {extra('onnx')}") from error
    try:
        model = onnx.load(str(path))
        graph, domains = model.graph, {one.domain: one.version for one in model.opset_import}
        weights = {one.name: torch.from_numpy(onnx.numpy_helper.to_array(one).copy()) for one in graph.initializer}
    except Exception as error:  # protobuf, numpy and onnx have kinds of their own
        raise TwinlatentError(f"{path} is no ONNX file, or a part of it is missing ({brief(error)})") from error
    nodes = [_node(node, domains.get("", 1)) for node in graph.node]
    _check_operators(path, graph.node)
    images, batch = _input(path, [given for given in graph.input if given.name not in weights])
    output = graph.output[0].name
    last = next((node for node in nodes if node.output == output), None)
    if last is not None and last.operator == "Softmax":
        nodes.remove(last)
        output = last.inputs[0]
    return OnnxClassifier(path.stem, nodes, weights, images, output, batch == 1)


def _node(node: Any, opset: int) -> Node:
    from onnx import TensorProto, helper, numpy_helper

    attributes = {one.name: helper.get_attribute_value(one) for one in node.attribute}
    attributes = {name: torch.from_numpy(numpy_helper.to_array(value).copy()) if isinstance(value, TensorProto)
                  else value for name, value in attributes.items()}  # fmt: skip
    return Node(node.op_type, tuple(node.input), node.output[0], {**attributes, "opset": opset})


def _check_operators(path: Path, nodes: Sequence[Any]) -> None:
    read = {name for node in nodes for name in node.input}
    unknown = {node.op_type for node in nodes if node.op_type not in OPERATORS or node.domain not in ("", "ai.onnx")}
    unknown |= {f"{node.op_type} with {len(node.output)} outputs" for node in nodes
                if read.intersection(node.output[1:]) and node.op_type not in unknown}  # fmt: skip
    if unknown:
        raise TwinlatentError(f"{path} has operators that are not read here ({listed(sorted(unknown))}); {INSTEAD}")


def _input(path: Path, inputs: Sequence[Any]) -> tuple[str, int]:
    """Name of the graph's only input, and how many images it takes, 0 for any number."""
    if len(inputs) != 1:
        names = listed([one.name for one in inputs]) or "none"
        raise TwinlatentError(f"{path} has {len(inputs)} inputs ({names}); give a classifier of images alone")
    shape = [dimension.dim_value for dimension in inputs[0].type.tensor_type.shape.dim]
    if len(shape) != 4 or shape[0] > 1:
        raise TwinlatentError(f"{path} takes an input of shape {tuple(shape)}; export it for images (n, channels, "
                              "height, width) with n free, or 1")  # fmt: skip
    return inputs[0].name, shape[0]
