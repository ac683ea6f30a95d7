"""One step: along a momentum whose gradients are normalised image by image."""

import math

import pytest
import torch
from torch import Tensor

from twinlatent.attacks.balls import L2, LInf
from twinlatent.attacks.steps import SignStep, UnitStep, step_in
from twinlatent.errors import TwinlatentError

STEPS = [SignStep, UnitStep]


@pytest.fixture
def gradients(generator) -> Tensor:
    """Three gradients of four images, of very different sizes."""
    sizes = torch.tensor([1.0, 1e-4, 1e6, 1e-35])[:, None, None, None]
    return sizes * torch.randn(3, 4, 2, 5, 5, generator=generator)


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("decay", [0.3, 0.9, 1.0])
def test_steps_are_the_formula(decay: float, step, gradients: Tensor) -> None:
    made, momentum = step(0.01, decay), torch.zeros_like(gradients[0])
    expected = torch.zeros_like(gradients[0], dtype=torch.float64)
    for gradient in gradients:
        direction, momentum = made.direction(gradient, momentum)
        for i in range(4):
            one = gradient[i].double()
            expected[i] = decay * expected[i] + one / sum(abs(value) for value in one.flatten().tolist())
        torch.testing.assert_close(momentum.double(), expected, rtol=1e-4, atol=1e-6)
        unit = expected.sign() if step is SignStep else expected / expected.flatten(1).norm(dim=1)[:, None, None, None]
        torch.testing.assert_close(direction.double(), 0.01 * unit, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("step", STEPS)
def test_without_decay_the_gradient_itself_is_followed(step, gradients: Tensor) -> None:
    for gradient in gradients:
        direction, momentum = step(0.01).direction(gradient, torch.ones_like(gradient))
        assert torch.equal(momentum, gradient)
        exact = gradient.double()
        unit = exact.sign() if step is SignStep else exact / exact.flatten(1).norm(dim=1)[:, None, None, None]
        torch.testing.assert_close(direction.double(), 0.01 * unit, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("step", [SignStep(0.1, 0.9), UnitStep(0.1, 0.9), SignStep(0.1), UnitStep(0.1)])
def test_an_image_does_not_feel_the_others(step, gradients: Tensor) -> None:
    whole, alone = torch.zeros_like(gradients[0]), [torch.zeros_like(gradients[0, :1])] * 4
    for gradient in gradients:
        together, whole = step.direction(gradient, whole)
        for i in range(4):
            by_itself, alone[i] = step.direction(gradient[i : i + 1], alone[i])
            torch.testing.assert_close(together[i : i + 1], by_itself)
            torch.testing.assert_close(whole[i : i + 1], alone[i])


@pytest.mark.parametrize("scale", [1e-8, 1e-20, 1e-30, 1e-35, 1e-40, 1e20])
def test_the_scale_of_the_loss_does_not_matter(scale: float, generator) -> None:
    """Gradients of a saturated softmax are as small as e^−80."""
    gradients = torch.randn(2, 1, 1, 8, 8, generator=generator)
    step, momentum, scaled = SignStep(0.1, 0.9), torch.zeros(1, 1, 8, 8), torch.zeros(1, 1, 8, 8)
    for gradient, factor in zip(gradients, (1.0, scale), strict=True):
        _, momentum = step.direction(gradient, momentum)
        _, scaled = step.direction(gradient * factor, scaled)
    torch.testing.assert_close(scaled, momentum, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("decay", [0.0, 0.9])
@pytest.mark.parametrize("scale", [1e-20, 1e-35, 1e-38, 1e-40, 1e20, 1e30])
def test_tiny_and_huge_gradients_make_full_steps(scale: float, decay: float, step, generator) -> None:
    gradient = torch.randn(1, 1, 8, 8, generator=generator)
    usual, _ = step(0.01, decay).direction(gradient, torch.zeros_like(gradient))
    found, _ = step(0.01, decay).direction(gradient * scale, torch.zeros_like(gradient))
    torch.testing.assert_close(found, usual, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("step", STEPS)
def test_without_a_gradient_there_is_no_step_but_the_momentum(step, generator) -> None:
    zero, gradient = torch.zeros(2, 1, 4, 4), torch.randn(2, 1, 4, 4, generator=generator)
    direction, momentum = step(0.1, 0.5).direction(zero, zero)
    assert not direction.any()
    assert not momentum.any()
    first, momentum = step(0.1, 0.5).direction(gradient, zero)
    second, _ = step(0.1, 0.5).direction(zero, momentum)
    torch.testing.assert_close(first, second)
    assert not step(0.1, 0.0).direction(zero, momentum)[0].any()


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize(("size", "decay"), [(-0.1, 0.0), (0.1, -0.5), (math.nan, 0.0), (0.1, math.nan)])
def test_negative_steps_are_refused(size: float, decay: float, step) -> None:
    bad = f"decay is {decay}" if size == 0.1 else f"step size is {size}"
    with pytest.raises(TwinlatentError, match=f"{bad}; give a number of at least 0"):
        step(size, decay)


def test_the_step_goes_with_the_ball() -> None:
    assert step_in(LInf(0.3), 0.1, 0.5) == SignStep(0.1, 0.5)
    assert step_in(L2(0.3), 0.1) == UnitStep(0.1)
