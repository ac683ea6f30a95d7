"""One network as a torch module, built from the plan of its notation."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from twinlatent.method.plans import (
    Activation,
    BatchNorm,
    Conv,
    Deconv,
    Dense,
    Operation,
    Plan,
    Pool,
    Ramp,
    Reshape,
    Shape,
    plan,
)

LEAKY_SLOPE = 0.2
Weights = Literal["uniform", "narrow"]
"""First weights: uniform in ±1/√fan-in, as PyTorch has it for most layers; or N(0, √(2π)/fan-in) and no biases, with
which intervals of an image's neighbourhood stay narrow (Shi et al. 2021)."""


class PlainNetwork(nn.Module):
    """One network built from a plan. Shape (B, *input_shape) → (B, *output_shape); a classifier gives logits."""

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        self.plan = plan
        self.layers = nn.ModuleList(_module(operation) for operation in plan.operations)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layers in order."""
        for layer in self.layers:
            x = layer(x)
        return x

    def extra_repr(self) -> str:
        """The notation."""
        return str(self.plan.spec)

    def __repr__(self) -> str:
        return str(self.plan.spec)


class _SamePadConv(nn.Conv2d):
    def __init__(self, conv: Conv) -> None:
        before, after = conv.padding
        super().__init__(conv.inputs, conv.filters, conv.kernel, conv.stride, padding=before)
        self._padding = (before, after, before, after)

    def forward(self, x: Tensor) -> Tensor:
        if self._padding[0] == self._padding[1]:
            return super().forward(x)
        return F.conv2d(F.pad(x, self._padding), self.weight, self.bias, self.stride)


class _SameDeconv(nn.ConvTranspose2d):
    def __init__(self, deconv: Deconv) -> None:
        super().__init__(deconv.inputs, deconv.filters, deconv.kernel, deconv.stride)
        self._crop, self._stride = deconv.crop, deconv.stride

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:  # noqa: ARG002
        height, width = x.shape[-2] * self._stride, x.shape[-1] * self._stride
        return super().forward(x)[..., self._crop : self._crop + height, self._crop : self._crop + width]


class _Feature(nn.Module):
    """A pointwise function or a reshape as a module."""

    def __init__(self, operation: Activation | Reshape) -> None:
        super().__init__()
        self.operation = operation

    def forward(self, x: Tensor) -> Tensor:
        if isinstance(self.operation, Reshape):
            return x.reshape(x.shape[0], *self.operation.shape)
        return activate(x, self.operation)


def activate(x: Tensor, activation: Activation) -> Tensor:
    """Apply a pointwise function."""
    match activation.name:
        case "relu":
            return F.relu(x)
        case "leaky":
            return F.leaky_relu(x, LEAKY_SLOPE)
        case "sigmoid":
            return torch.sigmoid(x)


RAMPS = (0.4, 0.6)
"""Between these values the ramps of a layer begin, each with an equal share of the way."""


class _Ramp(nn.Module):
    """A `Ramp` of (B, channels, H, W)."""

    def __init__(self, ramp: Ramp) -> None:
        super().__init__()
        start, log_width = first_ramps(ramp.count)
        self.start, self.log_width = nn.Parameter(start), nn.Parameter(log_width)

    def forward(self, x: Tensor) -> Tensor:
        return apply_ramps(x, self.start[None], self.log_width[None])


def first_ramps(count: int) -> tuple[Tensor, Tensor]:
    """Starts and logarithms of the widths of so many new ramps, one after the other, each (count,)."""
    ends = torch.linspace(*RAMPS, count + 1)
    return ends[:-1], ends.diff().log()


class _StraightThrough(torch.autograd.Function):
    """Clamp to [0, 1], and backwards the identity."""

    @staticmethod
    def forward(_: Any, x: Tensor) -> Tensor:
        return x.clamp(0, 1)

    @staticmethod
    def backward(_: Any, grad: Tensor) -> Tensor:
        return grad


_straight = ContextVar("straight", default=False)


@contextmanager
def straight_through() -> Iterator[None]:
    """Within the block ramps pass gradients on where they are flat, too, as if they rose everywhere.

    What they compute stays what it is. A ramp tells an attack nothing of the way to its next slope; so guided, it finds
    the way (a straight-through estimator, Bengio et al. 2013; BPDA, Athalye et al. 2018).
    """
    token = _straight.set(True)
    try:
        yield
    finally:
        _straight.reset(token)


def apply_ramps(x: Tensor, start: Tensor, log_width: Tensor) -> Tensor:
    """Ramps of maps (B, C·channels, H, W), start and log_width being (C, n): (B, C·channels·n, H, W)."""
    classes, count = start.shape
    maps = x.unflatten(1, (classes, -1))[:, :, :, None]  # (B, C, channels, 1, H, W)
    first, width = (value.view(classes, 1, count, 1, 1) for value in (start, log_width.exp()))
    risen = (maps - first) / width
    ramps: Tensor = _StraightThrough.apply(risen) if _straight.get() else risen.clamp(0, 1)  # type: ignore[no-untyped-call]
    return ramps.flatten(1, 3)


class _BatchNorm(nn.BatchNorm2d):
    """Batch normalisation of (B, channels) and of (B, channels, H, W)."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x[..., None, None])[..., 0, 0] if x.ndim == 2 else super().forward(x)


def _module(operation: Operation) -> nn.Module:
    match operation:
        case Conv():
            return _SamePadConv(operation)
        case Deconv():
            return _SameDeconv(operation)
        case Dense():
            return nn.Linear(operation.inputs, operation.units)
        case Pool():
            return nn.MaxPool2d(operation.size)
        case BatchNorm():
            return _BatchNorm(operation.channels)
        case Ramp():
            return _Ramp(operation)
        case Activation() | Reshape():
            return _Feature(operation)


def build_classifier(text: str, input_shape: Shape) -> PlainNetwork:
    """A classifier such as `"c(2,20) mp(2) c(2,50) mp(2) d(500) sm(10)"` for images of `input_shape` (channels, H, W).

    >>> build_classifier("c(5,20) mp(2) d(50) sm(10)", (1, 28, 28))
    c(5,20) mp(2) d(50) sm(10)
    """
    return PlainNetwork(plan(text, input_shape, "classifier"))


def initialised(
    operation: Operation, value: Tensor, name: str, generator: torch.Generator | None, weights: Weights
) -> Tensor:
    """First values of a parameter; batch normalisation starts as the identity."""
    if isinstance(operation, BatchNorm):
        return value.fill_(1.0 if name == "weight" else 0.0)
    if isinstance(operation, Ramp):
        return value.copy_(first_ramps(operation.count)[name == "log_width"])
    assert isinstance(operation, Conv | Deconv | Dense)  # nothing else has parameters
    fan_in = operation.inputs * (1 if isinstance(operation, Dense) else operation.kernel**2)
    if weights == "narrow" and name == "bias":
        return value.zero_()
    if weights == "narrow":
        return value.normal_(0, math.sqrt(2 * math.pi) / fan_in, generator=generator)
    bound = 1 / math.sqrt(fan_in)
    return value.uniform_(-bound, bound, generator=generator)
