"""Networks written in the paper's notation (Tables 5 and 7): `"3(c(4,16)) z(8,8)"`.

    c(k,n)   convolution, kernel k×k, n filters, ReLU       ct(k,n)  transposed convolution, ReLU
    cv(k,n)  the same without padding (not the paper's)
    mp(s)    max pooling s×s                                d(n)     dense, n units
    sm(n)    dense, n logits of a softmax                   z(a,b)   dense, means and log-variances of z_r and z_v
    bn       batch normalisation                            relu     ReLU
    3(...)   the bracket three times, nestable              -, space separate layers; both may be left out

Convolutions but `cv` pad 'same'; `mp` drops what is left over. The notation has no strides; ours, a choice after
a widely used MNIST autoencoder: without `mp` the first two convolutions have stride 2, the first transposed one has
stride 2, all others 1. `c(k,n,s)`, `cv(k,n,s)` and `ct(k,n,s)` state a stride themselves. The ReLU that `c` implies is
left to an explicit `bn` or `relu` that follows it.

A `NetworkSpec` is the parsed text; `plan` resolves it for an input shape into explicit operations,
and `PlainNetwork` builds one network from them. `class_vaes` builds many at once from the same plan.
"""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from twinlatent.errors import TwinlatentError

Shape = tuple[int, ...]
"""Shape of one sample: (channels, height, width) or (features,)."""

Role = Literal["encoder", "decoder", "classifier"]

LEAKY_SLOPE = 0.2


# --- the notation -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Token:
    """One layer of the notation: its `name`, its integer `arguments`, its `place` in the text (0-based)."""

    name: str
    arguments: tuple[int, ...]
    place: int


@dataclass(frozen=True)
class NetworkSpec:
    """A parsed network. `str()` gives the text back; `tokens` has every repetition written out."""

    text: str
    tokens: tuple[Token, ...]

    def __str__(self) -> str:
        return self.text


_ARGUMENTS = {
    "c": (2, 3),
    "cv": (2, 3),
    "ct": (2, 3),
    "mp": (1,),
    "d": (1,),
    "sm": (1,),
    "z": (2,),
    "bn": (0,),
    "relu": (0,),
}
_LEXEME = re.compile(r"(?P<repeat>\d+)\s*\(|(?P<name>[a-z]+)\s*(?:\((?P<arguments>[^()]*)\))?|(?P<close>\))")
_MAX_LAYERS, _MAX_DEPTH, _MAX_DIGITS = 1000, 20, 7


def parse(text: str) -> NetworkSpec:
    """Parse the paper's notation.

    Raises:
        TwinlatentError: naming the token that is wrong and its place (1-based column).

    >>> [token.name for token in parse("2(c(3,8)-bn-relu) z(4,4)").tokens]
    ['c', 'bn', 'relu', 'c', 'bn', 'relu', 'z']
    """
    text = " ".join(text.split())
    tokens, place = _sequence(text, 0, depth=0)
    if place != len(text):
        raise _wrong(text, place, ")", "closes a bracket that was never opened")
    if not tokens:
        raise TwinlatentError("the network notation is empty; write layers such as 'c(4,16) z(8,8)'")
    return NetworkSpec(text, tuple(tokens))


def _sequence(text: str, place: int, depth: int) -> tuple[list[Token], int]:
    """Read layers from `place` to the end or to the bracket that closes `depth`; return them and where they end."""
    if depth > _MAX_DEPTH:
        raise _wrong(text, place, _word(text, place), f"is nested deeper than {_MAX_DEPTH} brackets")
    tokens: list[Token] = []
    while True:
        place = _skip_separators(text, place)
        if place == len(text) or text[place] == ")":
            return tokens, place
        found = _LEXEME.match(text, place)
        if found is None:
            raise _wrong(text, place, _word(text, place), "is no layer")
        if found["repeat"]:
            body, end = _sequence(text, found.end(), depth + 1)
            if end == len(text):
                raise _wrong(text, place, found[0], "opens a bracket that is never closed")
            tokens += _repeated(text, place, found["repeat"], body)
            place = end + 1
        else:
            tokens.append(_token(text, place, found["name"], found["arguments"]))
            place = found.end()


def _repeated(text: str, place: int, digits: str, body: list[Token]) -> list[Token]:
    times = int(digits[:_MAX_DIGITS])
    if times < 1 or not body or times * len(body) > _MAX_LAYERS:
        raise _wrong(
            text,
            place,
            f"{digits[:_MAX_DIGITS]}(...)",
            f"must repeat at least one layer, and give {_MAX_LAYERS} at most",
        )
    return body * times


