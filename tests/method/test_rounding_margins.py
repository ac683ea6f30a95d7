"""What a proof allows for float32's rounding of images, of densities, and of first layers in round balls: it is enough,
and without it proofs fail."""

import pytest
import torch
from torch import Tensor

from twinlatent.attacks.balls import Norm, ball_of
from twinlatent.data import Split
from twinlatent.method import certificate as module
from twinlatent.method.benign import BenignTable
from twinlatent.method.bounds import FLOAT32, PIXEL_ROUNDING, ball, ball_in, bound_latents, in_float64
from twinlatent.method.certificate import certify, tighter_outputs
from twinlatent.method.class_vaes import ClassEncoders
from twinlatent.method.detector import Detector
from twinlatent.method.linear_bounds import linear_bounds
from twinlatent.method.plans import plan

SHAPE = (1, 8, 8)


def encoders_with(text: str, weight: float, bias: float, generator: torch.Generator) -> ClassEncoders:
    """Of 20 classes, weights and biases drawn with these spreads."""
    encoders = ClassEncoders(plan(text, SHAPE, "encoder"), 20).requires_grad_(False).eval()
    for name, parameter in encoders.named_parameters():
        spread = bias if name.endswith("bias") else weight
        parameter.copy_(spread * torch.randn(parameter.shape, generator=generator))
    return encoders


def within(values: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
    return (lower <= values.double()) & (values.double() <= upper)


@torch.no_grad()
def test_a_first_layer_in_a_round_ball(digits: Split, generator: torch.Generator) -> None:
    """Of a ball that is hardly more than a point what float32 computes is inside, and is not without rounding."""
    encoders, images = encoders_with("z(2,2)", 1.0, 1.0, generator), digits.test.images[:20]
    computed, around = encoders(images), ball_in("l2", images.double(), 1e-9)
    for rounding, inside in ((FLOAT32, True), (0.0, False)):
        found = bound_latents(in_float64(encoders), around, rounding)
        for latent, bound in ((computed.robust, found.robust), (computed.vulnerable, found.vulnerable)):
            assert bool(within(latent.mean, bound.lower, bound.upper).all()) is inside


@pytest.mark.parametrize(("norm", "epsilon"), [("linf", 0.1), ("linf", 0.3), ("l2", 1.5)])
def test_what_attacks_add_in_float32_may_leave_the_ball(
    norm: Norm, epsilon: float, digits: Split, generator: torch.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By less than a certificate allows, and it asks for so much."""
    images = digits.test.images[:100] * 0.4 + 0.3
    far = images + 2 * torch.randn(images.shape, generator=generator)
    moved = (ball_of(norm, epsilon).project(far, images).double() - images.double()).flatten(1)
    reached = moved.abs().amax(1) if norm == "linf" else moved.norm(dim=1)
    allowed = epsilon + PIXEL_ROUNDING * (1 if norm == "linf" else moved.shape[1] ** 0.5)
    assert (reached <= allowed).all()
    if norm == "linf":  # in L2 projections end a little inside
        assert (reached > epsilon).any()

    asked: list[float] = []
    monkeypatch.setattr(module, "ball_in", lambda norm, x, radius: asked.append(radius) or ball_in(norm, x, radius))
    encoders = encoders_with("z(1,1)", 0.1, 0.1, generator)
    table = BenignTable(torch.arange(400) % 20, torch.zeros(400), torch.linspace(-2, -1, 400))
    names = tuple(f"class {c}" for c in range(20))
    detector = Detector(encoders, torch.zeros(20, 1), {"ratio": table, "density": table, "nearest_mean": table}, names)
    certify(detector, images[:2], torch.tensor([0, 1]), epsilon, norm=norm)
    assert min(asked) >= allowed


@torch.no_grad()
def test_differences_of_nearly_equal_densities(digits: Split, generator: torch.Generator) -> None:
    """Means that are almost 0: float32 loses their squares beside the constant, and layers' rounding is no help."""
    encoders, images = encoders_with("z(5,5)", 0.0, 3e-4, generator), digits.test.images[:3]
    table = BenignTable(torch.arange(400) % 20, torch.zeros(400), torch.linspace(-2, -1, 400))
    names = tuple(f"class {c}" for c in range(20))
    tables = {"ratio": table, "density": table, "nearest_mean": table}
    detector = Detector(encoders, torch.zeros(20, 5), tables, names).using(label_rule="ratio", score="ratio")
    said = detector.outputs(images)
    bounds = linear_bounds(in_float64(encoders), ball(images.double(), 0.0), FLOAT32)
    found = tighter_outputs(detector, bounds, 0)
    assert within(said.suspicion, found.suspicion.lower, found.suspicion.upper).all()
    means = encoders(images)
    exact = (means.robust.mean.double().square().sum(-1) - means.vulnerable.mean.double().square().sum(-1)).T / 2
    assert (said.suspicion.double() - exact).abs().max() > 1e-7, "rounding counts here"
