"""What the operators of an ONNX graph compute, in torch, so that gradients go through: those of image classifiers.

The reference is the ONNX operators' specification; convolutions and pools are two-dimensional. Each function takes the
node's inputs and its attributes, `opset` among them, which is the version of the specification.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from twinlatent.errors import TwinlatentError

Attributes = Mapping[str, Any]
Operator = Callable[[Sequence[Any], Attributes], Tensor]
"""Inputs, None where one is left out, and attributes → the first output."""
AXIS_ALONE = 13
"""Opset from which (log-)softmax is along its axis alone, before: over that and all later ones."""
CAST_TO = {1: torch.float32, 6: torch.int32, 7: torch.int64, 9: torch.bool, 10: torch.float16, 11: torch.float64}
"""ONNX's numbers of element types."""


def _padding(x: Tensor, a: Attributes, kernel: Sequence[int]) -> tuple[int, ...]:
    """Rows and columns to add: before them (top, left), then after (bottom, right)."""
    automatic = _text(a.get("auto_pad", "NOTSET"))
    if automatic in ("NOTSET", "VALID"):
        return tuple(a.get("pads", (0, 0, 0, 0))) if automatic == "NOTSET" else (0, 0, 0, 0)
    strides, dilations = a.get("strides", (1, 1)), a.get("dilations", (1, 1))
    before, after = [], []
    for size, k, stride, dilation in zip(x.shape[2:], kernel, strides, dilations, strict=True):
        total = max((math.ceil(size / stride) - 1) * stride + (k - 1) * dilation + 1 - size, 0)
        less, more = total // 2, total - total // 2
        before.append(less if automatic == "SAME_UPPER" else more)
        after.append(more if automatic == "SAME_UPPER" else less)
    return (*before, *after)


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _padded(x: Tensor, padding: Sequence[int], value: float = 0.0) -> Tensor:
    top, left, bottom, right = padding
    return F.pad(x, (left, right, top, bottom), value=value) if any(padding) else x


def _convolution(inputs: Sequence[Any], a: Attributes) -> Tensor:
    x, weight, *bias = inputs
    if weight.ndim != 4:
        raise TwinlatentError(f"its convolution has {weight.ndim - 2} dimensions; only those of images are read")
    x = _padded(x, _padding(x, a, weight.shape[2:]))
    return F.conv2d(x, weight, bias[0] if bias else None, tuple(a.get("strides", (1, 1))),
                    dilation=tuple(a.get("dilations", (1, 1))), groups=a.get("group", 1))  # fmt: skip


def _pool(inputs: Sequence[Any], a: Attributes) -> tuple[Tensor, tuple[int, ...], bool, tuple[int, ...]]:
    """The images, what is still to be padded, whether to round sizes up, and the strides."""
    (x,), kernel = inputs, a["kernel_shape"]
    padding, ceil = _padding(x, a, kernel), bool(a.get("ceil_mode", 0))
    if len(kernel) != 2 or (ceil and padding[:2] != padding[2:]):
        raise TwinlatentError(f"its pool of {list(kernel)} with pads {list(padding)}, sizes rounded up, is not read")
    return x, padding, ceil, tuple(a.get("strides", (1, 1)))


def _maximum(inputs: Sequence[Any], a: Attributes) -> Tensor:
    x, padding, ceil, strides = _pool(inputs, a)
    within = padding[:2]
    if padding[:2] != padding[2:]:
        x, within = _padded(x, padding, -math.inf), (0, 0)
    return F.max_pool2d(x, tuple(a["kernel_shape"]), strides, within, tuple(a.get("dilations", (1, 1))), ceil)


def _average(inputs: Sequence[Any], a: Attributes) -> Tensor:
    x, padding, ceil, strides = _pool(inputs, a)
    if set(a.get("dilations", (1,))) != {1}:
        raise TwinlatentError(f"its mean of a pool with dilations {list(a['dilations'])} is not read")
    kernel, counted = tuple(a["kernel_shape"]), bool(a.get("count_include_pad", 0))
    if padding[:2] == padding[2:]:
        return F.avg_pool2d(x, kernel, strides, padding[:2], ceil, counted)
    mean = F.avg_pool2d(_padded(x, padding), kernel, strides)
    return mean if counted else mean / F.avg_pool2d(_padded(torch.ones_like(x), padding), kernel, strides)


