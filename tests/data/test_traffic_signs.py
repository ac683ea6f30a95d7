"""Frames of a track are near-copies: a track is in one part, and every class has some in each."""

import hashlib
import io
from pathlib import Path

import numpy as np
import pytest
import torch

from twinlatent.data import catalogue, downloads, load, traffic_signs, where
from twinlatent.data.traffic_signs import SIGNS, divided_by_track, holds_signs, read_signs
from twinlatent.errors import TwinlatentError


def written(path: Path, labels: np.ndarray, **more: np.ndarray) -> Path:
    images = np.random.default_rng(len(labels)).integers(0, 256, (len(labels), 32, 32, 3)).astype(np.uint8)
    images[:, 0, 0, 0] = np.arange(len(labels)) % 256
    np.savez(path, images=images, labels=labels.astype(np.uint8), **more)
    return path


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Four tracks of three frames a class, as the real files are laid out; two test images a class."""
    labels = np.arange(43).repeat(12)
    tracks = (labels * 100 + np.tile(np.arange(4).repeat(3), 43)).astype(np.uint16)
    return [
        written(tmp_path / "train.npz", labels, track=tracks),
        written(tmp_path / "test.npz", np.arange(43).repeat(2)),
    ]


def test_the_files_are_divided_by_track(files: list[Path]) -> None:
    train, calibration, test, selection = read_signs(files, seed=0)
    assert [len(part) for part in (train, calibration, test, selection)] == [43 * 6, 43 * 3, 86, 43 * 3]
    for part in (train, calibration, selection):
        assert part.labels.bincount().tolist() == [len(part) // 43] * 43
        numbers = part.images[:, 0, 0, 0].mul(255).round()
        assert (numbers.view(-1, 3).diff() % 256 == 1).all(), "the three frames of a track, side by side"
    with np.load(files[1]) as arrays:
        assert torch.equal(test.images, torch.from_numpy(arrays["images"]).movedim(-1, 1) / 255)
    again, other = read_signs(files, seed=0), read_signs(files, seed=1)
    assert torch.equal(again[1].images, calibration.images)
    assert not torch.equal(other[1].images, calibration.images)


@pytest.mark.parametrize("seed", range(3))
def test_shares_are_as_near_as_whole_tracks_allow(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    sizes = torch.randint(1, 30, (80,), generator=generator)
    tracks = torch.arange(80).repeat_interleave(sizes)
    labels = tracks % 4
    part = divided_by_track(labels, tracks, (0.2, 0.1), seed)
    assert all(len(part[tracks == track].unique()) == 1 for track in range(80))
    for label in range(4):
        counts, n = part[labels == label].bincount(minlength=3).tolist(), int((labels == label).sum())
        assert abs(counts[1] - 0.2 * n) <= 29 / 2 >= abs(counts[2] - 0.1 * n), "half of the longest track"


def test_of_three_tracks_each_part_has_one() -> None:
    tracks = torch.arange(3).repeat_interleave(torch.tensor([1, 50, 2]))
    for seed in range(5):
        part = divided_by_track(torch.zeros_like(tracks), tracks, (0.2, 0.1), seed)
        assert sorted(part[tracks == track].unique().item() for track in range(3)) == [0, 1, 2]


def test_other_arrays_are_named(files: list[Path], tmp_path: Path) -> None:
    with pytest.raises(TwinlatentError, match="holds no array 'track'"):
        read_signs([written(tmp_path / "other.npz", np.arange(43)), files[1]], seed=0)
    with pytest.raises(TwinlatentError, match=r"other\.npz: has label 43 of 43 classes; put the published file there"):
        read_signs([written(tmp_path / "other.npz", np.arange(44)), files[1]], seed=0)
    np.savez(tmp_path / "grey.npz", images=np.zeros((4, 32, 32), np.uint8), labels=np.zeros(4, np.uint8))
    with pytest.raises(TwinlatentError, match=r"grey\.npz: holds images of uint8 \(4, 32, 32\) and labels of uint8"):
        read_signs([tmp_path / "grey.npz", files[1]], seed=0)


def test_where_it_is_not_it_is_said_how_to_get_it(cache: Path) -> None:
    assert where("gtsrb32") == "to be put there, see docs/own_data.md"
    mend = r"it cannot be fetched; make it of pictures .*, as docs/own_data\.md says, and put it into "
    with pytest.raises(TwinlatentError, match=rf"^gtsrb32/train\.npz is not in .*; {mend}"):
        load("gtsrb32")


def test_files_made_again_are_known_by_what_they_hold(files: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    with np.load(files[0]) as arrays:
        held = {name: arrays[name] for name in ("images", "labels", "track")}
    digest = hashlib.sha256(b"".join(array.tobytes() for array in held.values())).hexdigest()
    monkeypatch.setitem(traffic_signs.HELD, tuple(held), digest)
    packed = io.BytesIO()
    np.savez_compressed(packed, frame=np.zeros(3), **held)
    assert holds_signs(packed.getvalue())
    assert not holds_signs(packed.getvalue()[:-100])
    held["track"] = held["track"] + np.uint16(1)
    np.savez(packed := io.BytesIO(), **held)
    assert not holds_signs(packed.getvalue())
    assert not holds_signs(files[1].read_bytes())


@pytest.mark.slow
def test_the_real_signs_are_divided_by_track_and_keep_their_test_images() -> None:
    paths = [downloads.locate(catalogue.GTSRB32, file) for file in catalogue.GTSRB32.files]
    if None in paths:
        pytest.skip("no gtsrb32/train.npz and test.npz")
    assert all(holds_signs(path.read_bytes()) for path in paths)
    split = load("gtsrb32", fetch=False)
    assert (split.classes, len(SIGNS), split.image_shape) == (43, 43, (3, 32, 32))
    assert [len(part) for part in split.parts.values()] == [10770, 3118, 3990, 1572]
    assert "15,460 of the 39,209 training images" in split.origin
    with np.load(paths[0]) as arrays:
        track_of = dict(zip(map(bytes, arrays["images"].transpose(0, 3, 1, 2)), arrays["track"].tolist(), strict=True))
    tracks = {name: {track_of[image.tobytes()] for image in part.images.mul(255).round().byte().numpy()}
              for name, part in split.parts.items() if name != "test"}  # fmt: skip
    assert sum(map(len, tracks.values())) == len(set().union(*tracks.values())) == 1307
    whole = load("gtsrb32", fetch=False, selection=False)
    assert len(whole.train) == len(split.train) + len(split.selection)
    assert torch.equal(whole.calibration.images, split.calibration.images)
