"""Interval bounds: what encoders can say of any image of a ball (Gowal et al. 2018, interval bound propagation).

A ball cut with the box [0, 1] is an interval of each pixel; every layer maps intervals to intervals that hold all it
can make of them. A linear layer maps the middle m to Wm + b and the radius r to |W| r; a function that rises everywhere
maps both ends.

Rounding. With `FLOAT32` a bound holds for what a network computes in float32, in whatever order it adds: a sum of n
products of computed numbers x is within γ (|W| |x| + |b|) of the true one, γ = n u / (1 − n u) and u = 2⁻²⁴ (Higham
2002, section 3.1), which is added at each layer. Numbers too small for float32 miss by 2⁻¹²⁶ at most, also where a
processor takes them for 0; numbers that might be too large have no bound (it is infinite, then NaN). Bounds themselves
are then computed in float64, whose own rounding is smaller than u by eight digits and is part of `EXTRA_SUMS`.
This covers matrix products, convolutions that are sums of products, and ours by Fourier transform. PyTorch asks oneDNN
for such ("direct") convolutions and for nothing else; it does not cover Winograd's, which PyTorch may take from NNPACK
where oneDNN is switched off or missing, nor flags or variables that make float32 products coarser (bfloat16, TF32).
Without rounding, bounds hold up to it: enough to train with, no proof.

Letters: C classes, B images, Z latent dimensions.
"""

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from twinlatent.attacks.balls import Norm
from twinlatent.errors import TwinlatentError
from twinlatent.method.class_vaes import ClassEncoders, ClassNetworks
from twinlatent.method.convolutions import by_fourier
from twinlatent.method.densities import LOG_2PI
from twinlatent.method.fourier import fourier_rounding
from twinlatent.method.networks import activate
from twinlatent.method.plans import Activation, BatchNorm, Conv, Deconv, Dense, Operation, Pool, Ramp, Reshape

FLOAT32 = 2.0**-24
"""Unit roundoff of float32."""
SMALLEST = 2.0**-126
"""Below this float32 has no numbers of full precision."""
LARGEST = 2.0**96
"""Up to this no sum or product of a layer can leave float32's range."""
PIXEL_ROUNDING = 2.0**-23
"""An attack that adds ε to a pixel in float32 may leave the ball by less than this."""
EXTRA_SUMS = 16
"""Added to n: the bias, a batch normalisation that is part of the weights (at most eight roundings), and the arithmetic
of the interval itself."""


OF_NORMS = 1e-9
"""A norm in float64 is off by a smaller share."""
OF_RAMPS = 16
"""Roundings of a ramp: a difference, a quotient and an exponential, which libraries have to a few units in the last
place."""


@dataclass(frozen=True)
class Interval:
    """All values between two tensors of one shape, ends included."""

    lower: Tensor
    upper: Tensor

    @property
    def middle(self) -> Tensor:
        """Half the way."""
        return (self.lower + self.upper) / 2

    @property
    def radius(self) -> Tensor:
        """Half the width."""
        return (self.upper - self.lower) / 2

    @property
    def magnitude(self) -> Tensor:
        """The largest absolute value."""
        return torch.maximum(self.lower.abs(), self.upper.abs())

    def __getitem__(self, place: object) -> "Interval":
        """Of a part."""
        return Interval(self.lower[place], self.upper[place])  # type: ignore[index]


@dataclass(frozen=True)
class RoundBall(Interval):
    """Those of an interval that are within `epsilon` of a `centre`, in L2: the first linear layer makes use of that."""

    centre: Tensor
    epsilon: float


@dataclass(frozen=True)
class LatentBounds:
    """Intervals of the means μ_r (C, B, Z_r) and μ_v (C, B, Z_v) over a ball about each image."""

    robust: Interval
    vulnerable: Interval