def _batch_norm(inputs: Sequence[Any], a: Attributes) -> Tensor:
    if a.get("training_mode", 0):
        raise TwinlatentError("its batch normalisation is in training mode, where an answer depends on the batch; "
                              "export the network in evaluation mode")  # fmt: skip
    x, weight, bias, mean, variance = inputs[:5]
    return F.batch_norm(x, mean, variance, weight, bias, eps=a.get("epsilon", 1e-5))


def _gemm(inputs: Sequence[Any], a: Attributes) -> Tensor:
    left, right, *more = inputs
    left, right = (left.T if a.get("transA", 0) else left), (right.T if a.get("transB", 0) else right)
    product: Tensor = a.get("alpha", 1.0) * (left @ right)
    return product + a.get("beta", 1.0) * more[0] if more else product


def _softmax(inputs: Sequence[Any], a: Attributes, function: Callable[[Tensor, int], Tensor]) -> Tensor:
    (x,) = inputs
    if a["opset"] >= AXIS_ALONE:
        return function(x, a.get("axis", -1))
    return function(x.flatten(a.get("axis", 1)), -1).reshape(x.shape)


def _reshape(inputs: Sequence[Any], a: Attributes) -> Tensor:
    x, target = inputs[0], _whole(inputs[1] if len(inputs) > 1 else a["shape"])
    shape = [x.shape[i] if size == 0 and not a.get("allowzero", 0) else size for i, size in enumerate(target)]
    return x.reshape(shape)  # type: ignore[no-any-return]


def _flatten(inputs: Sequence[Any], a: Attributes) -> Tensor:
    (x,), axis = inputs, a.get("axis", 1)
    return x.reshape(math.prod(x.shape[:axis]), math.prod(x.shape[axis:]))  # type: ignore[no-any-return]


def _axes(inputs: Sequence[Any], a: Attributes) -> list[int]:
    """Since some version an input, before an attribute; all axes where neither says any."""
    given = inputs[1] if len(inputs) > 1 and inputs[1] is not None else a.get("axes")
    return list(range(inputs[0].ndim)) if given is None else _whole(given)


def _squeeze(inputs: Sequence[Any], a: Attributes) -> Tensor:
    x = inputs[0]
    wanted = {axis % x.ndim for axis in _axes(inputs, a)}
    return x.reshape([size for i, size in enumerate(x.shape) if i not in wanted or size != 1])  # type: ignore[no-any-return]


def _unsqueeze(inputs: Sequence[Any], a: Attributes) -> Tensor:
    x, axes = inputs[0], _axes(inputs, a)
    for axis in sorted(axis % (x.ndim + len(axes)) for axis in axes):
        x = x.unsqueeze(axis)
    return x  # type: ignore[no-any-return]


def _mean(inputs: Sequence[Any], a: Attributes) -> Tensor:
    return inputs[0].mean(_axes(inputs, a), keepdim=bool(a.get("keepdims", 1)))  # type: ignore[no-any-return]


def _pad(inputs: Sequence[Any], a: Attributes) -> Tensor:
    x, *given = inputs
    pads = _whole(given[0] if given else a["pads"])
    value = float(given[1]) if len(given) > 1 and given[1] is not None else a.get("value", 0.0)
    if len(given) > 2 or _text(a.get("mode", "constant")) != "constant":
        raise TwinlatentError("its Pad is of another mode than constant, or of some axes alone, and is not read")
    pairs = zip(pads[: x.ndim], pads[x.ndim :], strict=True)
    return F.pad(x, [size for pair in reversed(list(pairs)) for size in pair], value=value)


def _slice(inputs: Sequence[Any], a: Attributes) -> Tensor:
    x, *given = inputs
    names = ("starts", "ends", "axes", "steps")
    parts = [[] if part is None else _whole(part) for part in (given or [a.get(name) for name in names])]
    starts, ends, axes, steps = [*parts, [], []][:4]
    for start, end, axis, step in zip(starts, ends, axes or range(x.ndim), steps or [1] * len(starts), strict=False):
        if step < 1:
            raise TwinlatentError(f"its Slice goes backwards, by {step}, and is not read")
        x = x[(slice(None),) * (axis % x.ndim) + (slice(start, end, step),)]
    return x  # type: ignore[no-any-return]


