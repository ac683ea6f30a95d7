"""Balls cut to the box: feasible, near, and drawn from evenly."""

import math

import pytest
import torch
from torch import Tensor

from twinlatent.attacks.balls import L2, Ball, LInf, ball_of, draw_each, l2_norm
from twinlatent.errors import TwinlatentError

EPSILONS = [0.0, 0.03, 0.3, 1.0]
BALLS = [*map(LInf, EPSILONS), *map(L2, [*EPSILONS, 7.0])]


@pytest.fixture
def centre(real_images) -> Tensor:
    return real_images(6)


def random_like(x: Tensor, seed: int, spread: float) -> Tensor:
    return x + spread * torch.randn(x.shape, generator=torch.Generator().manual_seed(seed))


def length(change: Tensor, ball: Ball) -> Tensor:
    order = 2 if isinstance(ball, L2) else math.inf
    return torch.linalg.vector_norm(change.double().flatten(-3), order, dim=-1)


def inside(x: Tensor, centre: Tensor, ball: Ball) -> bool:
    near = (length(x - centre, ball) <= ball.epsilon * (1 + 1e-5) + 1e-6).all()
    return bool(near and (x >= 0).all() and (x <= 1).all())


@pytest.mark.parametrize("epsilon", EPSILONS)
def test_projections_in_linf_are_feasible_and_nearest(epsilon: float, centre: Tensor) -> None:
    ball, far = LInf(epsilon), random_like(centre, 0, 0.5)
    projected = ball.project(far, centre)
    assert inside(projected, centre, ball)
    for seed in range(1, 20):  # no feasible image is nearer, pixel by pixel
        other = torch.minimum(torch.maximum(random_like(centre, seed, epsilon), centre - epsilon), centre + epsilon)
        other = other.clamp(0, 1)
        assert ((projected - far).abs() <= (other - far).abs() + 1e-6).all()


@pytest.mark.parametrize("epsilon", EPSILONS)
@pytest.mark.parametrize("spread", [0.01, 0.5, 30.0])
def test_projections_in_l2_are_feasible_and_nearest_if_the_box_is_far(spread: float, epsilon: float, centre) -> None:
    ball = L2(epsilon)
    assert inside(ball.project(random_like(centre, 0, spread), centre), centre, ball)
    grey = torch.full_like(centre, 0.5)
    if epsilon < 0.5:
        far = random_like(grey, 1, spread)
        change, size = far - grey, length(far - grey, ball)
        expected = grey + change * (epsilon / size).clamp_max(1).float()[:, None, None, None]
        torch.testing.assert_close(ball.project(far, grey), expected)


@pytest.mark.parametrize("ball", BALLS)
def test_what_is_inside_stays(ball: Ball, centre: Tensor) -> None:
    assert torch.equal(ball.project(centre, centre), centre)
    projected = ball.project(random_like(centre, 0, 1.0), centre)
    torch.testing.assert_close(ball.project(projected, centre), projected, rtol=0, atol=1e-6)
    if isinstance(ball, LInf):
        assert torch.equal(ball.project(projected, centre), projected)


@pytest.mark.parametrize("ball", BALLS)
def test_random_images_are_inside(ball: Ball, centre: Tensor, generator) -> None:
    assert inside(ball.random(centre, generator), centre, ball)


def test_random_images_fill_the_ball(generator) -> None:
    noise = LInf(0.3).random(torch.full((500, 1, 8, 8), 0.5), generator) - 0.5
    assert noise.min() < -0.299
    assert noise.max() > 0.299
    assert noise.mean().abs() < 0.003
    assert noise.std().item() == pytest.approx(0.3 / math.sqrt(3), rel=0.01)
    assert len(noise.unique()) > 10_000