def ball(images: Tensor, epsilon: float | Tensor) -> Interval:
    """The L∞ ball of radius ε about each image, cut with [0, 1]."""
    return Interval((images - epsilon).clamp(0, 1), (images + epsilon).clamp(0, 1))


def ball_in(norm: Norm, images: Tensor, epsilon: float) -> Interval:
    """The ball of radius ε about each image in a norm, cut with [0, 1]."""
    box = ball(images, min(epsilon, 1.0))
    return box if norm == "linf" else RoundBall(box.lower, box.upper, images, epsilon)


def bound_latents(encoders: ClassEncoders, images: Interval, rounding: float = 0.0) -> LatentBounds:
    """Intervals of what encoders give for any image between `images.lower` and `images.upper`.

    Args:
        encoders: where all images are treated alike: with batch normalisation in evaluation mode.
        images: (B, channels, H, W), of the encoders' dtype.
        rounding: unit roundoff of the arithmetic that is covered; 0: none.

    Raises:
        TwinlatentError: a layer that has no bound.
    """
    if encoders.trunk is not None:
        shared = bound_network(encoders.trunk, images, rounding)
        images = Interval(shared.lower[0], shared.upper[0])
    r, v = encoders.robust_size, encoders.vulnerable_size
    found = bound_network(encoders.networks, images, rounding)
    return LatentBounds(found[..., :r], found[..., r : r + v])


def bound_network(networks: ClassNetworks, x: Interval, rounding: float = 0.0) -> Interval:
    """Intervals (C, B, *output_shape) of what networks give for samples of an interval (B, *input_shape)."""
    x = bounds_between(networks, x, rounding)[-1]
    return Interval(networks.by_class(x.lower), networks.by_class(x.upper))


def bounds_between(networks: ClassNetworks, x: Interval, rounding: float = 0.0) -> list[Interval]:
    """Intervals before each operation and after the last, as the networks arrange them."""
    found = [_rearranged(networks.arranged, x)]
    for index in range(len(networks.plan.operations)):
        found.append(_bound_operation(networks, index, found[-1], rounding))
    return found


def _bound_operation(networks: ClassNetworks, index: int, x: Interval, rounding: float) -> Interval:
    operation = networks.plan.operations[index]
    match operation:
        case Conv() | Deconv() | Dense():
            return _bound_linear(networks, index, x, rounding)
        case BatchNorm():
            return _bound_normalisation(networks, index, x, rounding)
        case Pool(size):
            return Interval(F.max_pool2d(x.lower, size), F.max_pool2d(x.upper, size))
        case Ramp():
            return _bound_ramps(networks, index, x, rounding)
        case Reshape(shape):
            return _rearranged(lambda values: networks.reshaped(values, shape), x)
        case Activation():
            return _bound_activation(operation, x, rounding)


def _rearranged(move: Callable[[Tensor], Tensor], x: Interval) -> Interval:
    """The same values in other places."""
    if isinstance(x, RoundBall):
        return RoundBall(move(x.lower), move(x.upper), move(x.centre), x.epsilon)
    return Interval(move(x.lower), move(x.upper))


def _bound_ramps(networks: ClassNetworks, index: int, x: Interval, rounding: float) -> Interval:
    """Ramps rise everywhere; the rounding of (v − start) / width goes with (|v| + |start|) / width."""
    if rounding:
        gamma = OF_RAMPS * rounding / (1 - OF_RAMPS * rounding)
        slack = gamma * (x.magnitude + networks.get_parameter(f"{index}_start").abs().max()) + SMALLEST
        x = Interval(x.lower - slack, x.upper + slack)
    return Interval(networks.ramped(index, x.lower), networks.ramped(index, x.upper))


