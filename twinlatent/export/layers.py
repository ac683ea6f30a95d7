"""The layers of a plan as nodes: what `ClassNetworks` computes, with plain grouped convolutions.

Letters: n images, C networks, F features. Between layers maps are (n, C·channels, H, W) and features (C, n, F), as
there; what all networks see alike is (n, channels, H, W) or (n, F).
"""

import math
from typing import Any

import torch
from torch import Tensor

from twinlatent.export.graph import Graph
from twinlatent.method.class_vaes import ClassEncoders, ClassNetworks
from twinlatent.method.networks import LEAKY_SLOPE, PlainNetwork
from twinlatent.method.plans import (
    Activation,
    BatchNorm,
    Conv,
    Deconv,
    Dense,
    Operation,
    Pool,
    Ramp,
    Reshape,
    Shape,
)

ACTIVATIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "relu": ("Relu", {}),
    "leaky": ("LeakyRelu", {"alpha": LEAKY_SLOPE}),
    "sigmoid": ("Sigmoid", {}),
}
"""By our name: the operator, and its attributes."""


def latent_means(graph: Graph, encoders: ClassEncoders, images: str) -> tuple[str, str]:
    """μ_r and μ_v of all encoders, (C, n, Z_r) and (C, n, Z_v); their variances decide nothing and are left out."""
    trunk, r, v = encoders.trunk, encoders.robust_size, encoders.vulnerable_size
    x = images if trunk is None else Layers(graph, trunk).all(images)
    if trunk is not None and len(trunk.plan.output_shape) == 1:
        x = _alone(graph, x)
    both = Layers(graph, encoders.networks, r + v).all(x)
    return _part(graph, both, 0, r), _part(graph, both, r, r + v)


def plain(graph: Graph, network: PlainNetwork, images: str, layers: int | None = None) -> str:
    """What one network makes of images, (n, F), or its first `layers` operations: a negative number leaves out some."""
    networks = ClassNetworks(network.plan, 1).eval()
    state = {name.removeprefix("layers.").replace(".", "_", 1): value[None]
             for name, value in network.state_dict().items() if not name.endswith("num_batches_tracked")}  # fmt: skip
    networks.load_state_dict(state)
    return _alone(graph, Layers(graph, networks).all(images, layers))


def _alone(graph: Graph, features: str) -> str:
    """Of the only network: (1, n, F) → (n, F)."""
    return graph.add("Squeeze", features, torch.tensor([0]))


def _part(graph: Graph, x: str, first: int, end: int) -> str:
    """Some of the features."""
    return graph.add("Slice", x, torch.tensor([first]), torch.tensor([end]), torch.tensor([2]))