@pytest.mark.parametrize("shape", [(1, 1, 2), (1, 2, 2), (3, 2, 2)])
def test_random_images_are_uniform_in_the_l2_ball(shape, generator) -> None:
    """In d dimensions (‖δ‖/ε)^d is uniform in [0, 1], and each pixel has mean 0 and variance ε²/(d + 2)."""
    dimensions, count = math.prod(shape), 20_000
    noise = L2(0.4).random(torch.full((count, *shape), 0.5), generator).flatten(1) - 0.5
    share = (noise.norm(dim=1) / 0.4).double().pow(dimensions).sort().values
    assert (share - torch.linspace(0, 1, count)).abs().max() < 1.6 / math.sqrt(count)  # Kolmogorov and Smirnov
    assert noise.mean(0).abs().max() < 0.01
    torch.testing.assert_close(noise.var(0), torch.full((dimensions,), 0.16 / (dimensions + 2)), rtol=0.05, atol=0)
    across = torch.corrcoef(noise.T) - torch.eye(dimensions)
    assert across.abs().max() < 0.03


@pytest.mark.parametrize("kind", [LInf, L2])
def test_the_generator_decides(kind, centre: Tensor) -> None:
    a, b, c = (kind(0.3).random(centre, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)


@pytest.mark.parametrize("kind", [LInf, L2])
def test_each_image_draws_from_its_own_seed(kind, centre: Tensor) -> None:
    seeds, before = [5, 6, 7, 5, 8, 9], torch.get_rng_state()
    drawn = draw_each(kind(0.3), centre, seeds)
    assert torch.equal(before, torch.get_rng_state())
    order = [3, 0, 5]
    assert torch.equal(draw_each(kind(0.3), centre[order], [seeds[i] for i in order]), drawn[order])
    same, grey = draw_each(kind(0.3), torch.full_like(centre, 0.5), seeds), torch.tensor([0, 3])
    assert torch.equal(same[grey[0]], same[grey[1]])
    assert not torch.equal(same[0], same[1])


@pytest.mark.parametrize("kind", [LInf, L2])
def test_leading_dimensions_and_types_are_kept(kind, centre: Tensor, generator) -> None:
    many = centre.expand(3, *centre.shape).double()
    ball = kind(0.1)
    assert ball.project(many + 1, many).shape == ball.random(many, generator).shape == many.shape
    assert ball.project(many + 1, many).dtype == ball.random(many.float(), generator).double().dtype == torch.float64


@pytest.mark.parametrize("kind", [LInf, L2])
def test_double_precision_is_kept(kind, centre: Tensor, generator) -> None:
    assert kind(0.1).random(centre.double(), generator).dtype == torch.float64


@pytest.mark.parametrize("scale", [0.0, 1e-40, 1e-30, 1.0, 1e30])
def test_lengths_neither_underflow_nor_overflow(scale: float, generator) -> None:
    change = scale * torch.rand(2, 3, 4, 4, generator=generator)
    expected = change.double().flatten(1).norm(dim=1)
    found = l2_norm(change)
    assert found.shape == (2, 1, 1, 1)
    torch.testing.assert_close(found.flatten().double(), expected, rtol=1e-5, atol=1e-37)


def test_a_radius_in_linf_is_at_most_the_box() -> None:
    with pytest.raises(TwinlatentError, match="epsilon is 8; in L∞ give at most 1"):
        LInf(8)


@pytest.mark.parametrize("kind", [LInf, L2])
@pytest.mark.parametrize("epsilon", [-0.1, math.nan, "0.3"])
def test_a_radius_is_a_number_of_at_least_0(epsilon: float, kind) -> None:
    with pytest.raises(TwinlatentError, match=f"epsilon is {epsilon}"):
        kind(epsilon)


def test_balls_by_name() -> None:
    assert (ball_of("linf", 0.1), ball_of("l2", 0.2)) == (LInf(0.1), L2(0.2))
    with pytest.raises(TwinlatentError, match="norm 'l1' is unknown; choose linf or l2"):
        ball_of("l1", 0.1)
