"""Linear bounds of encoders over a ball: tighter than intervals, since they know which values occur together.

What a score needs of the means, ½ (a ‖μ_v‖² − b ‖μ_r‖²), lies below a linear function of them: a square lies below its
chord over its interval, and the negative of a square below each of its tangents. Going back through the layers (Zhang
et al. 2018, CROWN), a linear function of what a layer gives becomes one of what it takes. A ReLU of an input in [l, u]
with l < 0 < u lies below its chord and above α times its input, for any α in [0, 1]; with α = 0 and tangents at the
points nearest to 0 no bound is above that of intervals, and some steps on α and the tangents lower it further (Xu et
al. 2021, α-CROWN). Where a layer has no linear bound here (max pooling, a normalisation that is not part of a
convolution) what it gives is taken to be anything in its interval.

Rounding. What float32 misses at a layer is one more input of it, of the size that `bounds` says. Computing the bound
itself, in float64, changes coefficients and sums by less than `OF_FLOAT64` of all that is added up. Without rounding
bounds can be trained with (Zhang et al. 2020, CROWN-IBP), and are no proof.

Letters: C classes, B images, Z latent dimensions.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from twinlatent.method.bounds import Interval, LatentBounds, bounds_between, linear_rounding
from twinlatent.method.class_vaes import ClassEncoders, ClassNetworks
from twinlatent.method.densities import LOG_2PI
from twinlatent.method.plans import Activation, BatchNorm, Conv, Dense, Operation, Reshape

OF_FLOAT64 = 2.0**-30
"""A sum of n numbers misses by n 2⁻⁵³ of their absolute values at most, and n is below two million."""
STEP_OF_SLOPES, STEP_OF_TANGENTS, DECAY = 0.2, 0.1, 0.9
"""The first step, and by how much both shrink in each."""


@dataclass(frozen=True)
class Layer:
    """An operation on the way from an image to the means, with all bounds (C or 1, B, *shape of a sample).

    Attributes:
        networks: the trunk, or the classes' own.
        index: of the operation.
        before: interval of its input.
        missed: what rounding may add to its result, either way; None where nothing is rounded.
    """

    networks: ClassNetworks
    index: int
    before: Interval
    missed: Tensor | None

    @property
    def operation(self) -> Operation:
        """What it does."""
        return self.networks.plan.operations[self.index]

    @property
    def unstable(self) -> bool:
        """Whether it is a ReLU, which bends."""
        return self.operation == Activation("relu")


@dataclass(frozen=True)
class LinearBounds:
    """Layers of encoders over a ball about each image, and the intervals of the means."""

    layers: tuple[Layer, ...]
    means: LatentBounds
    width: int
    """Numbers that the last layer gives a class: means, and log-variances, which nothing here asks for."""


def linear_bounds(encoders: ClassEncoders, images: Interval, rounding: float) -> LinearBounds:
    """Ready to bound what encoders make of any image of an interval (B, channels, H, W); all in float64 for a proof.

    Args:
        encoders: in evaluation mode, see `bounds.in_float64`.
        images: cut with [0, 1].
        rounding: unit roundoff of the arithmetic that is covered; 0: none.
    """
    layers: list[Layer] = []
    for networks in filter(None, (encoders.trunk, encoders.networks)):
        between = bounds_between(networks, images, rounding)
        layers += [_layer(networks, index, before, rounding) for index, before in enumerate(between[:-1])]
        last = _split(between[-1], networks.classes)
        images = last[0]  # of a trunk
    r, v = encoders.robust_size, encoders.vulnerable_size
    return LinearBounds(tuple(layers), LatentBounds(last[..., :r], last[..., r : r + v]), 2 * (r + v))


def _layer(networks: ClassNetworks, index: int, before: Interval, rounding: float) -> Layer:
    missed = None
    if rounding and isinstance(networks.plan.operations[index], Conv | Dense):
        missed = _parted(linear_rounding(networks, index, before, rounding), networks.classes)
    shared = index == 0 and before.lower.shape[1] == networks.plan.input_shape[0]
    return Layer(networks, index, _split(before, 1 if shared else networks.classes), missed)


def _split(x: Interval, classes: int) -> Interval:
    return Interval(_parted(x.lower, classes), _parted(x.upper, classes))


def _parted(x: Tensor, classes: int) -> Tensor:
    """Arranged samples as (C or 1, B, *shape)."""
    if x.ndim == 4:
        maps: Tensor = x.unflatten(1, (classes, -1)).transpose(0, 1)
        return maps
    return x if x.ndim == 3 else x[None]


# --- upper bounds -------------------------------------------------------------------------------------------------


def upper_bound(bounds: LinearBounds, of_vulnerable: float, of_robust: float, steps: int = 0) -> Tensor:
    """Upper bound of ½ (a ‖μ_v‖² − b ‖μ_r‖²) over each ball, (C, B).

    Args:
        bounds: of the encoders over the balls.
        of_vulnerable: a, 0 or more.
        of_robust: b, 0 or more.
        steps: that change slopes and tangents; 0: α = 0, and tangents at the points nearest to 0.
    """
    robust = bounds.means.robust
    tangents = torch.zeros_like(robust.lower).clamp(robust.lower, robust.upper)
    slopes = [_start(layer, len(tangents)) for layer in bounds.layers if layer.unstable]
    free = [value.clone().requires_grad_() for value in (*slopes, tangents)]
    best = tangents.new_full(tangents.shape[:2], torch.inf)
    for step in range(steps + 1):
        with torch.enable_grad():
            above = _above(bounds, of_vulnerable, of_robust, free[-1], free[:-1])
            total = above.sum()
        best = torch.minimum(best, above.detach())
        if step < steps:
            _improve(free, total, DECAY**step)
    return best


def log_ratio_above(bounds: LinearBounds) -> Tensor:
    """Upper bound of log P_r^c − log P_v^c over each ball, (C, B), differentiable in the weights."""
    robust, vulnerable = bounds.means.robust, bounds.means.vulnerable
    tangents = torch.zeros_like(robust.lower).clamp(robust.lower, robust.upper)
    slopes = [_start(layer, len(tangents)) for layer in bounds.layers if layer.unstable]
    constant = 0.5 * LOG_2PI * (vulnerable.lower.shape[-1] - robust.lower.shape[-1])
    return _above(bounds, 1, 1, tangents, slopes) + constant


def _improve(free: Sequence[Tensor], total: Tensor, share: float) -> None:
    """Move slopes, which stay in [0, 1], and tangents by the signs of the gradients of a total."""
    gradients = torch.autograd.grad(total, free, materialize_grads=True)
    with torch.no_grad():
        for number, (value, gradient) in enumerate(zip(free, gradients, strict=True)):
            last = number == len(free) - 1
            value.sub_(share * (STEP_OF_TANGENTS if last else STEP_OF_SLOPES) * gradient.sign())
            if not last:
                value.clamp_(0, 1)


def _start(layer: Layer, classes: int) -> Tensor:
    """No slope, for each class of its own."""
    return torch.zeros_like(layer.before.lower).expand(classes, *layer.before.lower.shape[1:])


def _above(bounds: LinearBounds, a: float, b: float, tangents: Tensor, slopes: Sequence[Tensor]) -> Tensor:
    """`upper_bound` at given tangents and slopes."""
    vulnerable = bounds.means.vulnerable
    constant = 0.5 * (b * tangents.square().sum(-1) - a * (vulnerable.lower * vulnerable.upper).sum(-1))
    size = b * tangents.square().sum(-1) + a * vulnerable.magnitude.square().sum(-1)
    coefficients = torch.cat([-b * tangents, a * vulnerable.middle], -1)
    coefficients = F.pad(coefficients, (0, bounds.width - coefficients.shape[-1]))
    return constant + OF_FLOAT64 * size + linear_maximum(bounds.layers, coefficients, slopes)


def linear_maximum(layers: Sequence[Layer], coefficients: Tensor, slopes: Sequence[Tensor]) -> Tensor:
    """Upper bound of a linear function of what the last layer gives, (C, B).

    Args:
        layers: at least one; the last is linear.
        coefficients: (C, B, outputs).
        slopes: α of each ReLU, in [0, 1], (C, B, *shape).
    """
    left, total = list(slopes), coefficients.new_zeros(coefficients.shape[:2])
    for layer in reversed(layers):
        if not _passes(layer):
            break
        match layer.operation:
            case Conv() | Dense():
                total = total + _of_constants(layer, coefficients)
                coefficients = _transposed(layer, coefficients)
            case Reshape():
                coefficients = coefficients.reshape(*coefficients.shape[:2], *layer.before.lower.shape[2:])
            case Activation():
                above, coefficients = _relaxed(layer.before, coefficients, left.pop())
                total = total + above
        box = layer.before
    return (
        total
        + _sum(coefficients.clamp_min(0) * box.upper + coefficients.clamp_max(0) * box.lower)
        + (OF_FLOAT64 * _sum(coefficients.abs() * box.magnitude))
    )


def _sum(terms: Tensor) -> Tensor:
    """Over all but class and image."""
    total: Tensor = terms.flatten(2).sum(-1)
    return total


def _passes(layer: Layer) -> bool:
    """Whether linear functions can go back through a layer."""
    folded = isinstance(layer.operation, BatchNorm) and layer.networks.normalises_alike(layer.index)
    return folded or layer.unstable or isinstance(layer.operation, Conv | Dense | Reshape)


def _of_constants(layer: Layer, coefficients: Tensor) -> Tensor:
    """What a linear layer's bias adds, and the most that its rounding adds.

    The latter is 2⁻²⁰ of |W| |x| + |b| or more, so that a thousandth of it covers the rounding of float64.
    """
    _, bias = layer.networks.weights(layer.index)
    bias = bias[:, None].unflatten(-1, (-1, *[1] * (coefficients.ndim - 3)))
    if layer.missed is None:
        return _sum(coefficients * bias)
    return _sum(coefficients * bias) + _sum(coefficients.abs() * layer.missed) * (1 + 2.0**-10)


def _transposed(layer: Layer, coefficients: Tensor) -> Tensor:
    """Of a layer's input, from those of its result: Wᵀ A, (C, B, *shape), by sums of products."""
    weight, _ = layer.networks.weights(layer.index)
    if coefficients.dtype == torch.float32:
        products = layer.networks.products
        return _of_weight(layer, coefficients.to(products), weight.to(products)).float()
    return _of_weight(layer, coefficients, weight)


