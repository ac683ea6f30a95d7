"""Bounds hold for all images of a ball, and are attained where they are exact: other computations are the oracle.

A library of bounds is none of them: auto_LiRPA 0.3, the release that pip finds, wants torch below 1.13, NumPy 1 and
torchvision. The true maximum of small networks comes from a mixed-integer program instead.
"""

import numpy as np
import pytest
import torch
from scipy.optimize import Bounds, LinearConstraint, milp
from torch import Tensor, nn
from torch.func import functional_call

from twinlatent import zoo
from twinlatent.errors import TwinlatentError
from twinlatent.method.bounds import (
    FLOAT32,
    Interval,
    LatentBounds,
    ball,
    ball_in,
    bound_latents,
    bound_log_density,
    bound_log_ratio,
    bound_network,
    in_float64,
    squared_distance,
)
from twinlatent.method.certificate import bound_outputs
from twinlatent.method.class_vaes import ClassEncoders, ClassNetworks
from twinlatent.method.convolutions import WIDE_KERNEL
from twinlatent.method.densities import log_standard_normal
from twinlatent.method.detector import Detector
from twinlatent.method.notation import parse
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

CLASSES, EPSILON = 3, 0.1

ENCODERS = [  # notation, shape of an image; without a bar and with one
    ("3(c(4,3)) z(2,2)", (1, 8, 8)),
    ("c(4,3) c(3,4) | z(2,1)", (1, 8, 8)),
    ("c(3,4,2)-bn-relu | c(3,3,1)-bn d(5)-bn-relu z(2,2)", (1, 7, 7)),
    ("bn c(3,3)-bn-relu-mp(2) | bn z(2,2)", (2, 8, 8)),
    ("2(cv(3,3,1)) mp(2) d(6) z(1,1)", (1, 8, 8)),
    ("d(9) | d(6) z(2,2)", (1, 6, 6)),
    ("ramp(2) c(3,4) | c(3,2) ramp(3) z(2,1)", (2, 6, 6)),
    ("c(3,8,1) c(8,2,1) | c(8,1,1) z(1,1)", (1, 6, 6)),  # wide: by spectra, and with few channels without
    ("c(3,8,1) c(8,3,1)-bn-relu cv(3,2,2) z(1,1)", (1, 6, 6)),
]  # fmt: skip
DECODERS = [("d(9) ct(3,4) d(64)", (3,)), ("d(9)-bn-relu ct(2,3,1)-bn d(36)", (3,)), ("d(16)", (2,))]


