"""Where gradient attacks go: the projected gradient is orthogonal, and two aims take turns."""

import pytest
import torch
from torch import Tensor

from twinlatent.attacks import Ascent, LogOdds, Orthogonal, Selective, Suspicion, orthogonal_pgd, selective_pgd
from twinlatent.attacks.guides import fooled, gradient_of, without
from twinlatent.criteria import Aim, Misclassified, Undetected
from twinlatent.errors import TwinlatentError
from twinlatent.outputs import Outputs
from twinlatent.testing import FPR, GaussianDetector

CLASSIFY, EVADE = LogOdds(), -1.0 * Suspicion()


def tangled(x: Tensor) -> Outputs:
    """Logits and a suspicion that read the same pixels."""
    flat = x.flatten(1)
    ways = torch.randn(flat.shape[1], 5, generator=torch.Generator().manual_seed(0)).to(flat)
    seen = (flat - 0.5) @ ways
    return Outputs(seen[:, :3], seen[:, 3:4].sin() + seen[:, 4:].square() + seen[:, :3])


@pytest.fixture
def images(generator) -> Tensor:
    return torch.rand(12, 2, 3, 3, generator=generator).requires_grad_()


@pytest.fixture(params=[False, True])
def aim(request, images: Tensor) -> Aim:
    """Half of the images are read as is wanted."""
    read = tangled(images).labels
    half = torch.arange(12) % 2
    return Aim((read + 1) % 3, (read + half) % 3) if request.param else Aim((read + half) % 3)


def slope(objective, images: Tensor, aim: Aim) -> Tensor:
    return gradient_of(objective(tangled(images), aim), images).flatten(1)


def test_ascent_is_the_gradient(images: Tensor, aim: Aim) -> None:
    outputs = tangled(images)
    rank, gradient = Ascent(CLASSIFY).gradient(images, outputs, aim)
    torch.testing.assert_close(gradient.flatten(1), slope(CLASSIFY, images, aim))
    torch.testing.assert_close(rank, Ascent(CLASSIFY).rank(tangled(images), aim).detach())


def test_selective_takes_the_objective_of_the_phase(images: Tensor, aim: Aim) -> None:
    _, gradient = Selective(EVADE, CLASSIFY).gradient(images, tangled(images), aim)
    done = fooled(tangled(images), aim)
    assert done.sum() == 6
    torch.testing.assert_close(gradient.flatten(1)[done], slope(EVADE, images, aim)[done])
    torch.testing.assert_close(gradient.flatten(1)[~done], slope(CLASSIFY, images, aim)[~done])


def test_orthogonal_leaves_the_other_objective_as_it_is(images: Tensor, aim: Aim) -> None:
    _, gradient = Orthogonal(EVADE, CLASSIFY).gradient(images, tangled(images), aim)
    gradient, done = gradient.flatten(1), fooled(tangled(images), aim)
    classify, evade = slope(CLASSIFY, images, aim), slope(EVADE, images, aim)
    own, other = torch.where(done[:, None], evade, classify), torch.where(done[:, None], classify, evade)
    across = torch.cosine_similarity(gradient, other, dim=1)
    assert across.abs().max() < 1e-5
    assert ((gradient * own).sum(1) > 0).all()
    share = torch.cosine_similarity(own, other, dim=1)
    torch.testing.assert_close(gradient.norm(dim=1), own.norm(dim=1) * (1 - share.square()).sqrt(), rtol=1e-4, atol=0)


@pytest.mark.parametrize("guide", [Selective(EVADE, CLASSIFY), Orthogonal(EVADE, CLASSIFY)])
def test_ranks_put_what_is_misclassified_first_and_follow_the_phase(guide, images: Tensor, aim: Aim) -> None:
    outputs = tangled(images)
    rank, done = guide.rank(outputs, aim), fooled(outputs, aim)
    torch.testing.assert_close(rank.detach(), guide.gradient(images, tangled(images), aim)[0])
    assert rank[done].min() > rank[~done].max()
    for rows, objective in ((done, EVADE), (~done, CLASSIFY)):
        assert torch.equal(rank[rows].argsort(), objective(outputs, aim)[rows].argsort())


@pytest.mark.parametrize("scale", [1e-30, 1e-6, 1.0, 1e6, 1e15])
def test_components_are_taken_out_at_any_scale(scale: float, generator) -> None:
    gradient, other = (torch.randn(4, 1, 3, 3, generator=generator) for _ in range(2))
    left = without(gradient, scale * other)
    torch.testing.assert_close(left, without(gradient, other))
    assert (left * other).sum((1, 2, 3)).abs().max() < 1e-5
    assert torch.equal(without(gradient, torch.zeros_like(other)), gradient)


def test_what_is_read_as_wanted() -> None:
    outputs = Outputs(torch.eye(3), torch.eye(3))
    assert fooled(outputs, Aim(torch.tensor([0, 0, 1]))).tolist() == [False, True, True]
    assert fooled(outputs, Aim(torch.tensor([1, 1, 1]), torch.tensor([0, 0, 2]))).tolist() == [True, False, True]


@pytest.mark.parametrize("attack", [selective_pgd, orthogonal_pgd])
def test_without_a_criterion_the_least_suspicious_misclassified_image_is_sought_to_the_end(
    attack, gaussian: GaussianDetector
) -> None:
    images, labels = gaussian.samples(6)
    settings = {"epsilon": 0.4, "steps": 20, "step_size": 0.05}
    whole = attack(gaussian, images, labels, **settings)
    first = attack(gaussian, images, labels, early_stop=True, **settings)
    assert whole.success.all()
    assert first.success.all()
    assert whole.steps.tolist() == [20] * 6
    assert (first.steps < 20).all()
    suspicion = [gaussian(found.images).suspicion_of_label for found in (whole, first)]
    assert (suspicion[0] < suspicion[1]).all()
    wanted = Misclassified() & Undetected(gaussian.bounds(), FPR)
    assert (attack(gaussian, images, labels, criterion=wanted, **settings).steps < 20).all()
    told = attack(gaussian, images, labels, criterion=wanted, early_stop=False, **settings)
    assert told.steps.tolist() == [20] * 6


def test_values_without_a_gradient_are_refused_and_those_of_other_images_have_none() -> None:
    images = torch.rand(2, 1, 3, 3, requires_grad=True)
    with pytest.raises(TwinlatentError, match="no gradient with respect to the images; attack it with square"):
        gradient_of(images.detach().sum((1, 2, 3)), images)
    assert not gradient_of(torch.rand(2, requires_grad=True), images).any()
