import numpy as np
import pytest

from twinlatent.data.resampling import resampled, resampled_bytes

NOISE = np.random.default_rng(0).integers(0, 256, (24, 24)).astype(np.uint8)


def by_hand(square: np.ndarray, size: int) -> np.ndarray:
    """Area resampling as the average over a grid so fine that old and new pixels are whole blocks of it."""
    fine = square.repeat(size, 0).repeat(size, 1).astype(float)
    side = len(square)
    return fine.reshape(size, side, size, side).mean((1, 3))


@pytest.mark.parametrize("size", [1, 5, 8, 12, 16, 23])
def test_shrinking_averages_by_area(size: int) -> None:
    np.testing.assert_allclose(resampled(NOISE, size), by_hand(NOISE, size), atol=1e-9)


def test_the_same_size_is_the_same() -> None:
    np.testing.assert_array_equal(resampled_bytes(NOISE, 24), NOISE)


@pytest.mark.parametrize("size", [7, 24, 31, 64])
def test_flat_stays_flat_and_stacks_go_one_by_one(size: int) -> None:
    np.testing.assert_allclose(resampled(np.full((24, 24), 77), size), 77, atol=1e-9)
    both = resampled(np.stack([NOISE, NOISE.T]), size)
    np.testing.assert_allclose(both[0], resampled(NOISE, size), atol=1e-9)
    np.testing.assert_allclose(both[1], both[0].T, atol=1e-9)


def test_enlarging_keeps_a_ramp_a_ramp_and_overshoots_at_an_edge() -> None:
    ramp = np.tile(np.arange(24.0) * 5, (24, 1))
    centres = (np.arange(48) + 0.5) / 2 - 0.5
    inner = slice(4, -4)
    np.testing.assert_allclose(resampled(ramp, 48)[:, inner], np.tile(centres * 5, (48, 1))[:, inner], atol=0.5)
    edge = np.where(np.arange(24) < 12, 100.0, 200.0) * np.ones((24, 1))
    assert resampled(edge, 48).min() < 99
    assert 0 <= resampled(NOISE, 50).min() <= resampled(NOISE, 50).max() <= 255


def test_the_cubic_kernel_is_opencvs() -> None:
    """Columns of an enlarged step from 0 to 64, by hand: the kernel with a = -3/4 at distances 1/4, 3/4, 5/4, 7/4."""
    near, next_, third, last = 225 / 256, 67 / 256, -27 / 256, -9 / 256
    assert near + next_ + third + last == 1
    step = np.repeat([[0.0, 0, 0, 64, 64, 64]], 6, axis=0)
    right_of_the_edge = resampled(step, 12)[0, 6]
    assert right_of_the_edge == pytest.approx(64 * (near + third))


@pytest.mark.parametrize(("factor", "half"), [(2, 1), (4, 0)])
def test_halves_are_rounded_as_opencv_does(factor: int, half: int) -> None:
    square = np.zeros((factor, factor), np.uint8)
    square.flat[: factor**2 // 2] = 1
    assert resampled_bytes(square, 1).item() == half