class Layers:
    """Walks through the operations of a plan.

    Args:
        graph: gets the nodes.
        networks: in evaluation mode.
        kept: features of the last dense layer that are needed, None for all.
    """

    def __init__(self, graph: Graph, networks: ClassNetworks, kept: int | None = None) -> None:
        self.graph, self.networks, self.kept = graph, networks, kept
        self.shape, self.alike = networks.plan.input_shape, True

    def all(self, x: str, count: int | None = None) -> str:
        """What all operations, or the first `count`, make of samples that all networks see."""
        for index, operation in enumerate(self.networks.plan.operations[:count]):
            x = self._applied(index, operation, x)
        return self._apart(x)

    def _applied(self, index: int, operation: Operation, x: str) -> str:
        if not isinstance(operation, Conv | Dense | Reshape):  # these know what to do with what is alike
            x = self._apart(x)
        match operation:
            case Conv():
                return self._conv(index, operation, x)
            case Deconv():
                return self._deconv(index, operation, x)
            case Dense():
                return self._dense(index, x)
            case Pool(size):
                self.shape = (self.shape[0], *(side // size for side in self.shape[1:]))
                return self.graph.add("MaxPool", x, kernel_shape=[size, size], strides=[size, size])
            case BatchNorm():
                return self._batch_norm(index, x)
            case Ramp(_, count):
                return self._ramp(index, count, x)
            case Reshape(shape):
                return self._reshaped(x, shape)
            case Activation(name):
                operator, attributes = ACTIVATIONS[name]
                return self.graph.add(operator, x, **attributes)

    def _apart(self, x: str) -> str:
        """A copy for each network of what all see alike."""
        if not self.alike:
            return x
        self.alike = False
        classes = self.networks.classes
        if len(self.shape) == 3:
            return x if classes == 1 else self.graph.add("Tile", x, torch.tensor([1, classes, 1, 1]))
        return self.graph.add("Expand", x, torch.tensor([classes, 1, 1]))

    def _conv(self, index: int, conv: Conv, x: str) -> str:
        weight, bias = (value.flatten(0, 1) for value in self.networks.weights(index))
        groups = 1 if self.alike else self.networks.classes
        self.alike = False
        before, after = conv.padding
        sides = ((side + before + after - conv.kernel) // conv.stride + 1 for side in self.shape[1:])
        self.shape = (conv.filters, *sides)
        return self.graph.add("Conv", x, weight, bias, group=groups, kernel_shape=2 * [conv.kernel],
                              strides=2 * [conv.stride], pads=[before, before, after, after])  # fmt: skip

    def _deconv(self, index: int, deconv: Deconv, x: str) -> str:
        weight, bias = (value.flatten(0, 1) for value in self.networks.weights(index))
        before, after = deconv.crop, deconv.kernel - deconv.stride - deconv.crop
        self.shape = (deconv.filters, *(side * deconv.stride for side in self.shape[1:]))
        return self.graph.add("ConvTranspose", x, weight, bias, group=self.networks.classes,
                              kernel_shape=2 * [deconv.kernel], strides=2 * [deconv.stride],
                              pads=[before, before, after, after])  # fmt: skip

    def _dense(self, index: int, x: str) -> str:
        weight, bias = self.networks.weights(index)
        last = index == len(self.networks.plan.operations) - 1
        if last and self.kept is not None:
            weight, bias = weight[:, : self.kept], bias[:, : self.kept]
        classes, units = bias.shape
        self.shape = (units,)
        if not self.alike:
            return self.graph.add("Add", self.graph.add("MatMul", x, weight.transpose(1, 2)), bias[:, None])
        self.alike = False
        flat = self.graph.add("Gemm", x, weight.flatten(0, 1).T, bias.flatten())
        return self._by_network(flat, classes, units)

    def _by_network(self, x: str, classes: int, features: int) -> str:
        """What stands side by side, of one image after the other, as (C, n, F)."""
        x = self.graph.add("Reshape", x, torch.tensor([0, classes, features]))
        return self.graph.add("Transpose", x, perm=[1, 0, 2])

    def _batch_norm(self, index: int, x: str) -> str:
        if self.networks.normalises_alike(index):
            return x  # part of the convolution
        scale, shift = (self._spread(value) for value in self.networks.scale_and_shift(index))
        return self.graph.add("Add", self.graph.add("Mul", x, scale), shift)

    def _spread(self, values: Tensor) -> Tensor:
        """Numbers (C, channels) in the form in which they meet samples."""
        return values[:, None] if len(self.shape) == 1 else values.reshape(1, -1, 1, 1)

    def _ramp(self, index: int, count: int, x: str) -> str:
        classes, (channels, height, width) = self.networks.classes, self.shape
        start, log_width = (self.networks.get_parameter(f"{index}_{name}") for name in ("start", "log_width"))
        first, wide = (value.view(classes, 1, count, 1, 1) for value in (start, log_width.exp()))
        x = self.graph.add("Reshape", x, torch.tensor([0, classes, channels, 1, height, width]))
        x = self.graph.add("Div", self.graph.add("Sub", x, first), wide)
        x = self.graph.add("Clip", x, torch.tensor(0.0), torch.tensor(1.0))
        self.shape = (channels * count, height, width)
        return self.graph.add("Reshape", x, torch.tensor([0, classes * channels * count, height, width]))

    def _reshaped(self, x: str, shape: Shape) -> str:
        was, self.shape = self.shape, shape
        classes = self.networks.classes
        if self.alike:
            return self.graph.add("Reshape", x, torch.tensor([0, *shape]))
        if len(shape) == 1:
            return self._by_network(x, classes, math.prod(was))
        x = self.graph.add("Transpose", x, perm=[1, 0, 2])
        return self.graph.add("Reshape", x, torch.tensor([0, classes * shape[0], *shape[1:]]))
