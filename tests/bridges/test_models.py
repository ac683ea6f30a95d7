"""Our detectors in the real libraries: what these read from them is what we say, and their attacks run on them."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from twinlatent import bridges
from twinlatent.bridges.attacks import imported
from twinlatent.data import Split
from twinlatent.errors import TwinlatentError

pytestmark = pytest.mark.slow


def library(name: str, module: str) -> Any:
    try:
        return imported(name, module)
    except TwinlatentError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def foolbox() -> Any:
    return library("foolbox", "foolbox")


@pytest.fixture(scope="module")
def art() -> Callable[[str], Any]:
    """A function: a module of the toolbox."""
    library("art", "art")
    return lambda module: library("art", f"art.{module}")


@pytest.fixture(scope="module")
def shown(digits: Split) -> tuple[Tensor, Tensor]:
    return digits.test.images[:30], digits.test.labels[:30]


def test_foolbox_reads_labels_and_verdicts(foolbox, trained_detector, digits: Split) -> None:
    images = (digits.test.images + 0.3 * digits.test.images.flip(0)).clamp(0, 1)
    verdict = trained_detector.detect(images)
    expected = torch.where(verdict.adversarial, 10, verdict.label)
    assert torch.equal(bridges.foolbox_model(trained_detector)(images).argmax(1), verdict.label)
    said = bridges.foolbox_model(trained_detector, 0.05)(images).argmax(1)
    assert (said != expected).float().mean() < 0.01, "but for rounding"
    assert 0.1 < verdict.adversarial.float().mean() < 1


def test_foolbox_attacks_it(foolbox, trained_detector, shown) -> None:
    images, labels = shown
    model = bridges.foolbox_model(trained_detector)
    _, attacked, success = foolbox.attacks.LinfPGD(steps=10)(model, images, labels, epsilons=0.3)
    assert torch.equal(success, trained_detector.detect(attacked).label != labels)
    assert success.float().mean() > 0.5
    aimed = foolbox.criteria.TargetedMisclassification((labels + 1) % 10)
    guarded = bridges.foolbox_model(trained_detector, 0.05)
    _, attacked, success = foolbox.attacks.LinfPGD(steps=20)(guarded, images, aimed, epsilons=0.5)
    assert 0 < success.sum() < len(images)
    assert (~trained_detector.detect(attacked).adversarial[success]).float().mean() > 0.9


def test_art_has_an_estimator_of_it_with_gradients(art, trained_detector, shown) -> None:
    images, labels = shown
    estimator = bridges.art_classifier(trained_detector)
    assert isinstance(estimator, art("estimators").BaseEstimator)
    assert isinstance(estimator, art("estimators.classification.classifier").ClassifierMixin)
    assert (estimator.input_shape, estimator.nb_classes) == ((1, 8, 8), 10)
    assert {"model", "clip_values"} <= set(estimator.get_params())
    np.testing.assert_allclose(estimator.predict(images.numpy()), trained_detector(images).logits, rtol=1e-5, atol=1e-4)
    x = images.clone().requires_grad_()
    (expected,) = torch.autograd.grad(F.cross_entropy(trained_detector(x).logits, labels, reduction="sum"), x)
    found = estimator.loss_gradient(images.numpy(), F.one_hot(labels, 10).numpy())
    np.testing.assert_allclose(found / np.abs(found).max(), expected / expected.abs().max(), atol=1e-4)
    with pytest.raises(ValueError, match="optimizer"):
        estimator.fit(images.numpy(), labels.numpy())


def test_art_attacks_it_and_its_detector_says_what_ours_says(art, trained_detector, digits, shown) -> None:
    images, labels = shown
    attack = art("attacks.evasion").FastGradientMethod(bridges.art_classifier(trained_detector, 0.05), eps=0.3)
    attacked = attack.generate(images.numpy(), labels.numpy())
    assert (trained_detector.detect(attacked).label != labels).any()
    guard = bridges.art_detector(trained_detector, 0.1)
    assert isinstance(guard, art("defences.detector.evasion").EvasionDetector)
    report, flagged = guard.detect(attacked)
    expected = trained_detector.detect(attacked, 0.1)
    assert flagged.dtype == bool
    assert np.array_equal(flagged, expected.adversarial)
    assert np.array_equal(report["p_value"], expected.p_value)
    faint = 0.5 * digits.test.images.numpy()
    before = guard.detect(faint)[1].mean()
    guard.fit(faint, None)
    assert guard.detect(faint)[1].mean() <= 0.1 < before
    assert guard.get_params() == {"detector": trained_detector, "fpr": 0.1}
    with pytest.raises(TwinlatentError, match="finer than the calibration"):
        guard.set_params(fpr=0.001)
    guard.set_params(detector=trained_detector.using(score="joint"), fpr=0.1)
    assert np.array_equal(guard.detect(faint)[1], trained_detector.using(score="joint").detect(faint, 0.1).adversarial)


def test_art_s_own_evaluation_of_detectors_takes_it(art, trained_detector, digits: Split) -> None:
    compute_accuracy = art("utils").compute_accuracy
    estimator = bridges.art_classifier(trained_detector, 0.05)
    labels = digits.test.labels.numpy()
    accuracy = compute_accuracy(
        estimator.predict(digits.test.images.numpy()), F.one_hot(digits.test.labels, 11).numpy()
    )
    verdict = trained_detector.detect(digits.test.images)
    right = ((verdict.label.numpy() == labels) & ~verdict.adversarial.numpy()).mean()
    assert accuracy[0] == pytest.approx(right, abs=0.01)
