"""Linear bounds hold for every image of a ball, in float32 too, and are never above those of intervals."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from twinlatent.data import Split
from twinlatent.method.bounds import (
    FLOAT32,
    PIXEL_ROUNDING,
    Interval,
    ball,
    bound_latents,
    bound_log_ratio,
    in_float64,
    squared_distance,
)
from twinlatent.method.certificate import certify, tighter_outputs
from twinlatent.method.class_vaes import ClassEncoders
from twinlatent.method.densities import LOG_2PI
from twinlatent.method.detector import Detector
from twinlatent.method.linear_bounds import LinearBounds, linear_bounds, linear_maximum, log_ratio_above, upper_bound
from twinlatent.method.plans import Shape, plan

CLASSES, EPSILON = 3, 0.1
ENCODERS = [  # notation, shape of an image
    ("3(c(4,3)) z(2,2)", (1, 8, 8)),
    ("c(4,3) c(3,4) | z(2,1)", (1, 8, 8)),
    ("c(3,4,2)-bn-relu | c(3,3,1)-bn-relu d(5) z(2,2)", (1, 7, 7)),
    ("c(3,4,3) cv(2,3,1) | cv(2,3,1) z(1,2)", (2, 8, 8)),
    ("bn c(3,3)-relu-mp(2) | c(3,3,2) d(5)-bn-relu z(2,2)", (2, 8, 8)),  # the last layers alone
    ("ramp(2) c(4,4) | d(6) z(2,2)", (1, 8, 8)),
    ("d(9) | d(6) z(2,2)", (1, 6, 6)),
    ("z(2,2)", (1, 4, 4)),
    ("cv(2,3,2) | c(2,3,3) z(1,1)", (1, 9, 9)),  # pixels that no kernel reaches
    ("c(3,8,1) c(8,3,1) | z(1,1)", (1, 6, 6)),  # by spectra
    ("c(4,3) c(8,4,1) | z(2,1)", (3, 6, 10)),  # of colours, wider than high
]
WEIGHTS = [(1, 1), (1, 0), (0, 1)]


def encoders_of(text: str, shape: Shape) -> ClassEncoders:
    """With statistics, scales and shifts that are no identity, in evaluation mode."""
    encoders = ClassEncoders(plan(text, shape, "encoder"), CLASSES, torch.Generator().manual_seed(0))
    with torch.no_grad():
        for seed, value in enumerate([*encoders.buffers(), *encoders.parameters()]):
            value.add_(0.1 * torch.randn(value.shape, generator=torch.Generator().manual_seed(seed)).abs())
    return encoders.requires_grad_(False).eval()


def value_of(encoders: ClassEncoders, images: Tensor, a: float, b: float) -> Tensor:
    """½ (a ‖μ_v‖² − b ‖μ_r‖²) of computed means, in float64."""
    latents = encoders(images)
    squares = [means.double().square().sum(-1) for means in (latents.vulnerable.mean, latents.robust.mean)]
    return 0.5 * (a * squares[0] - b * squares[1])


def of_intervals(encoders: ClassEncoders, box: Interval, a: float, b: float) -> Tensor:
    means = bound_latents(encoders, box, FLOAT32)
    return 0.5 * (a * squared_distance(means.vulnerable).upper - b * squared_distance(means.robust).lower)


def made(text: str, shape: Shape, images: Tensor) -> tuple[ClassEncoders, Interval, LinearBounds]:
    encoders = encoders_of(text, shape)
    box = ball(images.double(), EPSILON)
    return encoders, box, linear_bounds(in_float64(encoders), box, FLOAT32)


def points_of(box: Interval, count: int) -> Tensor:
    """float32 points of a box of one image: half of them corners."""
    generator = torch.Generator().manual_seed(1)
    share = torch.rand(count, *box.lower.shape[1:], generator=generator)
    share[: count // 2] = share[: count // 2].round()
    lower, upper = box.lower.float(), box.upper.float()
    points = torch.minimum(lower + share * (upper - lower), upper)
    return points.double().clamp(box.lower, box.upper).float()


@pytest.mark.parametrize(("a", "b"), WEIGHTS)
@pytest.mark.parametrize(("text", "shape"), ENCODERS, ids=[row[0] for row in ENCODERS])
def test_points_of_a_ball_are_below(text: str, shape: Shape, a: float, b: float, real_images) -> None:
    """In float32, without any tolerance; also after some steps, which only lower the bound."""
    encoders, box, bounds = made(text, shape, real_images(1, shape[1:], shape[0]))
    values = value_of(encoders, points_of(box, 5_000), a, b).amax(1)
    first, later = upper_bound(bounds, a, b)[:, 0], upper_bound(bounds, a, b, steps=5)[:, 0]
    assert (values <= later).all()
    assert (later <= first).all()
    assert (first <= of_intervals(in_float64(encoders), box, a, b)[:, 0] + 1e-6).all()


@pytest.mark.parametrize(("text", "shape"), ENCODERS, ids=[row[0] for row in ENCODERS])
def test_attacks_stay_below(text: str, shape: Shape, real_images) -> None:
    """Each class moves images of its own up its score by signs of gradients."""
    images = real_images(2, shape[1:], shape[0])
    encoders, box, bounds = made(text, shape, images)
    encoders = in_float64(encoders)
    x = images.double().expand(CLASSES, *images.shape).clone()
    above = upper_bound(bounds, 1, 1, steps=5)
    start = value_of(encoders, x, 1, 1)
    for step in range(10):
        x.requires_grad_()
        found = value_of(encoders, x, 1, 1)
        (gradient,) = torch.autograd.grad(found.sum(), x)
        x = (x.detach() + EPSILON / (1 + step / 2) * gradient.sign()).clamp(box.lower, box.upper)
        assert (found <= above).all()
    assert (value_of(encoders, x, 1, 1) > start).any()


@pytest.mark.parametrize(("text", "shape"), ENCODERS, ids=[row[0] for row in ENCODERS])
def test_a_linear_function_is_below_at_any_slopes(text: str, shape: Shape, real_images) -> None:
    encoders, box, bounds = made(text, shape, real_images(1, shape[1:], shape[0]))
    generator = torch.Generator().manual_seed(3)
    size = encoders.robust_size + encoders.vulnerable_size
    points = encoders(points_of(box, 2_000))
    means = torch.cat([points.robust.mean, points.vulnerable.mean], -1).double()
    for seed in range(4):
        coefficients = torch.randn(CLASSES, 1, size, generator=generator, dtype=torch.float64)
        whole = torch.cat([coefficients, torch.zeros_like(coefficients)], -1)
        slopes = [torch.rand(CLASSES, *layer.before.lower.shape[1:], generator=generator, dtype=torch.float64)
                  for layer in bounds.layers if layer.unstable]  # fmt: skip
        if seed == 0:
            slopes = [slope.round() for slope in slopes]
        above = linear_maximum(bounds.layers, whole, slopes)
        assert ((means * coefficients).sum(-1).amax(1) <= above[:, 0]).all()


def test_of_a_linear_network_it_is_exact(real_images) -> None:
    """The corner that the signs of the coefficients say; rounding aside."""
    for text in ("z(2,2)", "c(3,4,2)-bn z(1,2)"):
        encoders, box, bounds = made(text, (1, 6, 6), real_images(2, 6))
        exact = in_float64(encoders)
        size = encoders.robust_size + encoders.vulnerable_size
        coefficients = torch.randn(CLASSES, 1, size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        x = box.lower.expand(CLASSES, *box.lower.shape).clone().requires_grad_()

        def linear(x: Tensor, exact: ClassEncoders = exact, coefficients: Tensor = coefficients) -> Tensor:
            latents = exact(x)
            return (torch.cat([latents.robust.mean, latents.vulnerable.mean], -1) * coefficients).sum(-1)

        (gradient,) = torch.autograd.grad(linear(x).sum(), x)
        most = linear(torch.where(gradient > 0, box.upper, box.lower))
        whole = torch.cat([coefficients, torch.zeros_like(coefficients)], -1).expand(-1, 2, -1)
        above = linear_maximum(bounds.layers, whole, [])
        torch.testing.assert_close(above, most, atol=1e-4, rtol=0)
        assert (above >= most).all()


@pytest.mark.parametrize(("text", "shape"), ENCODERS[:4], ids=[row[0] for row in ENCODERS[:4]])
def test_it_is_tighter_than_intervals(text: str, shape: Shape, real_images) -> None:
    encoders, box, bounds = made(text, shape, real_images(4, shape[1:], shape[0]))
    wide = of_intervals(in_float64(encoders), box, 1, 1)
    start = value_of(encoders, (box.lower + box.upper).float() / 2, 1, 1)
    first, later = upper_bound(bounds, 1, 1), upper_bound(bounds, 1, 1, steps=10)
    assert (first - start).mean() < 0.9 * (wide - start).mean()
    assert (later - start).mean() < 0.97 * (first - start).mean()


def test_sums_that_cancel_are_below_their_bounds(generator) -> None:
    """Means in float32, of weights whose products cancel, at a single image; the exact ones are no bound."""
    encoders = encoders_of("z(2,2)", (1, 8, 8))
    weight = encoders.networks.get_parameter("1_weight")  # (C, 8, 64)
    half = torch.randn(CLASSES, 8, 32, generator=generator) * torch.exp2(15 * torch.rand(32, generator=generator))
    weight.copy_(torch.cat([half, -half], 2))
    side = torch.rand(20, 1, 4, 8, generator=generator)
    images = torch.cat([side, side], 2)
    exact, point = in_float64(encoders), ball(images.double(), 0)
    bounds = linear_bounds(exact, point, FLOAT32)
    missed = 0
    for output in range(2):
        coefficients = F.one_hot(torch.tensor(output), 8).double().expand(CLASSES, 20, 8)
        means, true = (each(x).robust.mean[..., output] for each, x in ((encoders, images), (exact, images.double())))
        assert (means <= linear_maximum(bounds.layers, coefficients, [])).all()
        assert (-means <= linear_maximum(bounds.layers, -coefficients, [])).all()
        missed += int((means != true).sum())
    assert missed > 20


def test_images_do_not_disturb_each_other(real_images) -> None:
    images = real_images(3)
    _, _, together = made("c(4,3) c(3,4) | z(2,1)", (1, 8, 8), images)
    _, _, alone = made("c(4,3) c(3,4) | z(2,1)", (1, 8, 8), images[1:2])
    for steps in (0, 4):
        found = upper_bound(together, 1, 1, steps)[:, 1:2]
        torch.testing.assert_close(found, upper_bound(alone, 1, 1, steps), atol=1e-9, rtol=1e-9)


def test_numbers_that_may_be_too_large_have_no_bound(real_images) -> None:
    encoders = encoders_of("c(4,3) | z(2,2)", (1, 8, 8))
    encoders.trunk.get_parameter("0_weight").mul_(1e35)
    bounds = linear_bounds(in_float64(encoders), ball(real_images(2).double(), EPSILON), FLOAT32)
    assert not upper_bound(bounds, 1, 1).isfinite().any()


# --- in a certificate ---------------------------------------------------------------------------------------------

SETTINGS = [("ratio", "ratio"), ("density", "vulnerable"), ("nearest_mean", "joint"), ("ratio", "joint")]


@pytest.mark.parametrize(("rule", "score"), SETTINGS)
def test_more_images_are_certified(rule: str, score: str, trained_detector: Detector, digits: Split) -> None:
    """None is lost, no margin shrinks, and some are won; what intervals decide stays as it is."""
    detector = trained_detector.using(label_rule=rule, score=score)
    images, labels, epsilon = digits.test.images[:60], digits.test.labels[:60], 0.02
    loose = certify(detector, images, labels, epsilon, 0.1, tighter=False)
    tight = certify(detector, images, labels, epsilon, 0.1)
    assert (tight.margin >= loose.margin).all()
    assert torch.equal(tight.margin[loose.holds], loose.margin[loose.holds])
    assert tight.holds.sum() > loose.holds.sum()


@pytest.mark.parametrize(("rule", "score"), SETTINGS)
@torch.no_grad()
def test_what_a_detector_says_in_a_ball_is_inside(rule: str, score: str, trained_detector: Detector, digits) -> None:
    """Suspicion and logits in float32, of points and of attacks, without any tolerance."""
    detector = trained_detector.using(label_rule=rule, score=score)
    images, epsilon = digits.test.images[:3], 0.03
    box, around = ball(images.double(), epsilon), ball(images.double(), epsilon + PIXEL_ROUNDING)
    outputs = tighter_outputs(detector, linear_bounds(in_float64(detector.encoders), around, FLOAT32), steps=4)
    for i in range(len(images)):
        points = points_of(box[i : i + 1], 1_000)
        for target in range(detector.classes):
            x = images[i : i + 1].clone()
            for _ in range(5):
                with torch.enable_grad():
                    x.requires_grad_()
                    (gradient,) = torch.autograd.grad(detector.outputs(x).suspicion[0, target], x)
                x = (x.detach().double() - epsilon * gradient.sign()).clamp(box.lower[i], box.upper[i]).float()
            points = torch.cat([points, x])
        said = detector.outputs(points)
        for found, bounds in ((said.suspicion, outputs.suspicion), (said.logits, outputs.logits)):
            assert (found.double().amin(0) >= bounds.lower[i]).all()
            assert (found.double().amax(0) <= bounds.upper[i]).all()


@pytest.mark.parametrize(("text", "shape"), ENCODERS, ids=[row[0] for row in ENCODERS])
def test_what_is_trained_with_is_the_bound_without_rounding(text: str, shape: Shape, real_images) -> None:
    """Below that of intervals, hardly below the one with rounding, and with gradients."""
    encoders, box, rounded = made(text, shape, real_images(3, shape[1:], shape[0]))
    trained = in_float64(encoders).requires_grad_()
    found = log_ratio_above(linear_bounds(trained, box, 0.0))
    constant = 0.5 * LOG_2PI * (encoders.vulnerable_size - encoders.robust_size)
    above = upper_bound(rounded, 1, 1) + constant
    assert (found <= above + 1e-9).all()
    torch.testing.assert_close(found.detach(), above, rtol=1e-2, atol=1e-3)
    assert (found <= bound_log_ratio(bound_latents(trained, box)).upper + 1e-9).all()
    weights = [parameter for parameter in trained.parameters() if parameter.requires_grad]
    gradients = torch.autograd.grad(found.sum(), weights, materialize_grads=True)
    step = [torch.randn(w.shape, generator=torch.Generator().manual_seed(n)).double() for n, w in enumerate(weights)]
    values = []
    for size in (1e-6, -1e-6):
        with torch.no_grad():
            for weight, part in zip(weights, step, strict=True):
                weight.add_(size * part)
            values.append(log_ratio_above(linear_bounds(trained, box, 0.0)).sum().item())
            for weight, part in zip(weights, step, strict=True):
                weight.sub_(size * part)
    slope = sum((gradient * part).sum().item() for gradient, part in zip(gradients, step, strict=True))
    assert (values[0] - values[1]) / 2e-6 == pytest.approx(slope, rel=1e-3, abs=1e-4)


def test_what_is_trained_with_in_less_precision_is_near(real_images) -> None:
    """In float32, and with products in bfloat16; and on any device: one without data stands for another."""
    text, shape = "c(4,3) c(3,4) | z(2,1)", (1, 8, 8)
    encoders, box = encoders_of(text, shape), ball(real_images(3), EPSILON)
    exact = log_ratio_above(linear_bounds(in_float64(encoders), Interval(box.lower.double(), box.upper.double()), 0.0))
    torch.testing.assert_close(log_ratio_above(linear_bounds(encoders, box, 0.0)).double(), exact, rtol=1e-4, atol=1e-4)
    for networks in filter(None, (encoders.trunk, encoders.networks)):
        networks.products = torch.bfloat16
    torch.testing.assert_close(log_ratio_above(linear_bounds(encoders, box, 0.0)).double(), exact, rtol=2e-2, atol=2e-2)
    elsewhere = Interval(box.lower.to("meta"), box.upper.to("meta"))
    assert log_ratio_above(linear_bounds(encoders.to("meta"), elsewhere, 0.0)).device.type == "meta"
