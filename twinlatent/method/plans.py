"""A network's notation resolved for an input shape: its operations in order, each with all its sizes.

`networks` builds one network from a plan, `class_vaes` many at once from the same plan.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from twinlatent.errors import TwinlatentError
from twinlatent.method.notation import NetworkSpec, Token, notation_error, parse

Shape = tuple[int, ...]
"""Shape of one sample: (channels, height, width) or (features,)."""

Role = Literal["encoder", "decoder", "classifier"]


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
class Ramp:
    """`count` values of each value v of `channels` channels: clip((v − start) / width, 0, 1), start and width learned.

    Where such a ramp is short, it cuts the interval of a pixel that cannot reach it to a point, black or white.
    """

    channels: int
    count: int


@dataclass(frozen=True)
class Activation:
    """Pointwise function."""

    name: Literal["relu", "leaky", "sigmoid"]


@dataclass(frozen=True)
class Reshape:
    """From (features,) to (channels, height, width), or back."""

    shape: Shape


Operation = Conv | Deconv | Dense | Pool | BatchNorm | Ramp | Activation | Reshape


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
    shared: int = 0
    """So many operations, the first ones, are shared by all classes; 0: the notation has no bar."""
    shared_shape: Shape = ()
    """Shape of a sample after these."""

    @property
    def trunk(self) -> "Plan":
        """The shared operations alone."""
        return replace(self, output_shape=self.shared_shape, operations=self.operations[: self.shared], latent=None,
                       shared=0, shared_shape=())  # fmt: skip

    @property
    def head(self) -> "Plan":
        """The operations that each class has for itself: all of them where none is shared."""
        if not self.shared:
            return self
        return replace(self, input_shape=self.shared_shape, operations=self.operations[self.shared :], shared=0,
                       shared_shape=())  # fmt: skip


def plan(spec: NetworkSpec | str, input_shape: Shape, role: Role) -> Plan:
    """Resolve `spec` for samples of `input_shape`.

    An encoder must end in `z(a,b)`, a classifier in `sm(n)`; only an encoder may have a bar. A decoder ends in
    `d(n)`, n the values of the image; its output passes a sigmoid, its other dense layers a leaky ReLU.

    Raises:
        TwinlatentError: a layer that does not fit, with its place.
    """
    spec = parse(spec) if isinstance(spec, str) else spec
    planner = _Planner(spec, input_shape, role)
    for index in range(len(spec.tokens)):
        planner.add(index)
    _check_end(spec, role)
    return Plan(spec, role, input_shape, planner.shape, tuple(planner.operations), planner.latent, planner.shared,
                planner.shared_shape)  # fmt: skip


def _check_end(spec: NetworkSpec, role: Role) -> None:
    ends = {"encoder": "z", "decoder": "d", "classifier": "sm"}
    names = [token.name for token in spec.tokens]
    last = spec.tokens[-1]
    if names[-1] != ends[role]:
        raise notation_error(
            spec.text, last.place, last.name, f"cannot end the network; this {role} must end in {ends[role]}"
        )
    if spec.shared and role != "encoder":
        raise TwinlatentError(f"network {spec.text!r}: only an encoder has layers before a bar; this is a {role}")
    for token in spec.tokens[:-1]:
        if token.name in ("z", "sm"):
            raise notation_error(spec.text, token.place, token.name, "may only stand at the end")


class _Planner:
    """Walks the tokens once, keeping the shape of the sample."""

    def __init__(self, spec: NetworkSpec, shape: Shape, role: Role) -> None:
        self.spec, self.shape, self.role = spec, shape, role
        self.operations: list[Operation] = []
        self.latent: tuple[int, int] | None = None
        self.shared = 0
        self.shared_shape: Shape = ()
        self._names = [token.name for token in spec.tokens]
        self._seen = {"c": 0, "cv": 0, "ct": 0}

    def add(self, index: int) -> None:
        token = self.spec.tokens[index]
        if index and index == self.spec.shared:
            self._end_trunk(token)
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
            case "ramp":
                self._ramp(token)
            case _:
                self._dense(token)
        self._activate(token.name, index)

    def _end_trunk(self, following: Token) -> None:
        """All so far is shared; so is the flattening that a dense layer needs."""
        if following.name in ("d", "z") and len(self.shape) == 3:
            self._flatten()
        self.shared, self.shared_shape = len(self.operations), self.shape

    def _flatten(self) -> None:
        self.shape = (math.prod(self.shape),)
        self.operations.append(Reshape(self.shape))

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
        if token.name == "cv" and kernel > min(height, width):
            raise notation_error(
                self.spec.text, token.place, f"cv({kernel},{filters})", f"is larger than its {height}×{width} input"
            )
        sides, valid = (height, width), token.name == "cv"
        sizes = [math.ceil((side - (kernel - 1) * valid) / stride) for side in sides]
        missing = [(size - 1) * stride + kernel - side for size, side in zip(sizes, sides, strict=True)]
        totals = {0 if valid else max(total, 0) for total in missing}
        if len(totals) > 1:
            raise notation_error(self.spec.text, token.place, token.name, f"would pad the sides of {height}×{width} "
                                 "unlike; give images whose sides are both even or both odd")  # fmt: skip
        (total,) = totals
        self.operations.append(Conv(channels, filters, kernel, stride, (total // 2, total - total // 2)))
        self.shape = (filters, *sizes)

    def _deconv(self, token: Token) -> None:
        kernel, filters = token.arguments[:2]
        channels, height, width = self._map(token)
        stride = self._stride(token)
        if kernel < stride:
            raise notation_error(
                self.spec.text, token.place, token.name, f"has a kernel smaller than its stride {stride}"
            )
        self.operations.append(Deconv(channels, filters, kernel, stride, (kernel - stride) // 2))
        self.shape = (filters, height * stride, width * stride)

    def _ramp(self, token: Token) -> None:
        (count,) = token.arguments
        channels, height, width = self._map(token)
        self.operations.append(Ramp(channels, count))
        self.shape = (channels * count, height, width)

    def _pool(self, token: Token) -> None:
        (size,) = token.arguments
        channels, height, width = self._map(token)
        if min(height, width) < size:
            raise notation_error(
                self.spec.text, token.place, f"mp({size})", f"is larger than its {height}×{width} input"
            )
        rectified = len(self.operations) > self.shared and self.operations[-1] == Activation("relu")
        self.operations.insert(len(self.operations) - bool(rectified), Pool(size))  # the same, on fewer numbers
        self.shape = (channels, height // size, width // size)

    def _dense(self, token: Token) -> None:
        if len(self.shape) == 3:
            self._flatten()
        if token.name == "z":
            self.latent = (token.arguments[0], token.arguments[1])
            units = 2 * sum(self.latent)
        else:
            (units,) = token.arguments
        self.operations.append(Dense(self.shape[0], units))
        self.shape = (units,)

    def _map(self, token: Token) -> tuple[int, int, int]:
        """The sample as a map; a decoder's dense output becomes one square channel."""
        if len(self.shape) == 1:
            side = math.isqrt(self.shape[0])
            if side * side != self.shape[0]:
                raise notation_error(
                    self.spec.text, token.place, token.name, f"needs a square map, not {self.shape[0]} features"
                )
            self.shape = (1, side, side)
            self.operations.append(Reshape(self.shape))
        channels, height, width = self.shape
        return channels, height, width


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
            case Ramp(_, count):
                yield index, "start", (count,)
                yield index, "log_width", (count,)
            case _:
                pass
