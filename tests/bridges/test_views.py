"""What other libraries see of a detector: classifiers that err exactly where it is passed, or reject where it flags."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from twinlatent.bridges.views import Passing, Rejecting, level_of
from twinlatent.criteria import C1, Misclassified, Undetected
from twinlatent.data import Split
from twinlatent.method.detector import Detector
from twinlatent.outputs import Bounds, Outputs

ROUNDING = 1e-3


@pytest.fixture(scope="module")
def shown(digits: Split) -> tuple[Tensor, Tensor]:
    """Digits of all kinds, benign and more and more noisy, so that some are misclassified, flagged, both or neither."""
    images, labels = digits.test.images[:300], digits.test.labels[:300]
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(0))
    strength = torch.linspace(0, 0.5, len(images))[:, None, None, None]
    return (images + strength * noise).clamp(0, 1), labels


@pytest.fixture(scope="module")
def level(trained_detector: Detector) -> Tensor:
    """High enough for misclassified images to pass, low enough for others to be flagged."""
    return trained_detector.bounds(0.05).thresholds[0.05]


@pytest.mark.parametrize("smooth", [True, False])
@pytest.mark.parametrize("target", [None, 3])
def test_the_view_errs_exactly_where_the_detector_is_passed(trained_detector, shown, level, smooth, target) -> None:
    wins = fails = 0
    for label in range(10):
        rows = (shown[1] == label).nonzero()[:, 0]
        if label == target:
            continue
        images = shown[0][rows]
        outputs = trained_detector(images)
        view = Passing(trained_detector, images, label, target, level, smooth)
        logits = view(images)
        wanted = outputs.labels != label if target is None else outputs.labels == target
        beyond = outputs.suspicion_of_label - level[outputs.labels]
        clear = beyond.abs() > ROUNDING
        passed = (wanted & (beyond <= 0))[clear]
        said = logits.argmax(1) != label if target is None else logits.argmax(1) == target
        assert torch.equal(said[clear], passed)
        assert torch.equal((view.lead(logits) > 0)[clear], passed)
        wins, fails = wins + int(passed.sum()), fails + int((wanted[clear] & ~passed).sum())
    assert fails > 0, "nothing is misclassified and flagged"
    assert wins > 0 or target is not None, "nothing passes"


def test_without_a_level_the_view_is_the_classifier(trained_detector, shown) -> None:
    images = shown[0][:20]
    outputs = trained_detector(images)
    assert torch.equal(Passing(trained_detector, images, 0, smooth=False)(images), outputs.logits)
    assert torch.equal(Passing(trained_detector, images, 0)(images).argmax(1), outputs.labels)


def test_a_cross_entropy_keeps_its_gradient_however_large_the_lead(digits: Split) -> None:
    def sure(images: Tensor) -> Outputs:
        logits = 1000 * torch.stack([images.mean((1, 2, 3)) + 1, images[:, 0, 0, 0]], 1)
        return Outputs(logits, torch.zeros_like(logits))

    x = digits.test.images[:4].clone().requires_grad_()
    dead = {}
    for smooth in (True, False):
        view = Passing(sure, x, 0, smooth=smooth)
        (gradient,) = torch.autograd.grad(F.cross_entropy(view(x), torch.zeros(4, dtype=torch.int64)), x)
        dead[smooth] = (view.queries, view.gradients, view.dead)
        assert bool((gradient.abs().amax((1, 2, 3)) > 0).all()) is smooth
    assert dead == {True: (4, 4, 0), False: (4, 4, 4)}


def test_the_further_class_is_predicted_exactly_where_the_detector_flags(trained_detector, shown, level) -> None:
    outputs = trained_detector(shown[0])
    view = Rejecting(trained_detector, shown[0], level)
    beyond = outputs.suspicion_of_label - level[outputs.labels]
    clear = beyond.abs() > ROUNDING
    said = view(shown[0]).argmax(1)
    assert view(shown[0]).shape == (300, 11)
    assert torch.equal(said[clear], torch.where(beyond > 0, 10, outputs.labels)[clear])
    assert 0.1 < (said == 10).float().mean() < 0.9
    assert torch.equal(Rejecting(trained_detector, shown[0])(shown[0]), outputs.logits)


def test_the_view_leaves_a_module_as_it_is() -> None:
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2)).train()
    view = Rejecting(network, torch.zeros(1, 1, 2, 2))
    assert [name for name, _ in view.named_parameters()] == ["place"]
    view.eval().double()
    assert network.training
    assert network[1].weight.dtype == torch.float32


def test_the_level_is_that_of_the_criterion() -> None:
    low, high = torch.tensor([1.0, 4.0]), torch.tensor([3.0, 2.0])
    bounds = Bounds(high, None, {0.05: low})
    assert level_of(Misclassified()) is None
    assert torch.equal(level_of(Misclassified() & C1(bounds)), high)
    assert torch.equal(level_of(Misclassified() & (C1(bounds) & Undetected(bounds, 0.05))), torch.tensor([1.0, 2.0]))
