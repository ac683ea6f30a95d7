"""Mild changes: the same for an image in any batch, in [0, 1], stronger at each strength, and what their names say."""

import pytest
import torch
from torch import Tensor

from twinlatent.data import Split
from twinlatent.errors import TwinlatentError
from twinlatent.evaluation.shift.changes import CHANGES, SIDE, STRENGTHS, changed

EVERY = [(change, strength) for change in CHANGES for strength in STRENGTHS]
ADVISED = ("blur", "resampling", "jpeg", "noise", "brightness", "contrast", "shift", "rotation")


def distance(first: Tensor, second: Tensor) -> float:
    return (first - second).abs().mean().item()


def test_all_changes_are_there() -> None:
    assert tuple(CHANGES) == ADVISED
    assert STRENGTHS == (1, 2, 3)


@pytest.mark.parametrize(("change", "strength"), EVERY)
def test_an_image_is_changed_alike_in_any_batch_and_stays_in_the_box(real_images, change: str, strength: int) -> None:
    images = real_images(6, side=28)
    before = torch.random.get_rng_state()
    made = changed(images, change, strength)
    assert torch.equal(changed(images.flip(0), change, strength).flip(0), made)
    assert torch.equal(changed(images[3:4], change, strength)[0], made[3])
    assert torch.equal(torch.random.get_rng_state(), before)
    assert made.shape == images.shape
    assert made.dtype == torch.float32
    assert 0 <= made.min() <= made.max() <= 1
    assert (made != images).flatten(1).any(1).all(), "every image is changed"


@pytest.mark.parametrize("change", CHANGES)
def test_strengths_rise(real_images, change: str) -> None:
    images = real_images(30, side=28)
    near, middle, far = (distance(changed(images, change, strength), images) for strength in STRENGTHS)
    assert 0 < near < middle < far < 0.2


@pytest.mark.parametrize(("change", "strength"), EVERY)
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 8, 8), (3, 20, 12), (2, 9, 31), (1, 1, 1)])
def test_any_size_and_number_of_channels_will_do(shape: tuple[int, ...], change: str, strength: int) -> None:
    images = torch.rand(2, *shape, generator=torch.Generator().manual_seed(0))
    made = changed(images, change, strength)
    assert made.shape == images.shape
    assert made.isfinite().all()
    assert 0 <= made.min() <= made.max() <= 1


def test_equal_channels_stay_equal(real_images) -> None:
    """All channels of a pixel are moved, blurred and brightened alike; noise is one a channel."""
    images = real_images(3, side=28, channels=3)
    for change in CHANGES:
        made = changed(images, change, 2)
        alike = torch.allclose(made[:, 0], made[:, 1], atol=1e-6)
        assert alike == (change != "noise"), change


def test_what_is_drawn_follows_the_seed_and_the_image(real_images) -> None:
    images = real_images(4, side=28)
    other = images.clone()
    other[0, 0, 0, 0] = 0.5 - other[0, 0, 0, 0] / 2
    noise = changed(images, "noise", 1)
    assert not torch.equal(changed(images, "noise", 1, seed=1), noise)
    assert not torch.equal(changed(other, "noise", 1)[0, 0, 5:], noise[0, 0, 5:])
    assert torch.equal(changed(other, "noise", 1)[1:], noise[1:])


# --- each does what it says -------------------------------------------------------------------------------------------


def spot(side: int = 28, at: int = 14) -> Tensor:
    image = torch.zeros(1, 1, side, side)
    image[..., at, at] = 1
    return image