def _bound_linear(networks: ClassNetworks, index: int, x: Interval, rounding: float) -> Interval:
    weight, bias = networks.weights(index)
    middle = networks.linear(index, x.middle, weight, bias)
    radius = networks.linear(index, x.radius, weight.abs(), torch.zeros_like(bias))
    missed: Tensor | float = linear_rounding(networks, index, x, rounding) if rounding else 0.0
    found = _around(middle, radius + missed if rounding else radius)
    if isinstance(x, RoundBall) and not isinstance(networks.plan.operations[index], Deconv):
        near = _around(networks.linear(index, x.centre, weight, bias), x.epsilon * _row_norms(weight) + missed)
        found = Interval(torch.maximum(found.lower, near.lower), torch.minimum(found.upper, near.upper))
    return found


def _row_norms(weight: Tensor) -> Tensor:
    """‖W‖₂ of each output of a linear operation (C, outputs, ...), which no sum over fewer inputs exceeds."""
    norms: Tensor = weight.flatten(2).norm(dim=2) * (1 + OF_NORMS)
    return norms[:, None] if weight.ndim == 3 else norms.flatten()[:, None, None]


def linear_rounding(networks: ClassNetworks, index: int, x: Interval, rounding: float) -> Tensor:
    """By how much a linear operation's results can differ from the true ones of the same x; infinite: by anything."""
    weight, _ = networks.weights(index)
    gamma, tiny = _gamma(_products(networks.plan.operations[index]), rounding), SMALLEST / rounding
    least = gamma * _size_of_bias(networks, index) + tiny
    found = networks.linear(index, gamma * x.magnitude + SMALLEST, weight.abs() + tiny, least)
    found = found + _of_fourier(networks, index, x, rounding)
    return found.masked_fill(found > gamma * LARGEST, torch.inf)


def _around(middle: Tensor, radius: Tensor) -> Interval:
    return Interval(middle - radius, middle + radius)


def _gamma(products: int, rounding: float) -> float:
    """γ of a sum of so many products; infinite where there is none."""
    share = (products + EXTRA_SUMS) * rounding
    return share / (1 - share) if share < 1 else math.inf


def _products(operation: Operation) -> int:
    """How many are summed for one output of a linear operation, at most."""
    assert isinstance(operation, Conv | Deconv | Dense)
    return operation.inputs * (1 if isinstance(operation, Dense) else operation.kernel**2)


def _size_of_bias(networks: ClassNetworks, index: int) -> Tensor:
    """Absolute values of all that makes a linear operation's bias, summed, (C, outputs)."""
    bias = networks.get_parameter(f"{index}_bias").abs()
    if not networks.normalises_alike(index + 1):
        return bias
    return bias * networks.scale_and_shift(index + 1)[0].abs() + _size_of_shift(networks, index + 1)


def _of_fourier(networks: ClassNetworks, index: int, x: Interval, rounding: float) -> Tensor | float:
    """What a convolution by Fourier transform may miss by, for each filter and image."""
    conv = networks.plan.operations[index]
    if not isinstance(conv, Conv) or not by_fourier(conv.kernel, conv.stride, conv.padding, x.lower.shape):
        return 0.0
    groups = x.lower.shape[1] // conv.inputs
    of_filters = networks.weights(index)[0].flatten(2).norm(dim=2)  # (C, filters)
    of_images = x.magnitude.unflatten(1, (groups, -1)).flatten(2).norm(dim=2)  # (B, groups)
    share = fourier_rounding(conv.inputs, x.lower.shape[-1], conv.kernel, conv.padding, rounding)
    product: Tensor = of_images[:, :, None] * of_filters
    return share * product.flatten(1)[..., None, None]


