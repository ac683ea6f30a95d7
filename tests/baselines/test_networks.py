"""Baselines' suspicion scores against plain formulas."""

import numpy as np
import pytest
import torch
from torch import Tensor

from twinlatent.baselines.networks import (
    NEAREST,
    BinaryDetector,
    ClassDetectors,
    Confidence,
    ReverseCrossEntropy,
    hidden_layer,
    non_maximal_entropy,
)

SHAPE, SPEC = (1, 8, 8), "c(2,4) mp(2) d(12) sm(3)"


@pytest.fixture
def images() -> Tensor:
    return torch.rand(6, *SHAPE, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def reverse() -> ReverseCrossEntropy:
    torch.manual_seed(1)
    module = ReverseCrossEntropy(SPEC, SHAPE)
    module.remember(torch.rand(3, NEAREST + 5, *SHAPE))
    return module


def test_confidence_is_the_log_odds_of_being_wrong(images: Tensor) -> None:
    found = Confidence(SPEC, SHAPE).outputs(images, "confidence")
    p = np.exp(found.logits.detach().double().numpy())
    p /= p.sum(1, keepdims=True)
    np.testing.assert_allclose(found.suspicion.detach().numpy(), np.log((1 - p) / p), rtol=1e-4)


def test_confidence_has_a_gradient_where_the_probability_rounds_to_one(images: Tensor) -> None:
    module, x = Confidence(SPEC, SHAPE), images.requires_grad_()
    with torch.no_grad():
        module.classifier.layers[-1].bias.copy_(torch.tensor([60.0, 0.0, -5.0]))
    found = module.outputs(x, "confidence")
    assert bool((found.logits.softmax(1)[:, 0] == 1).all())
    (slope,) = torch.autograd.grad(found.suspicion[:, 0].sum(), x)
    assert bool((slope.flatten(1).norm(dim=1) > 1e-4).all())


def test_non_maximal_entropy_needs_two_other_classes() -> None:
    assert ReverseCrossEntropy(SPEC, SHAPE).scores == ("k-density", "non-me")
    assert ReverseCrossEntropy("c(2,4) mp(2) d(12) sm(2)", SHAPE).scores == ("k-density",)


def test_the_least_confident_prediction_is_the_most_suspicious(images: Tensor) -> None:
    found = Confidence(SPEC, SHAPE).outputs(images, "confidence")
    order = found.logits.softmax(1).max(1).values.argsort(descending=True)
    assert torch.equal(found.suspicion_of_label.argsort(), order)


def test_binary_is_the_log_odds_whatever_the_class(images: Tensor) -> None:
    module = BinaryDetector(SPEC, SHAPE)
    found = module.outputs(images, "binary")
    odds = module.binary(images).softmax(1)
    assert found.suspicion.shape == found.logits.shape == (6, 3)
    for column in found.suspicion.T:
        torch.testing.assert_close(column, (odds[:, 1] / odds[:, 0]).log(), rtol=1e-4, atol=1e-5)


def test_non_maximal_entropy_by_the_book() -> None:
    logits = torch.randn(5, 4, generator=torch.Generator().manual_seed(2)).double()
    for row, found in zip(logits.numpy(), non_maximal_entropy(logits).numpy(), strict=True):
        p = np.exp(row) / np.exp(row).sum()
        for c in range(4):
            rest = np.delete(p, c) / np.delete(p, c).sum()
            assert found[c] == pytest.approx((rest * np.log(rest)).sum())


def test_an_even_spread_over_the_wrong_classes_is_the_least_suspicious() -> None:
    even = non_maximal_entropy(torch.tensor([[9.0, 0.0, 0.0, 0.0]]))[0, 0]
    uneven = non_maximal_entropy(torch.tensor([[9.0, 5.0, 0.0, 0.0]]))[0, 0]
    assert even.item() == pytest.approx(-np.log(3))
    assert uneven > even


def test_k_density_by_the_book(reverse: ReverseCrossEntropy, images: Tensor) -> None:
    found = reverse.outputs(images, "k-density").suspicion.detach().numpy()
    hidden = hidden_layer(reverse.classifier, images).detach().double().numpy()
    references, width = reverse.references.double().numpy(), reverse.bandwidth.item()
    for i in range(len(images)):
        for c in range(3):
            kernel = np.exp(-((references[c] - hidden[i]) ** 2).sum(1) / width)
            assert found[i, c] == pytest.approx(-np.log(kernel.sum()), rel=1e-3, abs=1e-3)


def test_logits_are_those_of_the_network_with_the_sign_changed(reverse: ReverseCrossEntropy, images: Tensor) -> None:
    torch.testing.assert_close(reverse.outputs(images, "non-me").logits, -reverse.classifier(images))


def test_a_reference_itself_has_a_finite_score_and_gradient(reverse: ReverseCrossEntropy) -> None:
    image = torch.rand(3, NEAREST + 5, *SHAPE)[0, :1].requires_grad_()
    reverse.remember(image.detach().expand(3, NEAREST + 5, *SHAPE) + 0.01 * torch.rand(3, NEAREST + 5, *SHAPE))
    suspicion = reverse.outputs(image, "k-density").suspicion
    (gradient,) = torch.autograd.grad(suspicion.sum(), image)
    assert suspicion.isfinite().all()
    assert gradient.isfinite().all()


def test_a_class_detector_answers_for_its_class_alone(images: Tensor) -> None:
    module = ClassDetectors("c(3,8) z(1,1)", SHAPE, 3)
    found = module.outputs(images, "class-detector")
    assert torch.equal(found.suspicion, -found.logits)
    assert found.logits.shape == (6, 3)
    own = torch.stack([images, images.flip(0), images])
    torch.testing.assert_close(module.log_odds(own)[1], module.log_odds(images)[1].flip(0), rtol=1e-4, atol=1e-5)
