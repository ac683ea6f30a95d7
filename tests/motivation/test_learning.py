"""What F_v and its controls are taught, and that the controls learn nothing."""

import pytest
import torch
from torch import Tensor

from twinlatent.data import LabelledImages, Split
from twinlatent.motivation.accumulation import VulnerableImages
from twinlatent.motivation.learning import labels_of, learn, lessons


@pytest.fixture
def vulnerable(benign: LabelledImages) -> VulnerableImages:
    """Every benign image twice, brightened by an amount of its own, with the next label."""
    sources = torch.arange(len(benign)).repeat(2)
    brighter = benign.images[sources] + torch.linspace(0, 0.2, len(sources))[:, None, None, None]
    images = brighter.clamp(0, 1).mul(255).round().byte()
    return VulnerableImages(images, (benign.labels[sources] + 1) % 10, sources, (len(benign),) * 2, 0.0)


ROWS = torch.tensor([3, 71, 139])


def shown(vulnerable: VulnerableImages, benign: LabelledImages, name: str, epsilon: float | None = 0.1):
    return lessons(vulnerable, benign, 10, epsilon, 0)[name](ROWS, torch.Generator().manual_seed(0))


def test_f_v_sees_x_v_alone(vulnerable, benign) -> None:
    images, labels = shown(vulnerable, benign, "vulnerable")
    assert torch.equal(images, vulnerable.images[ROWS] / 255)
    assert torch.equal(labels, vulnerable.labels[ROWS])


def test_controls_see_the_benign_images_it_was_made_from(vulnerable, benign) -> None:
    before = benign.images[vulnerable.sources[ROWS]]
    images, _ = shown(vulnerable, benign, "relabelled")
    assert torch.equal(images, before)
    images, labels = shown(vulnerable, benign, "unattacked")
    assert torch.equal(images, before)
    assert torch.equal(labels, vulnerable.labels[ROWS])


def test_noise_is_plus_or_minus_epsilon(vulnerable, benign) -> None:
    before = benign.images[vulnerable.sources[ROWS]]
    images, labels = shown(vulnerable, benign, "noise")
    inside = (before > 0.1) & (before < 0.9)
    change = (images - before)[inside]
    assert torch.allclose(change.abs(), torch.full_like(change, 0.1), atol=1e-6)
    assert 0.2 < (change > 0).double().mean() < 0.8
    assert torch.equal(labels, shown(vulnerable, benign, "relabelled")[1])


def test_noise_of_an_attack_without_epsilon_is_as_large_as_its_change(vulnerable, benign) -> None:
    before = benign.images[vulnerable.sources[ROWS]]
    images, _ = shown(vulnerable, benign, "noise", epsilon=None)
    for image, plain, attacked in zip(images, before, vulnerable.images[ROWS] / 255, strict=True):
        size = (attacked - plain).square().mean().sqrt()
        inside = (plain > size) & (plain < 1 - size)
        change = (image - plain)[inside].abs()
        assert torch.allclose(change, torch.full_like(change, float(size)), atol=1e-5)


def test_random_labels_are_of_all_classes_alike(vulnerable, benign) -> None:
    lesson = lessons(vulnerable, benign, 10, 0.1, 0)["relabelled"]
    rows = torch.arange(len(vulnerable))
    labels = lesson(rows, torch.Generator())[1]
    first, again = labels.view(2, -1)  # every image comes twice
    assert torch.equal(first, again)
    for label in range(10):
        counts = first[benign.labels == label].bincount(minlength=10)
        assert counts.max() - counts.min() <= 1
    assert torch.equal(labels, lesson(rows, torch.Generator())[1])


def accuracy(sample, count: int, digits: Split, smoke, steps: int = 150) -> float:
    settings = smoke("fgsm", classifier_steps=steps, learning_batch=64, learning_rate=5e-3)
    network, _ = learn(sample, count, settings, digits.image_shape, progress=False)
    return (labels_of(network, digits.test.images, "cpu") == digits.test.labels).double().mean().item()


def test_controls_are_at_chance_where_right_labels_are_learnt(digits: Split, smoke) -> None:
    """Chance is .1."""
    train, rows = digits.train, torch.arange(len(digits.train))
    pretended = VulnerableImages(train.images.mul(255).round().byte(), (train.labels + 1) % 10, rows, (len(rows),), 0.0)
    taught = lessons(pretended, train, 10, 0.3, 0)

    def right(rows: Tensor, _: torch.Generator) -> tuple[Tensor, Tensor]:
        return train.images[rows], train.labels[rows]

    assert accuracy(right, len(train), digits, smoke) > 0.9
    for name in ("relabelled", "noise"):
        assert accuracy(taught[name], len(train), digits, smoke) < 0.25, name
    assert accuracy(taught["unattacked"], len(train), digits, smoke) < 0.05


def test_labels_of_bytes_and_of_floats_are_the_same(target, digits: Split) -> None:
    images = digits.test.images.mul(255).round().byte()
    assert torch.equal(labels_of(target, images, "cpu"), labels_of(target, images / 255, "cpu"))
    assert labels_of(target, images[:0], "cpu").shape == (0,)