@pytest.mark.parametrize("side", [SIDE, 56])
def test_a_blurred_spot_has_the_width_of_the_blur(side: int) -> None:
    made, places = changed(spot(side, side // 2), "blur", 3)[0, 0].double(), torch.arange(side).double() - side // 2
    assert made.sum().item() == pytest.approx(1, abs=1e-4)
    assert ((made.sum(1) * places**2).sum() ** 0.5).item() == pytest.approx(side / SIDE, rel=0.02)


@pytest.mark.parametrize(("strength", "sigma"), [(1, 0.02), (2, 0.05), (3, 0.1)])
def test_noise_has_its_sigma(strength: int, sigma: float) -> None:
    grey = torch.full((20, 1, 28, 28), 0.5) + torch.arange(20)[:, None, None, None] / 1000
    added = changed(grey, "noise", strength) - grey
    assert added.std().item() == pytest.approx(sigma, rel=0.05)
    assert added.mean().item() == pytest.approx(0, abs=sigma / 20)


def test_brightness_goes_both_ways_and_contrast_keeps_the_mean(digits: Split) -> None:
    grey = 0.3 + 0.4 * digits.test.images[:40]
    steps = (changed(grey, "brightness", 1) - grey).mean((1, 2, 3))
    assert steps.abs().allclose(torch.tensor(0.05), atol=1e-6)
    assert 5 < (steps > 0).sum() < 35
    made = changed(grey, "contrast", 3)
    torch.testing.assert_close(made.mean((1, 2, 3)), grey.mean((1, 2, 3)))
    torch.testing.assert_close(made.amax((1, 2, 3)) - made.amin((1, 2, 3)),
                               0.5 * (grey.amax((1, 2, 3)) - grey.amin((1, 2, 3))))  # fmt: skip


@pytest.mark.parametrize(("side", "pixels"), [(28, (1, 2, 3)), (64, (2, 5, 7))])
def test_a_shift_moves_by_whole_pixels_in_all_directions(side: int, pixels: tuple[int, ...]) -> None:
    spots = spot(side, side // 2) * torch.linspace(0.5, 1, 60)[:, None, None, None]
    for strength, far in zip(STRENGTHS, pixels, strict=True):
        made = changed(spots, "shift", strength)
        moved = made.flatten(1).argmax(1) - (side // 2) * (side + 1)
        down = (moved + side * side // 2 + side // 2) // side - side // 2
        right = moved - down * side
        assert {*down.abs().tolist(), *right.abs().tolist()} == {0, far}
        assert len({*zip(down.tolist(), right.tolist(), strict=True)}) == 8
        torch.testing.assert_close(made.flatten(1).amax(1), spots.flatten(1).amax(1), atol=1e-5, rtol=0)


def test_a_rotation_turns_by_its_degrees() -> None:
    bar = torch.zeros(12, 1, 41, 41)
    bar[:, :, 18:23, 4:37] = torch.linspace(0.5, 1, 12)[:, None, None, None]
    y, x = torch.meshgrid(torch.arange(41.0) - 20, torch.arange(41.0) - 20, indexing="ij")
    for strength, degrees in zip(STRENGTHS, (5, 10, 15), strict=True):
        made = changed(bar, "rotation", strength)[:, 0]
        angle = 0.5 * torch.atan2(2 * (made * x * y).sum((1, 2)), (made * (x**2 - y**2)).sum((1, 2))).rad2deg()
        assert angle.abs().allclose(torch.tensor(float(degrees)), atol=0.3)
        assert {1.0, -1.0} == {*angle.sign().tolist()}


def test_resampling_takes_the_finest_stripes_and_leaves_an_even_image() -> None:
    stripes = torch.zeros(1, 1, 28, 28)
    stripes[..., ::2] = 1
    even = torch.full((1, 1, 28, 28), 0.25)
    assert [changed(stripes, "resampling", strength).std().item() < 0.4 for strength in STRENGTHS] == [True] * 3
    assert changed(stripes, "resampling", 3).std().item() < 0.05
    torch.testing.assert_close(changed(even, "resampling", 3), even)


def test_jpeg_leaves_an_even_image_and_whole_255ths(real_images) -> None:
    even = torch.full((1, 3, 16, 16), 100 / 255)
    torch.testing.assert_close(changed(even, "jpeg", 1), even)
    made = changed(real_images(4, side=17), "jpeg", 1) * 255
    torch.testing.assert_close(made, made.round(), atol=1e-4, rtol=0)


@pytest.mark.parametrize(("change", "strength"), [("fog", 1), ("blur", 0), ("blur", 4)])
def test_what_is_no_change_is_refused(change: str, strength: int) -> None:
    with pytest.raises(
        TwinlatentError, match=rf"change '{change}' of strength {strength} is unknown; choose from blur"
    ):
        changed(torch.zeros(1, 1, 8, 8), change, strength)
