"""An ONNX graph while it is made: nodes and constants in order, each with a name."""

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

from torch import Tensor

from twinlatent.errors import TwinlatentError, extra

OPSET = 18
"""Version of the operators, 2022: ONNX Runtime knows them from 1.14 on, and PyTorch's own exporter begins there."""
IR_VERSION = 8
"""Version of the file's format, as old as these operators: readers refuse a newer one than they know."""
IMAGES = "images"
"""Name of the graph's only input, and of its first dimension what `BATCH` says."""
BATCH = "batch"

Value = str | Tensor
"""Name of what a node gives, or a constant."""
Info = tuple[str, Sequence[str | int]]
"""Name of an element type as ONNX has it, such as FLOAT, and a shape."""


def needed(library: str) -> Any:
    """An optional library.

    Raises:
        TwinlatentError: it is not installed.
    """
    try:
        return import_module(library)
    except ImportError as error:
        raise TwinlatentError(f"ONNX files of detectors need the library {library.partition('.')[0]}; install "
                              f"it: {extra('export')}") from error  # fmt: skip


class Graph:
    """Nodes in the order in which they compute, from the input `IMAGES` on.

    Attributes:
        opset: version of the operators; a classifier that was made for a newer one raises it.
    """

    def __init__(self) -> None:
        self._onnx, self.opset = needed("onnx"), OPSET
        self._nodes: list[Any] = []
        self._constants: list[Any] = []

    def add(self, operator: str, *inputs: Value, called: str = "", **attributes: Any) -> str:
        """Add a node.

        Args:
            operator: its name in the standard.
            *inputs: what it takes.
            called: name of what it gives; "" makes one.
            **attributes: of the operator.

        Returns:
            the name of its first output.
        """
        names = [value if isinstance(value, str) else self._constant(value) for value in inputs]
        output = called or f"{operator}_{len(self._nodes)}"
        self._nodes.append(self._onnx.helper.make_node(operator, names, [output], name=output, **attributes))
        return output

    def _constant(self, value: Tensor) -> str:
        name = f"constant_{len(self._constants)}"
        array = value.detach().cpu().contiguous().numpy()
        self._constants.append(self._onnx.numpy_helper.from_array(array, name))
        return name

    def include(self, model: Any, images: str, prefix: str) -> str:
        """Add all nodes of another model, a `ModelProto` of one input.

        Args:
            model: of this graph's opset, or a newer one; stays as it is.
            images: what it is given.
            prefix: before all its names.

        Returns:
            the name of its first output.
        """
        model = self._onnx.compose.add_prefix(model, prefix)
        self.opset = max(self.opset, *(one.version for one in model.opset_import if one.domain in ("", "ai.onnx")))
        held = {one.name for one in model.graph.initializer}
        (given,) = (one.name for one in model.graph.input if one.name not in held)
        self.add("Identity", images, called=given)
        self._constants += model.graph.initializer
        self._nodes += model.graph.node
        return str(model.graph.output[0].name)

    def model(self, shape: Sequence[int], outputs: Mapping[str, Info], metadata: Mapping[str, str]) -> Any:
        """All of it as a `ModelProto`.

        Args:
            shape: of one image.
            outputs: by name.
            metadata: kept in the file.
        """
        helper, kinds = self._onnx.helper, self._onnx.TensorProto
        given = [helper.make_tensor_value_info(IMAGES, kinds.FLOAT, [BATCH, *shape])]
        made = [helper.make_tensor_value_info(name, getattr(kinds, kind), sizes)
                for name, (kind, sizes) in outputs.items()]  # fmt: skip
        graph = helper.make_graph(self._nodes, "detector", given, made, self._constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=IR_VERSION,
                                  producer_name="twinlatent")  # fmt: skip
        helper.set_model_props(model, dict(metadata))
        return model