def _gather(inputs: Sequence[Any], a: Attributes) -> Tensor:
    x, rows = inputs
    axis = a.get("axis", 0) % x.ndim
    rows = rows.long() % x.shape[axis]
    return x.index_select(axis, rows.flatten()).reshape(*x.shape[:axis], *rows.shape, *x.shape[axis + 1 :])  # type: ignore[no-any-return]


def _clip(inputs: Sequence[Any], a: Attributes) -> Tensor:
    x, *ends = inputs
    lower, upper = (*ends, None, None)[:2] if ends else (a.get("min"), a.get("max"))
    return torch.clamp(x, lower, upper)


def _cast(inputs: Sequence[Any], a: Attributes) -> Tensor:
    if a["to"] not in CAST_TO:
        raise TwinlatentError(f"its Cast to element type {a['to']} is not read")
    return inputs[0].to(CAST_TO[a["to"]])  # type: ignore[no-any-return]


def _constant(_: Sequence[Any], a: Attributes) -> Tensor:
    given = next((value for name, value in a.items() if name.startswith("value")), None)
    if given is None:
        raise TwinlatentError("its Constant is sparse or empty and is not read")
    return torch.as_tensor(given)


def _whole(values: Any) -> list[int]:
    return [int(value) for value in (values.tolist() if isinstance(values, Tensor) else values)]


OPERATORS: dict[str, Operator] = {
    "Abs": lambda x, _: x[0].abs(),
    "Add": lambda x, _: x[0] + x[1],
    "AveragePool": _average,
    "BatchNormalization": _batch_norm,
    "Cast": _cast,
    "Clip": _clip,
    "Concat": lambda x, a: torch.cat(list(x), a["axis"]),
    "Constant": _constant,
    "Conv": _convolution,
    "Div": lambda x, _: x[0] / x[1] if x[0].is_floating_point() else torch.div(x[0], x[1], rounding_mode="trunc"),
    "Dropout": lambda x, _: x[0],
    "Elu": lambda x, a: F.elu(x[0], a.get("alpha", 1.0)),
    "Erf": lambda x, _: x[0].erf(),
    "Exp": lambda x, _: x[0].exp(),
    "Flatten": _flatten,
    "Gather": _gather,
    "Gemm": _gemm,
    "GlobalAveragePool": lambda x, _: x[0].mean((2, 3), keepdim=True),
    "GlobalMaxPool": lambda x, _: x[0].amax((2, 3), keepdim=True),
    "HardSigmoid": lambda x, a: (a.get("alpha", 0.2) * x[0] + a.get("beta", 0.5)).clamp(0, 1),
    "HardSwish": lambda x, _: F.hardswish(x[0]),
    "Identity": lambda x, _: x[0],
    "LeakyRelu": lambda x, a: F.leaky_relu(x[0], a.get("alpha", 0.01)),
    "Log": lambda x, _: x[0].log(),
    "LogSoftmax": lambda x, a: _softmax(x, a, F.log_softmax),
    "MatMul": lambda x, _: x[0] @ x[1],
    "MaxPool": _maximum,
    "Mul": lambda x, _: x[0] * x[1],
    "Neg": lambda x, _: -x[0],
    "PRelu": lambda x, _: torch.where(x[0] < 0, x[1] * x[0], x[0]),
    "Pad": _pad,
    "Pow": lambda x, _: x[0] ** x[1],
    "ReduceMean": _mean,
    "Relu": lambda x, _: x[0].relu(),
    "Reshape": _reshape,
    "Shape": lambda x, _: torch.tensor(x[0].shape),
    "Sigmoid": lambda x, _: x[0].sigmoid(),
    "Slice": _slice,
    "Softmax": lambda x, a: _softmax(x, a, F.softmax),
    "Softplus": lambda x, _: F.softplus(x[0]),
    "Sqrt": lambda x, _: x[0].sqrt(),
    "Squeeze": _squeeze,
    "Sub": lambda x, _: x[0] - x[1],
    "Sum": lambda x, _: torch.stack(torch.broadcast_tensors(*x)).sum(0),
    "Tanh": lambda x, _: x[0].tanh(),
    "Transpose": lambda x, a: x[0].permute(a.get("perm", tuple(range(x[0].ndim))[::-1])),
    "Unsqueeze": _unsqueeze,
}
"""By the operator's name in the standard domain."""
