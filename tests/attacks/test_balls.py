"""Balls cut to the box: feasible, nearest, and drawn from evenly."""

import math

import pytest
import torch
from torch import Tensor

from twinlatent.attacks.balls import LInf
from twinlatent.errors import TwinlatentError

EPSILONS = [0.0, 0.03, 0.3, 1.0, 7.0]


@pytest.fixture
def centre(real_images) -> Tensor:
    return real_images(6)


def random_like(x: Tensor, seed: int, spread: float) -> Tensor:
    return x + spread * torch.randn(x.shape, generator=torch.Generator().manual_seed(seed))


def inside(x: Tensor, centre: Tensor, epsilon: float) -> bool:
    return bool(((x - centre).abs() <= epsilon + 1e-6).all() and (x >= 0).all() and (x <= 1).all())


@pytest.mark.parametrize("epsilon", EPSILONS)
def test_projections_are_feasible_and_nearest(epsilon: float, centre: Tensor) -> None:
    ball, far = LInf(epsilon), random_like(centre, 0, 0.5)
    projected = ball.project(far, centre)
    assert inside(projected, centre, epsilon)
    for seed in range(1, 20):  # no feasible image is nearer, pixel by pixel
        other = torch.minimum(torch.maximum(random_like(centre, seed, epsilon), centre - epsilon), centre + epsilon)
        other = other.clamp(0, 1)
        assert ((projected - far).abs() <= (other - far).abs() + 1e-6).all()


@pytest.mark.parametrize("epsilon", EPSILONS)
def test_what_is_inside_stays(epsilon: float, centre: Tensor) -> None:
    ball = LInf(epsilon)
    assert torch.equal(ball.project(centre, centre), centre)
    projected = ball.project(random_like(centre, 0, 1.0), centre)
    assert torch.equal(ball.project(projected, centre), projected)


@pytest.mark.parametrize("epsilon", EPSILONS)
def test_random_images_are_inside(epsilon: float, centre: Tensor, generator) -> None:
    assert inside(LInf(epsilon).random(centre, generator), centre, epsilon)


def test_random_images_fill_the_ball(generator) -> None:
    noise = LInf(0.3).random(torch.full((500, 1, 8, 8), 0.5), generator) - 0.5
    assert noise.min() < -0.299
    assert noise.max() > 0.299
    assert noise.mean().abs() < 0.003
    assert noise.std().item() == pytest.approx(0.3 / math.sqrt(3), rel=0.01)
    assert len(noise.unique()) > 10_000


def test_the_generator_decides(centre: Tensor) -> None:
    a, b, c = (LInf(0.3).random(centre, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)


def test_leading_dimensions_and_types_are_kept(centre: Tensor, generator) -> None:
    many = centre.expand(3, *centre.shape).double()
    ball = LInf(0.1)
    assert ball.project(many + 1, many).shape == ball.random(many, generator).shape == many.shape
    assert ball.project(many + 1, many).dtype == ball.random(many, generator).dtype == torch.float64


@pytest.mark.parametrize("epsilon", [-0.1, math.nan])
def test_a_radius_is_a_number_of_at_least_0(epsilon: float) -> None:
    with pytest.raises(TwinlatentError, match=f"epsilon is {epsilon}"):
        LInf(epsilon)
