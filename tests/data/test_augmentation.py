"""Changes of training images: what may change, what may not, and what the draws are."""

import pytest
import torch
from scipy import ndimage
from torch import Tensor

from twinlatent.data import LabelledImages
from twinlatent.data.augmentation import Augmentation, augmented
from twinlatent.method.batches import BatchSampler
from twinlatent.recipes import recipe_for

ALL = Augmentation(flip=True, shift=2, brightness=0.2, blur=1.0, rotation=20)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def images(real_images) -> Tensor:
    return real_images(60)


def test_where_all_is_off_nothing_is_drawn(images: Tensor) -> None:
    generator = seeded()
    before = generator.get_state()
    assert torch.equal(augmented(images, Augmentation(), generator), images)
    assert torch.equal(generator.get_state(), before)


def test_half_are_mirrored(images: Tensor) -> None:
    changed = augmented(images, Augmentation(flip=True), seeded())
    mirrored = (changed == images.flip(-1)).flatten(1).all(1)
    assert ((changed == images).flatten(1).all(1) | mirrored).all()
    assert 15 < mirrored.sum() < 45


def test_an_image_is_moved_by_whole_pixels_and_its_border_repeated(images: Tensor) -> None:
    changed = augmented(images, Augmentation(shift=2), seeded())
    padded = torch.nn.functional.pad(images, (2, 2, 2, 2), mode="replicate")
    size = images.shape[-1]
    places = [(y, x) for y in range(5) for x in range(5)]
    found = torch.stack([(changed == padded[..., y : y + size, x : x + size]).flatten(1).all(1) for y, x in places])
    assert found.any(0).all()
    assert found.any(1).sum() > 15  # of 25 moves


def test_brightness_is_one_factor_an_image(images: Tensor) -> None:
    changed = augmented(images * 0.8, Augmentation(brightness=0.2), seeded())
    factors = [(a[b > 0] / b[b > 0]) for a, b in zip(changed, images * 0.8, strict=True)]
    assert all(torch.allclose(factor, factor[:1].expand_as(factor), atol=1e-6) for factor in factors)
    one = torch.stack([factor[0] for factor in factors])
    assert one.min() >= 0.8
    assert one.max() <= 1.2
    assert one.std() > 0.05


def test_blur_is_a_gaussian_of_each_image_s_own_width(images: Tensor) -> None:
    """With the draws known: SciPy's, cut off as far out, and none where the draw is of hardly any width."""
    pair = torch.cat([images, images.flip(1)], 1)
    made, sigmas = augmented(pair, Augmentation(blur=1.5), seeded()), 1.5 * torch.rand(60, generator=seeded())
    for image, changed, sigma in zip(pair.double().numpy(), made, sigmas.tolist(), strict=True):
        wanted = ndimage.gaussian_filter(image, (0, sigma, sigma), mode="nearest", radius=(0, 5, 5))
        assert torch.allclose(changed, torch.from_numpy(wanted).float(), atol=1e-5)
    assert sigmas.max() > 1.4
    assert torch.equal(augmented(images, Augmentation(blur=1e-6), seeded()), images)


def test_values_stay_in_range_and_images_as_they_were(images: Tensor) -> None:
    before = images.clone()
    changed = augmented(images, ALL, seeded())
    assert torch.equal(images, before)
    assert changed.min() >= 0
    assert changed.max() <= 1
    assert not torch.equal(changed, images)


def test_same_seed_same_changes_whatever_the_leading_axes(images: Tensor) -> None:
    flat = augmented(images, ALL, seeded(3))
    assert torch.equal(augmented(images.unflatten(0, (4, 15)), ALL, seeded(3)), flat.unflatten(0, (4, 15)))
    assert not torch.equal(augmented(images, ALL, seeded(4)), flat)


def test_mirrored_classes_are_learnt_as_they_are() -> None:
    """Arrows to the left and to the right, 48 pixels: unless augmentation is asked for, none is turned over."""
    left = torch.zeros(4, 1, 48, 48)
    left[..., 20:28, :24] = torch.tensor([0.4, 0.6, 0.8, 1.0])[:, None, None, None]
    arrows = LabelledImages(torch.cat([left, left.flip(-1)]), torch.arange(8) // 4)
    settings = recipe_for("arrays", (1, 48, 48), 2, 100).game_settings()
    dealt, others = BatchSampler(arrows, 2, 32, torch.device("cpu"), settings.augment)(seeded())
    to_the_left = [(images[..., :24].sum((-3, -2, -1)) > 0).tolist() for images in (*dealt, *others)]
    assert to_the_left == [[True] * 32, [False] * 32, [False] * 32, [True] * 32]


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 20, 31)])
def test_rotation_is_that_of_scipy(shape: tuple[int, int, int]) -> None:
    pictures = torch.rand(12, *shape, generator=seeded(3))
    made = augmented(pictures, Augmentation(rotation=30), seeded())
    angles = 30 * (2 * torch.rand(12, generator=seeded()) - 1)
    for picture, turned, angle in zip(pictures, made, angles.tolist(), strict=True):
        expected = ndimage.rotate(picture.double().numpy(), angle, axes=(1, 2), reshape=False, order=1, mode="nearest")
        torch.testing.assert_close(turned.double(), torch.from_numpy(expected), atol=1e-4, rtol=0)


def test_contrast_keeps_the_mean_and_multiplies_differences_by_one_factor(images: Tensor) -> None:
    middle = 0.4 + 0.2 * images  # so that nothing is cut off
    made = augmented(middle, Augmentation(contrast=0.4), seeded())
    mean = middle.mean((1, 2, 3), keepdim=True)
    torch.testing.assert_close(made.mean((1, 2, 3), keepdim=True), mean)
    factors = ((made - mean) * (middle - mean)).sum((1, 2, 3)) / (middle - mean).square().sum((1, 2, 3))
    torch.testing.assert_close(made, mean + factors[:, None, None, None] * (middle - mean), atol=1e-5, rtol=0)
    assert 0.6 <= factors.min() < 0.75
    assert 1.25 < factors.max() <= 1.4


def test_an_offset_is_one_number_an_image(images: Tensor) -> None:
    middle = 0.4 + 0.2 * images
    added = augmented(middle, Augmentation(offset=0.1), seeded()) - middle
    torch.testing.assert_close(added, added[:, :1, :1, :1].expand_as(added), atol=1e-6, rtol=0)
    assert -0.1 <= added.min() < -0.05
    assert 0.05 < added.max() <= 0.1
    assert augmented(images, Augmentation(offset=0.3), seeded()).amin() == 0  # cut off


def test_noise_has_a_width_of_each_image_s_own() -> None:
    grey = torch.full((60, 1, 20, 20), 0.5)
    made = augmented(grey, Augmentation(noise=0.1), seeded()) - grey
    widths = made.std((1, 2, 3))
    torch.testing.assert_close(widths, 0.1 * torch.rand(60, generator=seeded()), rtol=0.2, atol=1e-4)
    assert made.mean().abs() < 2e-3