def _bound_normalisation(networks: ClassNetworks, index: int, x: Interval, rounding: float) -> Interval:
    if networks.training:
        raise TwinlatentError("batch normalisation has bounds in evaluation mode only: in training mode an image's "
                              "answer depends on the others of its batch")  # fmt: skip
    if networks.normalises_alike(index):  # it is part of the convolution before it
        return x
    scale, shift = networks.scale_and_shift(index)
    if x.lower.ndim == 3:  # (C, B, features)
        scale, shift = scale[:, None], shift[:, None]
    else:  # (B, C·channels, H, W)
        scale, shift = scale.flatten()[:, None, None], shift.flatten()[:, None, None]
    middle, radius = x.middle * scale + shift, x.radius * scale.abs()
    if rounding:
        gamma, tiny = _gamma(1, rounding), SMALLEST / rounding
        of_shift = _size_of_shift(networks, index).view_as(shift)
        radius = radius + gamma * ((x.magnitude + tiny) * (scale.abs() + tiny) + of_shift) + tiny
        radius = radius.masked_fill(radius > gamma * LARGEST, torch.inf)
    return _around(middle, radius)


def _size_of_shift(networks: ClassNetworks, index: int) -> Tensor:
    """|mean · scale| + |bias| of a batch normalisation, (C, channels): what rounding of its shift goes with."""
    mean, bias = networks.get_buffer(f"{index}_running_mean"), networks.get_parameter(f"{index}_bias")
    return (mean * networks.scale_and_shift(index)[0]).abs() + bias.abs()


def _bound_activation(activation: Activation, x: Interval, rounding: float) -> Interval:
    """All of them rise everywhere."""
    lower, upper = activate(x.lower, activation), activate(x.upper, activation)
    if not rounding or activation.name == "relu":  # which rounds nothing
        return Interval(lower, upper)
    gamma = _gamma(1, rounding)
    return Interval(lower - gamma * lower.abs() - SMALLEST, upper + gamma * upper.abs() + SMALLEST)


# --- of what is made of the means ---------------------------------------------------------------------------------


def bound_log_density(mean: Interval, rounding: float = 0.0) -> Interval:
    """Interval of log N(μ | 0, I) = −½ (‖μ‖² + Z log 2π), shape (..., Z) → (...)."""
    squares, constant = squared_distance(mean), mean.lower.shape[-1] * LOG_2PI
    slack = density_rounding(mean, rounding) if rounding else 0.0
    return Interval(-0.5 * (squares.upper + constant) - slack, -0.5 * (squares.lower + constant) + slack)


def squared_distance(mean: Interval, point: Tensor | float = 0.0, rounding: float = 0.0) -> Interval:
    """Interval of ‖μ − point‖², shape (..., Z) → (...)."""
    middle, radius = mean.middle - point, mean.radius
    if rounding:
        radius = radius + EXTRA_SUMS * rounding * (middle.abs() + mean.radius) + SMALLEST
    near, far = (middle.abs() - radius).clamp_min(0), middle.abs() + radius
    lower, upper = near.square().sum(-1), far.square().sum(-1)
    if rounding:
        gamma, tiny = _gamma(mean.lower.shape[-1], rounding), SMALLEST / rounding
        lower, upper = lower * (1 - gamma) - tiny, upper * (1 + gamma) + tiny
        upper = upper.masked_fill(upper > LARGEST, torch.inf)
    return Interval(lower, upper)


def density_rounding(mean: Interval, rounding: float) -> Tensor:
    """By how much log N(μ | 0, I) as computed can differ from the true one of the same μ, (...)."""
    squares, size = squared_distance(mean), mean.lower.shape[-1]
    slack = _gamma(size, rounding) * (squares.upper + size * LOG_2PI) + SMALLEST / rounding
    return slack.masked_fill(squares.upper > LARGEST, torch.inf)


def bound_log_ratio(latents: LatentBounds) -> Interval:
    """Interval of log P_r − log P_v, (C, B)."""
    robust, vulnerable = bound_log_density(latents.robust), bound_log_density(latents.vulnerable)
    return Interval(robust.lower - vulnerable.upper, robust.upper - vulnerable.lower)


def in_float64(encoders: ClassEncoders) -> ClassEncoders:
    """A copy whose weights are those of `encoders`, in float64, for bounds with rounding."""
    return copy.deepcopy(encoders).double().eval()
