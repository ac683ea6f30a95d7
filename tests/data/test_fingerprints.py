import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from twinlatent.data.fingerprints import TOLERANCE, distances, fingerprints, repeats


def blobs(count: int, side: int = 64, seed: int = 0) -> np.ndarray:
    """Smooth random pictures, uint8 (count, side, side)."""
    coarse = np.random.default_rng(seed).integers(0, 256, (count, 9, 9)).astype(np.uint8)
    return np.stack([np.asarray(Image.fromarray(c).resize((side, side), Image.Resampling.BICUBIC)) for c in coarse])


def test_distances_count_bits() -> None:
    values = np.random.default_rng(0).integers(0, 2**63, 20).astype(np.uint64) * np.uint64(2) + np.uint64(1)
    counted = [[(int(a) ^ int(b)).bit_count() for b in values] for a in values[:7]]
    assert distances(values[:7], values).tolist() == counted


def test_a_wave_sets_its_bit_alone() -> None:
    """A cosine of the second lowest frequency, (1, 0), is the second bit; its negative sets none."""
    x = np.cos(np.pi * (np.arange(64) + 0.5) / 64)
    wave = np.repeat(128 + 100 * x[:, None], 64, axis=1)
    up, down = fingerprints(np.stack([wave, 255 - wave]))
    assert (int(up) >> 62) & 1 == 1
    assert (int(down) >> 62) & 1 == 0


def test_brightness_contrast_and_size_play_no_part() -> None:
    pictures = blobs(8)
    first = fingerprints(pictures)
    np.testing.assert_array_equal(fingerprints(pictures * 0.5 + 30), first)
    halved = pictures.reshape(8, 32, 2, 32, 2).mean((2, 4))
    np.testing.assert_array_equal(fingerprints(halved), first)


def test_a_picture_has_the_same_fingerprint_in_any_company() -> None:
    pictures = blobs(30)
    np.testing.assert_array_equal(fingerprints(pictures)[7:8], fingerprints(pictures[7:8]))
    assert fingerprints(pictures[:0]).shape == (0,)


def test_large_pictures_take_little_memory() -> None:
    """All 32 at once as float64 would be 256 MiB."""
    (picture,) = blobs(1, 1024)
    pictures = np.broadcast_to(picture, (32, 1024, 1024))
    tracemalloc.start()
    prints = fingerprints(pictures)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 64 * 2**20
    assert prints.tolist() == fingerprints(picture[None]).tolist() * 32


def test_flat_pictures_have_no_bits_and_negatives_all_others() -> None:
    assert fingerprints(np.full((2, 20, 20), 99)).tolist() == [0, 0]
    picture = blobs(1)
    assert distances(fingerprints(picture), fingerprints(255.0 - picture)).item() == 64


def test_jpeg_and_noise_stay_within_the_tolerance_and_other_pictures_do_not(tmp_path: Path) -> None:
    pictures = blobs(100)
    for k, picture in enumerate(pictures):
        Image.fromarray(picture).save(tmp_path / f"{k}.jpg", quality=60)
    saved = np.stack([np.asarray(Image.open(tmp_path / f"{k}.jpg")) for k in range(100)])
    noise = np.random.default_rng(1).integers(-4, 5, pictures.shape)
    first = fingerprints(pictures)
    for other in (saved, (pictures + noise).clip(0, 255)):
        assert distances(first, fingerprints(other)).diagonal().max() <= TOLERANCE
    apart = distances(first, first)[np.triu_indices(100, 1)]
    assert apart.min() > 2 * TOLERANCE


def spelt(*bits: str) -> np.ndarray:
    return np.array([int(b, 2) for b in bits], np.uint64)


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ([0, 0, 0, 0], {1: (0, False)}),  # 2 is near 1 but not near 0, which stays
        ([0, 1, 1, 0], {0: (1, True), 1: (0, True)}),
        ([0, 1, 0, 0], {0: (1, True), 1: (0, True), 2: (1, True)}),
        ([1, 1, 0, 0], {1: (2, True), 2: (1, True)}),
    ],
)
def test_of_the_same_the_first_stays_and_of_contradictions_none(labels: list[int], expected: dict) -> None:
    prints = spelt("0", "1", "11", "1111111")
    assert repeats(prints, np.array(labels), tolerance=1) == expected


def test_what_stays_is_apart_whatever_the_order() -> None:
    generator = np.random.default_rng(0)
    prints = generator.integers(0, 2**12, 3000).astype(np.uint64)
    labels = generator.integers(0, 2, 3000)
    out = repeats(prints, labels, tolerance=0)
    kept = [i for i in range(3000) if i not in out]
    assert len(set(prints[kept].tolist())) == len(kept)
    classes: dict[int, set[int]] = {}
    for value, label in zip(prints.tolist(), labels.tolist(), strict=True):
        classes.setdefault(value, set()).add(label)
    assert {int(v) for v in prints[kept]} == {value for value, found in classes.items() if len(found) == 1}