def _token(text: str, place: int, name: str, arguments: str | None) -> Token:
    if name not in _ARGUMENTS:
        raise _wrong(text, place, name, f"is no layer; known are {', '.join(_ARGUMENTS)}")
    words = [word.strip() for word in arguments.split(",")] if arguments is not None else []
    whole = f"{name}({arguments})" if arguments is not None else name
    if not all(word.isdecimal() and len(word) <= _MAX_DIGITS and int(word) > 0 for word in words):
        raise _wrong(text, place, whole[:20], f"takes positive whole numbers of up to {_MAX_DIGITS} digits")
    if len(words) not in _ARGUMENTS[name]:
        raise _wrong(text, place, whole, f"takes {' or '.join(map(str, _ARGUMENTS[name]))} numbers, not {len(words)}")
    return Token(name, tuple(map(int, words)), place)


def _skip_separators(text: str, place: int) -> int:
    while place < len(text) and (text[place].isspace() or text[place] == "-"):
        place += 1
    return place


def _word(text: str, place: int) -> str:
    return re.split(r"[\s-]", text[place:], maxsplit=1)[0][:20]


def _wrong(text: str, place: int, token: str, complaint: str) -> TwinlatentError:
    return TwinlatentError(f"network {text!r}: {token!r} at column {place + 1} {complaint}")


# --- the plan: explicit operations --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Conv:
    """Convolution; `padding` is (before, after) on both axes."""

    inputs: int
    filters: int
    kernel: int
    stride: int
    padding: tuple[int, int]


@dataclass(frozen=True)
class Deconv:
    """Transposed convolution; `crop` rows are cut before, then the size is cut to stride × input."""

    inputs: int
    filters: int
    kernel: int
    stride: int
    crop: int


@dataclass(frozen=True)
class Dense:
    """Affine map of the flattened sample; from `inputs` to `units` features."""

    inputs: int
    units: int


@dataclass(frozen=True)
class Pool:
    """Max pooling of size × size, stride size."""

    size: int


@dataclass(frozen=True)
class BatchNorm:
    """Batch normalisation over channels (or features)."""

    channels: int


@dataclass(frozen=True)
class Activation:
    """Pointwise function."""

    name: Literal["relu", "leaky", "sigmoid"]


@dataclass(frozen=True)
class Reshape:
    """From (features,) to (channels, height, width), or back."""

    shape: Shape


Operation = Conv | Deconv | Dense | Pool | BatchNorm | Activation | Reshape


@dataclass(frozen=True)
class Plan:
    """A network resolved for an input: `operations` in order, shapes of a sample before and after."""

    spec: NetworkSpec
    role: Role
    input_shape: Shape
    output_shape: Shape
    operations: tuple[Operation, ...]
    latent: tuple[int, int] | None
    """Dimensions of (z_r, z_v) when the network ends in `z(a,b)`."""


def plan(spec: NetworkSpec | str, input_shape: Shape, role: Role) -> Plan:
    """Resolve `spec` for samples of `input_shape`.

    An encoder must end in `z(a,b)`, a classifier in `sm(n)`. A decoder ends in `d(n)`, n the pixels of the image;
    its output passes a sigmoid, its other dense layers a leaky ReLU.

    Raises:
        TwinlatentError: a layer that does not fit, with its place.
    """
    spec = parse(spec) if isinstance(spec, str) else spec
    planner = _Planner(spec, input_shape, role)
    for index in range(len(spec.tokens)):
        planner.add(index)
    _check_end(spec, role)
    return Plan(spec, role, input_shape, planner.shape, tuple(planner.operations), planner.latent)


def _check_end(spec: NetworkSpec, role: Role) -> None:
    ends = {"encoder": "z", "decoder": "d", "classifier": "sm"}
    names = [token.name for token in spec.tokens]
    last = spec.tokens[-1]
    if names[-1] != ends[role]:
        raise _wrong(spec.text, last.place, last.name, f"cannot end the network; this {role} must end in {ends[role]}")
    for token in spec.tokens[:-1]:
        if token.name in ("z", "sm"):
            raise _wrong(spec.text, token.place, token.name, "may only stand at the end")