def _of_weight(layer: Layer, coefficients: Tensor, weight: Tensor) -> Tensor:
    if isinstance(layer.operation, Dense):
        return coefficients @ weight
    conv, own = layer.operation, len(weight) > 1
    assert isinstance(conv, Conv)
    maps = coefficients.transpose(0, 1).flatten(1, 2) if own else coefficients.flatten(0, 1)
    found = F.conv_transpose2d(maps, weight.flatten(0, 1), stride=conv.stride, groups=len(weight))
    (height, width), before = layer.before.lower.shape[-2:], conv.padding[0]
    below, right = max(0, height + before - found.shape[-2]), max(0, width + before - found.shape[-1])
    found = F.pad(found, (0, right, 0, below))[..., before : before + height, before : before + width]
    by_class: Tensor = (
        found.unflatten(1, (len(weight), -1)).transpose(0, 1) if own else (found.unflatten(0, coefficients.shape[:2]))
    )
    return by_class


def _relaxed(before: Interval, coefficients: Tensor, slope: Tensor) -> tuple[Tensor, Tensor]:
    """A linear function of a ReLU's result, from above, as a constant (C, B) and coefficients of its input."""
    lower, upper = before.lower, before.upper
    bends = (lower < 0) & (upper > 0)
    on = (lower >= 0).to(lower)
    chord = torch.where(bends, upper / torch.where(bends, upper - lower, 1.0), on)
    least = torch.where(bends, slope, on)
    positive, negative = coefficients.clamp_min(0), coefficients.clamp_max(0)
    constant = _sum(positive * torch.where(bends, -lower * chord, 0.0))
    rounding = OF_FLOAT64 * _sum(coefficients.abs() * before.magnitude)
    return constant + rounding, positive * chord + negative * least