def moved(networks: nn.Module, seed: int = 5) -> nn.Module:
    """With statistics, scales and shifts that are no identity, in evaluation mode."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for value in [*networks.buffers(), *networks.parameters()]:
            value.add_(0.2 * torch.rand(value.shape, generator=generator))
    return networks.eval()


def encoders_of(text: str, shape: Shape) -> ClassEncoders:
    return moved(ClassEncoders(plan(text, shape, "encoder"), CLASSES, torch.Generator().manual_seed(0)))  # type: ignore[return-value]


def networks_of(text: str, shape: Shape) -> ClassNetworks:
    role = "decoder" if len(shape) == 1 else "encoder"
    return moved(ClassNetworks(plan(text, shape, role), CLASSES, torch.Generator().manual_seed(0)))  # type: ignore[return-value]


def means_of(encoders: ClassEncoders, images: Tensor) -> Tensor:
    latents = encoders(images)
    return torch.cat([latents.robust.mean, latents.vulnerable.mean], -1)


def joined(bounds: LatentBounds) -> Interval:
    return Interval(torch.cat([bounds.robust.lower, bounds.vulnerable.lower], -1),
                    torch.cat([bounds.robust.upper, bounds.vulnerable.upper], -1))  # fmt: skip


def inside(values: Tensor, bounds: Interval, tolerance: float = 1e-9) -> bool:
    return bool((values >= bounds.lower - tolerance).all() and (values <= bounds.upper + tolerance).all())


def points_of(box: Interval, count: int, seed: int = 1) -> Tensor:
    """Points of a box of one sample: half of them corners, half anywhere, (count, *sample)."""
    generator = torch.Generator().manual_seed(seed)
    share = torch.rand(count, *box.lower.shape, generator=generator, dtype=box.lower.dtype)
    share[: count // 2] = share[: count // 2].round()
    return torch.minimum(box.lower + share * (box.upper - box.lower), box.upper)


# --- soundness ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("text", "shape"), ENCODERS, ids=[row[0] for row in ENCODERS])
def test_ten_thousand_points_of_a_ball_are_inside(text: str, shape: Shape, real_images) -> None:
    encoders = in_float64(encoders_of(text, shape))
    box = ball(real_images(1, shape[1:], shape[0]).double(), EPSILON)
    bounds = joined(bound_latents(encoders, box))
    values = means_of(encoders, points_of(box[0], 10_000)).detach()
    assert inside(values, bounds)
    share = (values.amax(1) - values.amin(1)) / (bounds.upper - bounds.lower)[:, 0]
    assert share.nanmean() > 0.02, "bounds that hold whatever the network says would hold too"


@pytest.mark.parametrize(("text", "shape"), DECODERS, ids=[row[0] for row in DECODERS])
def test_so_are_those_of_decoders(text: str, shape: Shape) -> None:
    decoders = networks_of(text, shape).double()
    middle = torch.randn(1, *shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    box = Interval(middle - EPSILON, middle + EPSILON)
    bounds = bound_network(decoders, box)
    assert inside(decoders(points_of(box[0], 10_000)).detach(), bounds)
    assert bounds.lower.min() >= 0
    assert bounds.upper.max() <= 1


@pytest.mark.parametrize(("text", "shape"), ENCODERS, ids=[row[0] for row in ENCODERS])
def test_points_that_push_an_output_up_or_down_are_inside(text: str, shape: Shape, real_images) -> None:
    """Each class moves images of its own, by signs of gradients, towards one end of one output."""
    encoders = in_float64(encoders_of(text, shape)).requires_grad_(False)
    images = real_images(2, shape[1:], shape[0]).double()
    box = ball(images, EPSILON)
    bounds = joined(bound_latents(encoders, box))
    start = means_of(encoders, images)
    for output in range(bounds.lower.shape[-1]):
        for sign in (1, -1):
            x = images.expand(CLASSES, *images.shape).clone()
            for step in range(8):
                x.requires_grad_()
                (gradient,) = torch.autograd.grad(means_of(encoders, x)[..., output].sum(), x)
                x = (x.detach() + sign * EPSILON / (1 + step / 2) * gradient.sign()).clamp(box.lower, box.upper)
            found = means_of(encoders, x)
            assert inside(found, bounds)
            assert (sign * (found - start)[..., output]).mean() > 0


# --- exactness ----------------------------------------------------------------------------------------------------

LINEAR: list[tuple[tuple[Operation, ...], Shape, Shape]] = [
    ((Conv(2, 3, 3, 1, (1, 1)),), (2, 6, 6), (3, 6, 6)),
    ((Conv(1, 3, 4, 2, (1, 1)),), (1, 6, 6), (3, 3, 3)),
    ((Conv(2, 2, 3, 1, (0, 0)),), (2, 6, 6), (2, 4, 4)),
    ((Conv(2, 2, WIDE_KERNEL, 1, (3, 4)),), (2, 6, 6), (2, 6, 6)),
    ((Conv(8, 2, WIDE_KERNEL, 1, (3, 4)),), (8, 5, 5), (2, 5, 5)),
    ((Conv(8, 1, WIDE_KERNEL, 1, (0, 0)),), (8, 9, 9), (1, 2, 2)),
    ((Conv(2, 3, 3, 1, (1, 1)), BatchNorm(3)), (2, 6, 6), (3, 6, 6)),
    ((Deconv(3, 2, 4, 2, 1),), (3, 3, 3), (2, 6, 6)),
    ((Deconv(3, 2, 3, 1, 1), BatchNorm(2)), (3, 4, 4), (2, 4, 4)),
    ((Dense(7, 4),), (7,), (4,)),
    ((Dense(7, 4), BatchNorm(4)), (7,), (4,)),
    ((BatchNorm(5),), (5,), (5,)),
    ((BatchNorm(2),), (2, 3, 3), (2, 3, 3)),
    ((Reshape((18,)), Dense(18, 3)), (2, 3, 3), (3,)),
    ((Dense(4, 8), Reshape((2, 2, 2))), (4,), (2, 2, 2)),
]


@pytest.mark.parametrize("shared", [True, False], ids=["the same for all", "each its own"])
@pytest.mark.parametrize(("operations", "before", "after"), LINEAR, ids=[str(row[0])[:60] for row in LINEAR])
def test_linear_layers_are_exact(operations, before: Shape, after: Shape, shared: bool) -> None:
    """A linear function's largest value over a box is that of the corner that the signs of its coefficients say."""
    layers = Plan(parse("bn"), "encoder", before, after, operations, None)
    networks = moved(ClassNetworks(layers, CLASSES, torch.Generator().manual_seed(0))).double()  # type: ignore[operator]
    generator = torch.Generator().manual_seed(3)
    lead = (2,) if shared else (CLASSES, 2)
    lower = torch.randn(*lead, *before, generator=generator, dtype=torch.float64)
    box = Interval(lower, lower + torch.rand(lower.shape, generator=generator, dtype=torch.float64))
    size = int(np.prod(before))
    units = torch.cat([torch.zeros(1, size), torch.eye(size)]).double().unflatten(1, before)
    values = networks(units).detach().flatten(2)  # (C, 1 + size, outputs)
    offset, coefficients = values[:, :1], values[:, 1:] - values[:, :1]
    ends = [end.flatten(-len(before)).expand(CLASSES, 2, size) for end in (box.lower, box.upper)]
    up = ends[1] @ coefficients.clamp_min(0) + ends[0] @ coefficients.clamp_max(0) + offset
    down = ends[0] @ coefficients.clamp_min(0) + ends[1] @ coefficients.clamp_max(0) + offset
    bounds = bound_network(networks, box)
    torch.testing.assert_close(bounds.upper.flatten(2), up, atol=1e-10, rtol=1e-10)
    torch.testing.assert_close(bounds.lower.flatten(2), down, atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize(
    "operation", [Activation("relu"), Activation("leaky"), Activation("sigmoid"), Pool(2)], ids=str
)
def test_functions_that_rise_are_exact(operation: Operation) -> None:
    after = (2, 2, 2) if isinstance(operation, Pool) else (2, 4, 4)
    networks = ClassNetworks(Plan(parse("bn"), "encoder", (2, 4, 4), after, (operation,), None), CLASSES)
    lower = torch.randn(2, 2, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    bounds = bound_network(networks, Interval(lower, lower + 0.5))
    assert torch.equal(bounds.lower, networks(lower.clone()))
    assert torch.equal(bounds.upper, networks(lower + 0.5))


# --- against other computations -----------------------------------------------------------------------------------


def by_sign(layer: nn.Module, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
    """A layer's interval in another way: positive weights take one end, negative ones the other."""
    if isinstance(layer, nn.Conv2d | nn.Linear | nn.ConvTranspose2d):
        plus, minus = ({"weight": part, "bias": layer.bias / 2}
                       for part in (layer.weight.clamp_min(0), layer.weight.clamp_max(0)))  # fmt: skip
        return (functional_call(layer, plus, lower) + functional_call(layer, minus, upper),
                functional_call(layer, plus, upper) + functional_call(layer, minus, lower))  # fmt: skip
    ends = layer(lower), layer(upper)  # a negative scale turns them round
    return torch.minimum(*ends), torch.maximum(*ends)


@pytest.mark.parametrize(("text", "shape"), ENCODERS + DECODERS, ids=[row[0] for row in ENCODERS + DECODERS])
@torch.no_grad()
def test_bounds_are_those_of_each_network_by_itself(text: str, shape: Shape) -> None:
    networks = networks_of(text, shape).double()
    lower = torch.rand(2, *shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    bounds = bound_network(networks, Interval(lower, lower + EPSILON))
    for c in range(CLASSES):
        down, up = lower, lower + EPSILON
        layers = list(networks.single(c).double().layers)
        for i, layer in enumerate(layers):
            if isinstance(layer, nn.BatchNorm2d) and i and isinstance(layers[i - 1], nn.Conv2d):
                continue  # it was done with the convolution
            if i + 1 < len(layers) and isinstance(layer, nn.Conv2d) and isinstance(layers[i + 1], nn.BatchNorm2d):
                fused = nn.utils.fusion.fuse_conv_bn_weights(
                    layer.weight, layer.bias, layers[i + 1].running_mean, layers[i + 1].running_var,
                    layers[i + 1].eps, layers[i + 1].weight, layers[i + 1].bias)  # fmt: skip
                layer.weight, layer.bias = fused
            down, up = by_sign(layer, down, up)
        torch.testing.assert_close(bounds.lower[c], down, atol=1e-9, rtol=1e-9)
        torch.testing.assert_close(bounds.upper[c], up, atol=1e-9, rtol=1e-9)


def true_maximum(layers: list[tuple[np.ndarray, np.ndarray]], lower: np.ndarray, upper: np.ndarray) -> tuple:
    """Largest value of the only output of a small ReLU network over a box, and where, by a mixed-integer program.

    A unit h = max(a, 0) of a = W x + b in [-M, M] is h ≥ 0, h ≥ a, h ≤ a + M (1 − z), h ≤ M z, z 0 or 1.
    """
    large, sizes = 50.0, [len(lower), *(len(bias) for _, bias in layers[:-1])]
    units = sum(sizes[1:])
    total, place = sizes[0] + 2 * units, np.cumsum([0, *sizes])
    rows, limits = [], []
    for number, (weight, bias) in enumerate(layers[:-1]):
        for unit in range(len(bias)):
            h, z = place[number + 1] + unit, place[number + 1] + unit + units
            linear = np.zeros(total)
            linear[place[number] : place[number + 1]] = weight[unit]
            for of_h, of_z, of_linear, most in ((-1, 0, 1, -bias[unit]), (1, large, -1, bias[unit] + large),
                                                (1, -large, 0, 0)):  # fmt: skip
                row = of_linear * linear
                row[h] += of_h
                row[z] += of_z
                rows.append(row)
                limits.append(most)
    weight, bias = layers[-1]
    target = np.zeros(total)
    target[place[-2] : place[-1]] = -weight[0]
    box = Bounds(np.r_[lower, np.zeros(2 * units)], np.r_[upper, np.full(units, large), np.ones(units)])
    whole = np.r_[np.zeros(sizes[0] + units), np.ones(units)]
    found = milp(target, integrality=whole, bounds=box, constraints=LinearConstraint(np.array(rows), ub=limits))
    assert found.success
    return bias[0] - found.fun, found.x[: sizes[0]]


@pytest.mark.parametrize("seed", range(3))
@torch.no_grad()
def test_the_true_maximum_is_inside(seed: int) -> None:
    """The largest mean over a ball, known exactly: images reach it, the bound lies at or above it."""
    encoders = moved(ClassEncoders(plan("d(6) | d(5) z(1,1)", (1, 3, 3), "encoder"), 2,
                                   torch.Generator().manual_seed(seed)), seed).double()  # fmt: skip
    image = torch.rand(1, 1, 3, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    box = ball(image, 0.3)
    bounds = bound_latents(encoders, box)
    for c in range(2):
        first = (encoders.trunk.get_parameter("1_weight")[0], encoders.trunk.get_parameter("1_bias")[0])
        rest = [(encoders.networks.get_parameter(f"{i}_weight")[c], encoders.networks.get_parameter(f"{i}_bias")[c])
                for i in (0, 2)]  # fmt: skip
        layers = [(weight.numpy(), bias.numpy()) for weight, bias in (first, *rest)]
        most, where = true_maximum(layers, box.lower.flatten().numpy(), box.upper.flatten().numpy())
        reached = encoders(torch.from_numpy(where).view(1, 1, 3, 3)).robust.mean[c, 0, 0].item()
        assert reached == pytest.approx(most, abs=1e-6)
        assert bounds.robust.upper[c, 0, 0] >= most - 1e-6
        assert bounds.robust.lower[c, 0, 0] <= most


# --- of the means -------------------------------------------------------------------------------------------------


def test_distances_and_densities_are_exact(generator) -> None:
    """The nearest point of a box is the clamped one, the farthest a corner."""
    lower = torch.randn(2, 5, 3, generator=generator, dtype=torch.float64)
    mean = Interval(lower, lower + torch.rand(lower.shape, generator=generator, dtype=torch.float64))
    point = torch.randn(2, 1, 3, generator=generator, dtype=torch.float64)
    signs = torch.tensor([[i >> k & 1 for k in range(3)] for i in range(8)], dtype=torch.bool)
    corners = torch.where(signs[:, None, None], mean.upper, mean.lower)  # (8, 2, 5, 3)

    squares = squared_distance(mean, point)
    torch.testing.assert_close(squares.upper, (corners - point).square().sum(-1).amax(0))
    near = torch.minimum(torch.maximum(point.expand_as(lower), mean.lower), mean.upper)
    torch.testing.assert_close(squares.lower, (near - point).square().sum(-1))

    density = bound_log_density(mean)
    torch.testing.assert_close(density.lower, log_standard_normal(corners).amin(0))
    torch.testing.assert_close(
        density.upper, log_standard_normal(torch.zeros_like(lower).clamp(mean.lower, mean.upper))
    )

    other = Interval(mean.lower[..., :2], mean.upper[..., :2])
    ratio = bound_log_ratio(LatentBounds(mean, other))
    of_other = bound_log_density(other)
    torch.testing.assert_close(ratio.lower, density.lower - of_other.upper)
    torch.testing.assert_close(ratio.upper, density.upper - of_other.lower)


def test_a_ball_is_cut_with_the_box() -> None:
    box = ball(torch.tensor([0.0, 0.05, 0.5, 1.0], dtype=torch.float64), 0.1)
    torch.testing.assert_close(box.lower, torch.tensor([0.0, 0.0, 0.4, 0.9], dtype=torch.float64))
    torch.testing.assert_close(box.upper, torch.tensor([0.1, 0.15, 0.6, 1.0], dtype=torch.float64))


@pytest.mark.parametrize("text", ["c(3,4)-bn-relu z(2,2)", "c(3,4) | d(5)-bn z(2,2)"])
def test_batch_norm_in_training_has_no_bounds(text: str, real_images) -> None:
    encoders = encoders_of(text, (1, 8, 8))
    bound_latents(encoders, ball(real_images(2), 0.1))
    with pytest.raises(TwinlatentError, match="evaluation mode only"):
        bound_latents(encoders.train(), ball(real_images(2), 0.1))


def test_bounds_have_gradients(real_images) -> None:
    encoders = encoders_of("c(4,3) | z(2,2)", (1, 8, 8))
    bound_log_ratio(bound_latents(encoders, ball(real_images(2), 0.1))).upper.sum().backward()
    for networks in (encoders.trunk, encoders.networks):
        assert networks.get_parameter("0_weight").grad.abs().sum() > 0


# --- rounding -----------------------------------------------------------------------------------------------------


def outside(values: Tensor, bounds: Interval) -> int:
    """How many float32 numbers are not between two float64 ones."""
    return int(((values.double() < bounds.lower) | (values.double() > bounds.upper)).sum())


@pytest.mark.parametrize("name", ["digits", "mnist-mim", "fashion-mnist5-mim", "cats-dogs-mim"])
@torch.no_grad()
def test_what_a_detector_computes_is_inside_its_bounds_of_a_single_image(
    name: str, trained_detector: Detector, digits, real_images
) -> None:
    """All of it, from the means to the suspicion, in float32; bounds without rounding are left."""
    detector = trained_detector if name == "digits" else zoo.load(name)
    count = 2 if name == "cats-dogs-mim" else 20
    images = real_images(count, detector.image_shape[-1], detector.image_shape[0]).clamp(0, 1)
    encoders, box = in_float64(detector.encoders), ball(images.double(), 0)
    latents = bound_latents(encoders, box, FLOAT32)
    assert not outside(means_of(detector.encoders, images), joined(latents))
    assert outside(means_of(detector.encoders, images), joined(bound_latents(encoders, box)))
    of_ball = joined(bound_latents(encoders, ball(images.double(), 0.02), FLOAT32))
    assert (joined(latents).radius < 0.05 * of_ball.radius).all(), "rounding counts for little beside a small radius"
    for rule in ("nearest_mean", "density", "ratio"):
        for score in ("vulnerable", "joint", "ratio"):
            answering = detector.using(label_rule=rule, score=score)
            bounds, said = bound_outputs(answering, latents), answering.outputs(images)
            assert not outside(said.logits, bounds.logits)
            assert not outside(said.suspicion, bounds.suspicion)


def dense_of(weight: Tensor, bias: Tensor) -> ClassNetworks:
    """One dense layer of float32 weights (outputs, inputs)."""
    outputs, inputs = weight.shape
    layer = Plan(parse("bn"), "encoder", (inputs,), (outputs,), (Dense(inputs, outputs),), None)
    networks = ClassNetworks(layer, 1, torch.Generator())
    networks.load_state_dict({"0_weight": weight[None], "0_bias": bias[None]})
    return networks.requires_grad_(False).eval()


def in_turn(products: Tensor, start: Tensor) -> Tensor:
    """Sum over the last dimension one after another, in float32."""
    total = start.clone()
    for k in range(products.shape[-1]):
        total += products[..., k]
    return total


def cancelling(generator: torch.Generator, outputs: int = 50, inputs: int = 300) -> tuple[Tensor, Tensor, Tensor]:
    """Weights of all sizes whose products cancel: each sum is far smaller than what it is made of."""
    weight = torch.randn(outputs, inputs // 2, generator=generator).sign() * torch.exp2(
        20 * torch.rand(outputs, inputs // 2, generator=generator))  # fmt: skip
    x = torch.rand(inputs // 2, generator=generator)
    small = torch.randn(outputs, generator=generator)
    return torch.cat([weight, -weight], 1), torch.cat([x, x]), small


def test_sums_that_cancel_are_inside_in_any_order(generator) -> None:
    """Shuffled, sorted up and down: float32 sums differ far more than they are large, and stay inside."""
    weight, x, bias = cancelling(generator)
    networks = dense_of(weight, bias)
    exact = dense_of(weight, bias).double()
    point = Interval(x[None].double(), x[None].double())
    bounds = bound_network(exact, point, FLOAT32)
    plain = bound_network(exact, point)
    products = weight * x
    orders = [torch.randperm(len(x), generator=generator) for _ in range(20)]
    sums = [networks(x[None])[0, 0]]
    for order in orders:
        shuffled = dense_of(weight[:, order], bias)
        sums += [shuffled(x[None, order])[0, 0], in_turn(products[:, order], bias)]
    for sorting in (products, -products, products.abs(), -products.abs()):
        sums.append(in_turn(products.gather(1, sorting.argsort(1)), bias))
    assert not any(outside(values[None, None], bounds) for values in sums)
    assert sum(outside(values[None, None], plain) for values in sums) > len(sums)
    spread = torch.stack(sums)
    assert (spread.amax(0) - spread.amin(0) > 0.01 * bounds.radius[0, 0] * 0.1).any(), "no order is bad at all"


@pytest.mark.parametrize("after", [(), (BatchNorm(3),)], ids=["conv", "conv and bn"])
@pytest.mark.parametrize(
    "conv", [Conv(1, 3, 4, 2, (1, 1)), Conv(16, 3, 3, 1, (1, 1)), Conv(8, 3, 9, 1, (4, 4))], ids=str
)
def test_convolutions_that_cancel_are_inside(conv: Conv, after: tuple[Operation, ...], generator) -> None:
    side = -(-10 // conv.stride)
    layers = Plan(parse("bn"), "encoder", (conv.inputs, 10, 10), (3, side, side), (conv, *after), None)
    networks = ClassNetworks(layers, 2, generator).requires_grad_(False).eval()
    networks.get_parameter("0_weight").mul_(torch.exp2(12 * torch.rand(conv.kernel, generator=generator)))
    networks.get_parameter("0_bias").add_(3e4)
    if after:  # the mean takes away what the bias adds
        networks.get_buffer("1_running_mean").add_(3e4)
        networks.get_buffer("1_running_var").mul_(1e-6)
    images = torch.rand(20, conv.inputs, 10, 10, generator=generator)
    exact = ClassNetworks(layers, 2).double().eval()
    exact.load_state_dict({name: value.double() for name, value in networks.state_dict().items()})
    point = Interval(images.double(), images.double())
    assert not outside(networks(images), bound_network(exact, point, FLOAT32))
    assert outside(networks(images), bound_network(exact, point))


@pytest.mark.parametrize("operations", [(BatchNorm(3),), (Ramp(3, 2),), (Activation("leaky"),),
                                        (Activation("sigmoid"),), (Deconv(3, 2, 4, 2, 1),),
                                        (Dense(3, 4), BatchNorm(4))], ids=str)  # fmt: skip
def test_other_layers_are_inside(operations: tuple[Operation, ...], generator) -> None:
    before: Shape = (3,) if isinstance(operations[0], Dense) else (3, 4, 4)
    after: Shape = {Deconv: (2, 8, 8), Dense: (4,), Ramp: (6, 4, 4)}.get(type(operations[0]), before)
    networks = moved(ClassNetworks(Plan(parse("bn"), "encoder", before, after, operations, None), 2, generator))
    x = 30 * torch.randn(200, *before, generator=generator)
    point, exact = Interval(x.double(), x.double()), networks.double()
    found = networks.float()(x.clone())
    exact = networks.double()
    assert not outside(found, bound_network(exact, point, FLOAT32))
    assert outside(found, bound_network(exact, point))


def test_numbers_too_small_for_float32_are_inside(generator) -> None:
    """Also where the processor takes them for 0."""
    weight, x = 1e-30 * torch.rand(5, 9, generator=generator), 1e-9 * torch.rand(3, 9, generator=generator)
    networks = dense_of(weight, torch.zeros(5))
    exact = dense_of(weight, torch.zeros(5)).double()
    bounds = bound_network(exact, Interval(x.double(), x.double()), FLOAT32)
    found = [networks(x)]
    if torch.set_flush_denormal(True):
        found.append(networks(x))
        torch.set_flush_denormal(False)
    assert not any(outside(values, bounds) for values in found)
    assert bounds.upper.max() < 1e-25


@torch.no_grad()
def test_numbers_that_may_be_too_large_have_no_bounds(real_images) -> None:
    encoders = encoders_of("c(4,3) | d(4) z(2,2)", (1, 8, 8))
    encoders.trunk.get_parameter("0_weight").mul_(1e30)
    bounds = bound_latents(in_float64(encoders), ball(real_images(2).double(), 0.1), FLOAT32)
    density = bound_log_density(bounds.vulnerable, FLOAT32)
    assert not (density.lower.isfinite() | density.upper.isfinite()).any()


def test_nor_have_sums_that_leave_the_range_on_their_way() -> None:
    """float32 says infinity, or NaN, of a sum of 2e38, 2e38 and −4e38, which is 0."""
    weight, x = torch.tensor([[2e38, 2e38, -2e38, -2e38]]), torch.ones(1, 4)
    assert not in_turn(weight * x, torch.zeros(1)).isfinite().all()
    bounds = bound_network(dense_of(weight, torch.zeros(1)).double(), Interval(x.double(), x.double()), FLOAT32)
    assert not (bounds.lower.isfinite() | bounds.upper.isfinite()).any()


def test_small_products_that_are_all_lost_are_inside() -> None:
    """1 and then 4,096 times 0.9 u, of which no sum keeps anything: nearly the worst that a sum of so many can do."""
    weight, bias, x = torch.full((1, 4096), 0.9 * FLOAT32), torch.ones(1), torch.ones(1, 4096)
    found = in_turn(weight * x, bias)
    assert found.item() == 1
    bounds = bound_network(dense_of(weight, bias).double(), Interval(x.double(), x.double()), FLOAT32)
    assert not outside(found[None, None], bounds)
    assert (found - bounds.lower).item() < 0.2 * (bounds.upper - bounds.lower).item(), "it is near the end"


def test_noise_of_spectra_is_inside_where_an_image_is_dark(generator) -> None:
    """A convolution by spectra says a little more or less than 0 where its kernel sees nothing."""
    conv = Conv(8, 3, WIDE_KERNEL, 1, (3, 4))
    networks = ClassNetworks(Plan(parse("bn"), "encoder", (8, 28, 28), (3, 28, 28), (conv,), None), 2, generator)
    networks.requires_grad_(False).get_parameter("0_bias").zero_()
    images = torch.rand(4, 8, 28, 28, generator=generator)
    images[..., :14, :] = 0
    found, point = networks(images), Interval(images.double(), images.double())
    assert found[..., :5, :].abs().max() > 0
    assert not outside(found, bound_network(networks.double(), point, FLOAT32))


@pytest.mark.parametrize(("inputs", "kernel", "stride"), [(1, 4, 2), (1, 3, 1), (32, 3, 1), (64, 3, 1), (32, 4, 2),
                                                          (32, 5, 1), (1, 12, 1), (32, 1, 1)])  # fmt: skip
@pytest.mark.parametrize("batch", [1, 32])
@torch.no_grad()
def test_convolutions_here_are_sums_of_products(inputs: int, kernel: int, stride: int, batch: int, generator) -> None:
    """What lies outside a kernel's reach adds nothing, not even rounding as by Winograd's way or Fourier's."""
    missing = kernel - stride
    conv = Conv(inputs, 32, kernel, stride, (missing // 2, missing - missing // 2))
    side, dark = 28 // stride, 14
    networks = ClassNetworks(
        Plan(parse("bn"), "encoder", (inputs, 28, 28), (32, side, side), (conv,), None), 1, generator
    )
    networks.get_parameter("0_bias").zero_()
    images = torch.randn(batch, inputs, 28, 28, generator=generator)
    images[..., :dark, :] = 0
    untouched = (dark - kernel + missing // 2) // stride + 1  # rows whose kernel ends in the dark
    found = networks(images)[0]
    assert found[:, :, :untouched].eq(0).all()
    assert found[:, :, untouched].ne(0).any()


# --- in L2 ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", ["c(3,4) | d(5) z(2,2)", "d(9) z(2,2)", "c(4,3,2) c(3,2) z(1,1)", "ramp(2) d(5) z(1,1)"]
)
def test_points_of_a_round_ball_are_inside(text: str, real_images) -> None:
    """Also those that push an output up or down; and the bounds are tighter than those of the box, but for a ramp."""
    encoders = in_float64(encoders_of(text, (1, 8, 8))).requires_grad_(False)
    images, epsilon = real_images(2).double(), 0.3
    bounds = joined(bound_latents(encoders, ball_in("l2", images, epsilon)))
    box = joined(bound_latents(encoders, ball(images, epsilon)))
    generator = torch.Generator().manual_seed(0)
    for index in range(2):
        noise = torch.randn(2000, *images.shape[1:], generator=generator, dtype=torch.float64)
        points = (images[index] + epsilon * noise / noise.flatten(1).norm(dim=1)[:, None, None, None]).clamp(0, 1)
        only = Interval(bounds.lower[:, index : index + 1], bounds.upper[:, index : index + 1])
        assert inside(means_of(encoders, points).detach(), only)
    for output in range(bounds.lower.shape[-1]):
        x = images.expand(CLASSES, *images.shape).clone()
        for _ in range(5):
            x.requires_grad_()
            (gradient,) = torch.autograd.grad(means_of(encoders, x)[..., output].sum(), x)
            step = gradient / gradient.flatten(2).norm(dim=2).clamp_min(1e-12)[..., None, None, None]
            x = (images + epsilon * step).clamp(0, 1)
        assert inside(means_of(encoders, x).detach(), bounds)
    width, before = (bounds.upper - bounds.lower).mean(), (box.upper - box.lower).mean()
    assert width == before if "ramp" in text else width < 0.8 * before


def test_a_dense_layer_in_a_round_ball_is_exact() -> None:
    """Where the box does not cut: a row's norm times the radius, either way."""
    encoders = in_float64(encoders_of("z(2,2)", (1, 6, 6)))
    images = torch.full((1, 1, 6, 6), 0.5, dtype=torch.float64)
    bounds = joined(bound_latents(encoders, ball_in("l2", images, 0.2)))
    weight = encoders.networks.get_parameter("1_weight")[:, : bounds.lower.shape[-1]]
    torch.testing.assert_close(bounds.radius[:, 0], 0.2 * weight.norm(dim=2), rtol=1e-6, atol=0)
    torch.testing.assert_close(bounds.middle[:, 0], means_of(encoders, images)[:, 0], rtol=1e-9, atol=1e-9)
