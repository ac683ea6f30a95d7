"""Encoders of all classes on the same images, with a gradient through those alone that have a part in it.

What an attack raises hangs on few classes: the true one, the nearest wrong one, the target. So of the gradients of ten
classes about eight are zero, and need not be sent back through their networks.

Letters: C classes, B images, of which each class has a part in some; packed into G groups of one class and m images.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from twinlatent.method.class_vaes import ClassEncoders, ClassNetworks, Latents
from twinlatent.method.convolutions import by_fourier, channels_last, input_gradient
from twinlatent.method.networks import straight_through
from twinlatent.method.plans import Activation, BatchNorm, Conv, Dense, Operation, Pool, Ramp, Reshape
from twinlatent.torch_state import full_precision

MANY = 4
"""From so many classes on most have no part in a gradient."""
GROUP = 8
"""m: of fewer images the machine makes less, of more of them more are filling."""
NEGLIGIBLE = 1e-8
"""A class whose share of an image's gradient is less than this times the largest one's is below rounding."""


def encode(encoders: ClassEncoders, images: Tensor) -> Latents:
    """`encoders(images)`, bit for bit, whose gradient with respect to images is computed through few classes.

    It goes straight through ramps, see `straight_through`, since it is for attacks. Where second derivatives are asked
    for they raise PyTorch's error.

    Args:
        encoders: as they are used, in evaluation mode and frozen; others are computed as ever.
        images: (B, channels, H, W).
    """
    if not (images.requires_grad and torch.is_grad_enabled() and _suits(encoders)):
        with straight_through():
            latents: Latents = encoders(images)
        return latents
    return encoders.latents(_FewClasses.apply(images, encoders.networks))  # type: ignore[no-untyped-call]


def _suits(encoders: ClassEncoders) -> bool:
    networks = encoders.networks
    if encoders.trunk is not None or networks.classes < MANY or networks.training:
        return False
    some = next(networks.parameters())
    if some.device.type != "cpu" or any(parameter.requires_grad for parameter in networks.parameters()):
        return False
    return all(_goes_back(networks, index) for index in range(len(networks.plan.operations)))


def _goes_back(networks: ClassNetworks, index: int) -> bool:
    """Whether `_back` knows the operation."""
    match networks.plan.operations[index]:
        case Conv(kernel=kernel, stride=stride, padding=padding):
            return not by_fourier(kernel, stride, padding, (1, 1))
        case BatchNorm():
            return networks.normalises_alike(index)
        case Dense() | Pool() | Ramp() | Reshape() | Activation():
            return True
        case _:
            return False


class _FewClasses(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, images: Tensor, networks: ClassNetworks) -> Tensor:
        x, kept, shapes = networks.arranged(images), [], []
        for index, operation in enumerate(networks.plan.operations):
            before, x = x, networks.applied(index, x)
            if index:
                shapes.append(_sample(before, networks.classes))
            kept.append(x if _is_relu(operation) else before if _bends(operation) else None)
        ctx.networks, ctx.size = networks, images.shape
        ctx.shapes = [networks.plan.input_shape, *shapes]
        ctx.save_for_backward(*kept)
        return networks.by_class(x)

    @staticmethod
    @once_differentiable
    @full_precision()  # a caller may be elsewhere by then
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        whole = grad.new_zeros(ctx.size)
        packed = _Packed.of(grad)
        if not len(packed.classes):
            return whole, None
        networks: ClassNetworks = ctx.networks.picked(packed.classes)
        g = torch.where(packed.real[..., None], grad[packed.classes[:, None], packed.rows], 0)
        if len(networks.plan.output_shape) == 3:
            g = networks.reshaped(g.flatten(2), networks.plan.output_shape)
        for index in reversed(range(len(ctx.shapes))):
            kept = ctx.saved_tensors[index]
            g = _back(networks, index, g, None if kept is None else packed.picked(kept, ctx.networks.classes),
                      ctx.shapes[index])  # fmt: skip
        own = g.unflatten(1, (networks.classes, -1)).transpose(0, 1)  # (G, m, channels, H, W)
        return whole.index_add_(0, packed.rows[packed.real], own[packed.real]), None  # in the order of the classes


def _is_relu(operation: Operation) -> bool:
    return isinstance(operation, Activation) and operation.name == "relu"


def _bends(operation: Operation) -> bool:
    """Whether its gradient hangs on what it was given."""
    return isinstance(operation, Pool | Ramp | Activation)


def _sample(x: Tensor, classes: int) -> tuple[int, ...]:
    """Shape of one sample of one class, of arranged ones."""
    return (x.shape[1] // classes, *x.shape[2:]) if x.ndim == 4 else tuple(x.shape[2:])


def _back(networks: ClassNetworks, index: int, g: Tensor, kept: Tensor | None, shape: tuple[int, ...]) -> Tensor:
    """The gradient before operation `index` from that after it, both arranged."""
    operation = networks.plan.operations[index]
    match operation:
        case Conv(stride=stride, padding=padding):
            weight = channels_last(networks.weights(index)[0].flatten(0, 1))
            return input_gradient(channels_last(g), weight, stride, padding, networks.classes, shape[1:])
        case Dense():
            return g @ networks.weights(index)[0]
        case Reshape():
            return networks.reshaped(g, shape)
        case BatchNorm():  # done by the convolution before it
            return g
    assert kept is not None
    if _is_relu(operation):
        through: Tensor = torch.ops.aten.threshold_backward(g, kept, 0)
        return through
    with torch.enable_grad(), straight_through():
        x = kept.requires_grad_()
        (found,) = torch.autograd.grad(networks.applied(index, x), x, g)
    return found


@dataclass(frozen=True)
class _Packed:
    """Which images go back through which class, in groups of `GROUP`.

    Attributes:
        classes: int64 (G,), the class of each group, ascending.
        rows: int64 (G, m), images.
        real: bool (G, m), which of these are no filling.
    """

    classes: Tensor
    rows: Tensor
    real: Tensor

    @classmethod
    def of(cls, grad: Tensor) -> "_Packed":
        """Of a gradient (C, B, outputs)."""
        size = grad.abs().amax(-1)
        asked = ~(size <= NEGLIGIBLE * size.amax(0))  # true of NaN, too
        classes, images = asked.nonzero(as_tuple=True)
        counts = asked.sum(1)
        groups = (counts + GROUP - 1) // GROUP
        first = GROUP * (groups.cumsum(0) - groups) - (counts.cumsum(0) - counts)  # by so much a class's pairs move on
        places = torch.arange(len(classes)) + first[classes]
        total = int(groups.sum())
        rows = torch.zeros(total * GROUP, dtype=torch.int64).index_copy_(0, places, images)
        real = torch.zeros(total * GROUP, dtype=torch.bool).index_fill_(0, places, True)
        return cls(torch.arange(len(grad)).repeat_interleave(groups), rows.view(-1, GROUP), real.view(-1, GROUP))

    def picked(self, x: Tensor, classes: int) -> Tensor:
        """Arranged samples of all classes and images → those of the groups, arranged likewise."""
        if x.ndim == 3:
            return x[self.classes[:, None], self.rows]
        (height, width), channels = x.shape[2:], x.shape[1] // classes
        pixels = torch.arange(height * width)[:, None]
        places = (self.rows.T[:, None] * height * width + pixels) * classes + self.classes  # (m, H·W, G)
        found = x.permute(0, 2, 3, 1).reshape(-1, channels).index_select(0, places.flatten())
        return found.view(GROUP, height, width, -1).permute(0, 3, 1, 2)  # in channels-last memory