class _Planner:
    """Walks the tokens once, keeping the shape of the sample."""

    def __init__(self, spec: NetworkSpec, shape: Shape, role: Role) -> None:
        self.spec, self.shape, self.role = spec, shape, role
        self.operations: list[Operation] = []
        self.latent: tuple[int, int] | None = None
        self._names = [token.name for token in spec.tokens]
        self._seen = {"c": 0, "cv": 0, "ct": 0}

    def add(self, index: int) -> None:
        token = self.spec.tokens[index]
        match token.name:
            case "c" | "cv":
                self._conv(token)
            case "ct":
                self._deconv(token)
            case "mp":
                self._pool(token)
            case "bn":
                self.operations.append(BatchNorm(self.shape[0]))
            case "relu":
                self.operations.append(Activation("relu"))
            case _:
                self._dense(token, last=index == len(self._names) - 1)
        self._activate(token.name, index)

    def _activate(self, name: str, index: int) -> None:
        """Append the activation that the layer implies, unless the next token spells it out."""
        following = self._names[index + 1] if index + 1 < len(self._names) else None
        if name in ("c", "cv", "ct", "d") and following in ("bn", "relu"):
            return
        if name in ("c", "cv", "ct"):
            self.operations.append(Activation("relu"))
        elif name == "d" and self.role == "decoder":
            self.operations.append(Activation("leaky" if following else "sigmoid"))
        elif name == "d":
            self.operations.append(Activation("relu"))

    def _stride(self, token: Token) -> int:
        count = self._seen[token.name]
        self._seen[token.name] += 1
        if len(token.arguments) == 3:
            return token.arguments[2]
        if token.name != "c":
            return 2 if token.name == "ct" and count == 0 else 1
        return 2 if count < 2 and "mp" not in self._names and self.role == "encoder" else 1

    def _conv(self, token: Token) -> None:
        kernel, filters = token.arguments[:2]
        channels, height, width = self._map(token)
        stride = self._stride(token)
        if height != width:
            raise _wrong(self.spec.text, token.place, token.name, f"needs square images, not {height}×{width}")
        if token.name == "cv" and kernel > height:
            raise _wrong(
                self.spec.text, token.place, f"cv({kernel},{filters})", f"is larger than its {height}×{width} input"
            )
        size = math.ceil((height - (kernel - 1) * (token.name == "cv")) / stride)
        total = 0 if token.name == "cv" else max((size - 1) * stride + kernel - height, 0)
        self.operations.append(Conv(channels, filters, kernel, stride, (total // 2, total - total // 2)))
        self.shape = (filters, size, size)

    def _deconv(self, token: Token) -> None:
        kernel, filters = token.arguments[:2]
        channels, height, width = self._map(token)
        stride = self._stride(token)
        if kernel < stride:
            raise _wrong(self.spec.text, token.place, token.name, f"has a kernel smaller than its stride {stride}")
        self.operations.append(Deconv(channels, filters, kernel, stride, (kernel - stride) // 2))
        self.shape = (filters, height * stride, width * stride)

    def _pool(self, token: Token) -> None:
        (size,) = token.arguments
        channels, height, width = self._map(token)
        if min(height, width) < size:
            raise _wrong(self.spec.text, token.place, f"mp({size})", f"is larger than its {height}×{width} input")
        rectified = self.operations and self.operations[-1] == Activation("relu")
        self.operations.insert(len(self.operations) - bool(rectified), Pool(size))  # the same, on fewer numbers
        self.shape = (channels, height // size, width // size)

    def _dense(self, token: Token, *, last: bool) -> None:
        if len(self.shape) == 3:
            self.shape = (math.prod(self.shape),)
            self.operations.append(Reshape(self.shape))
        if token.name == "z":
            self.latent = (token.arguments[0], token.arguments[1])
            units = 2 * sum(self.latent)
        else:
            (units,) = token.arguments
        if self.role == "decoder" and last:
            self._check_image(token, units)
        self.operations.append(Dense(self.shape[0], units))
        self.shape = (units,)

    def _check_image(self, token: Token, units: int) -> None:
        if math.isqrt(units) ** 2 != units:
            raise _wrong(self.spec.text, token.place, f"d({units})", "ends a decoder but is no square image's pixels")

    def _map(self, token: Token) -> tuple[int, int, int]:
        """The sample as a map; a decoder's dense output becomes one square channel."""
        if len(self.shape) == 1:
            side = math.isqrt(self.shape[0])
            if side * side != self.shape[0]:
                raise _wrong(
                    self.spec.text, token.place, token.name, f"needs a square map, not {self.shape[0]} features"
                )
            self.shape = (1, side, side)
            self.operations.append(Reshape(self.shape))
        channels, height, width = self.shape
        return channels, height, width


# --- one plain network --------------------------------------------------------------------------------------------


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
        case Activation() | Reshape():
            return _Feature(operation)


def build_classifier(text: str, input_shape: Shape) -> PlainNetwork:
    """A classifier such as `"c(2,20) mp(2) c(2,50) mp(2) d(500) sm(10)"` for images of `input_shape` (channels, H, W).

    >>> build_classifier("c(5,20) mp(2) d(50) sm(10)", (1, 28, 28))
    c(5,20) mp(2) d(50) sm(10)
    """
    return PlainNetwork(plan(text, input_shape, "classifier"))


def parameters_of(plan: Plan) -> Iterator[tuple[int, str, Shape]]:
    """Every parameter of a plan: (index of its operation, name, shape), as `PlainNetwork` names them."""
    for index, operation in enumerate(plan.operations):
        match operation:
            case Conv(inputs, filters, kernel):
                yield index, "weight", (filters, inputs, kernel, kernel)
                yield index, "bias", (filters,)
            case Deconv(inputs, filters, kernel):
                yield index, "weight", (inputs, filters, kernel, kernel)
                yield index, "bias", (filters,)
            case Dense(inputs, units):
                yield index, "weight", (units, inputs)
                yield index, "bias", (units,)
            case BatchNorm(channels):
                yield index, "weight", (channels,)
                yield index, "bias", (channels,)
            case _:
                pass
