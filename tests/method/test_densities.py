"""Densities against quadrature, sampling and torch.distributions."""

import math

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from twinlatent.method.densities import (
    DiagonalGaussian,
    kl_to_standard_normal,
    log_one_minus_density,
    log_standard_normal,
)


def some_latents(n: int, size: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return 2 * torch.randn(n, size, generator=torch.Generator().manual_seed(1), dtype=dtype)


def some_gaussian(n: int, size: int) -> DiagonalGaussian:
    return DiagonalGaussian(some_latents(n, size), some_latents(2 * n, size)[n:])


def test_the_density_integrates_to_one() -> None:
    line = torch.linspace(-12, 12, 2001, dtype=torch.float64)
    assert torch.trapezoid(log_standard_normal(line[:, None]).exp(), line).item() == pytest.approx(1, abs=1e-9)
    coarse = line[::10]
    grid = torch.cartesian_prod(coarse, coarse).reshape(len(coarse), len(coarse), 2)
    volume = torch.trapezoid(torch.trapezoid(log_standard_normal(grid).exp(), coarse), coarse)
    assert volume.item() == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("size", [1, 8, 64])
def test_the_density_is_that_of_torch(size: int) -> None:
    z = some_latents(7, size)
    torch.testing.assert_close(log_standard_normal(z), Normal(0.0, 1.0).log_prob(z).sum(-1))


def test_leading_dimensions_are_kept() -> None:
    z = some_latents(24, 5).reshape(2, 3, 4, 5)
    q = DiagonalGaussian(z, z / 3)
    for values in (log_standard_normal(z), kl_to_standard_normal(q), log_one_minus_density(z, "joint"),
                   log_one_minus_density(z, "per_dimension")):  # fmt: skip
        assert values.shape == (2, 3, 4)
    assert q.sample().shape == z.shape


# --- KL -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 8, 64])
def test_kl_is_that_of_torch(size: int) -> None:
    q = some_gaussian(7, size)
    expected = kl_divergence(Normal(q.mean, (q.log_variance / 2).exp()), Normal(0.0, 1.0)).sum(-1)
    torch.testing.assert_close(kl_to_standard_normal(q), expected)


def test_kl_is_the_mean_log_ratio_of_samples(generator) -> None:
    q = DiagonalGaussian(torch.tensor([0.7, -1.0]), torch.tensor([-1.0, 0.5]))
    many = DiagonalGaussian(q.mean.expand(200_000, 2), q.log_variance.expand(200_000, 2))
    z = many.sample(generator)
    log_q = Normal(q.mean, (q.log_variance / 2).exp()).log_prob(z).sum(-1)
    ratio = log_q - log_standard_normal(z)
    error = ratio.std().item() / math.sqrt(len(ratio))
    assert ratio.mean().item() == pytest.approx(kl_to_standard_normal(q).item(), abs=4 * error)


def test_kl_is_zero_at_the_prior_and_never_negative() -> None:
    assert kl_to_standard_normal(DiagonalGaussian(torch.zeros(3, 8), torch.zeros(3, 8))).tolist() == [0, 0, 0]
    near = torch.linspace(-1e-3, 1e-3, 200_001)[:, None]  # float32 at the minimum: rounding is as large as the value
    for mean in (0.0, 1e-5, 1e-3):
        assert (kl_to_standard_normal(DiagonalGaussian(torch.full_like(near, mean), near)) >= 0).all()


# --- samples ------------------------------------------------------------------------------------------------------


def test_samples_have_the_mean_and_the_variance(generator) -> None:
    mean, log_variance = torch.tensor([1.5, -0.5, 0.0]), torch.tensor([0.6, -1.2, 0.0])
    z = DiagonalGaussian(mean.expand(100_000, 3), log_variance.expand(100_000, 3)).sample(generator)
    torch.testing.assert_close(z.mean(0), mean, atol=0.02, rtol=0)
    torch.testing.assert_close(z.var(0), log_variance.exp(), atol=0, rtol=0.03)


def test_samples_are_differentiable_and_repeatable(generator) -> None:
    mean, log_variance = torch.zeros(4, 2, requires_grad=True), torch.zeros(4, 2, requires_grad=True)
    z = DiagonalGaussian(mean, log_variance).sample(generator)
    z.sum().backward()
    assert mean.grad.eq(1).all()
    torch.testing.assert_close(log_variance.grad, z.detach() / 2)  # d(σ·noise)/d log σ² = σ·noise / 2
    again = DiagonalGaussian(mean, log_variance).sample(torch.Generator().manual_seed(0))
    assert torch.equal(z, again)


# --- the z-error penalty's density --------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 2, 8])
def test_log_one_minus_density_is_the_formula(size: int) -> None:
    z = some_latents(50, size)
    joint, single = [], []
    for row in z.tolist():
        densities = [math.exp(-value * value / 2) / math.sqrt(2 * math.pi) for value in row]
        joint.append(math.log(1 - math.prod(densities)))
        single.append(sum(math.log(1 - density) for density in densities))
    torch.testing.assert_close(log_one_minus_density(z, "joint"), torch.tensor(joint, dtype=torch.float64))
    torch.testing.assert_close(log_one_minus_density(z, "per_dimension"), torch.tensor(single, dtype=torch.float64))
    assert log_one_minus_density(z).equal(log_one_minus_density(z, "per_dimension"))


def test_in_one_dimension_both_readings_are_the_same() -> None:
    z = some_latents(50, 1)
    torch.testing.assert_close(log_one_minus_density(z, "joint"), log_one_minus_density(z, "per_dimension"))


def gradient_at(value: float, size: int, density: str) -> Tensor:
    z = torch.full((1, size), value, requires_grad=True)
    log_one_minus_density(z, density).sum().backward()
    return z.grad


@pytest.mark.parametrize("size", [1, 8, 64])
@pytest.mark.parametrize("value", [0.0, 0.1, -3.0, 50.0, -1e4, 1e18])
@pytest.mark.parametrize("density", ["per_dimension", "joint"])
def test_penalty_and_gradient_are_finite_everywhere(size: int, value: float, density: str) -> None:
    penalty = log_one_minus_density(torch.full((1, size), value), density)
    assert penalty.isfinite().all()
    assert (penalty <= 0).all()
    assert gradient_at(value, size, density).isfinite().all()


@pytest.mark.parametrize("size", [8, 64])
def test_per_dimension_pushes_away_from_the_prior_where_joint_does_not(size: int) -> None:
    p = math.exp(-0.005) / math.sqrt(2 * math.pi)
    pushed = gradient_at(0.1, size, "per_dimension")
    torch.testing.assert_close(pushed, torch.full((1, size), 0.1 * p / (1 - p)))  # the same in any dimension
    assert gradient_at(0.1, size, "joint").abs().max() < {8: 1e-4, 64: 1e-26}[size]


def test_the_bounds_that_the_documentation_states() -> None:
    assert math.exp(log_standard_normal(torch.zeros(1))) == pytest.approx(0.399, abs=1e-3)
    assert math.exp(log_standard_normal(torch.zeros(8))) == pytest.approx(6.4e-4, rel=0.01)
    assert math.exp(log_standard_normal(torch.zeros(64))) == pytest.approx(3e-26, rel=0.1)
