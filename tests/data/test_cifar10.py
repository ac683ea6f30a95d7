"""The binary archive is read as it is laid out, a part of it as the real set, and what is neither is named."""

import hashlib
import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch

from twinlatent.data import catalogue, cifar10, downloads, load, where
from twinlatent.data.cifar10 import ROW, TEST, TRAIN, holds_cifar10, read_cifar10
from twinlatent.errors import TwinlatentError

GENERATOR = np.random.default_rng(0)
ROWS = {name: np.concatenate([np.arange(10, dtype=np.uint8).repeat(6)[:, None],
                              GENERATOR.integers(0, 256, (60, ROW - 1), dtype=np.uint8)], 1)
        for name in (*TRAIN, TEST)}  # fmt: skip


def archive(path: Path, parts: dict[str, bytes]) -> Path:
    """Packed as the official one is, with its other files besides."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz", compresslevel=1) as packed:
        for name, content in {"batches.meta.txt": b"airplane\n", **parts, "readme.html": b"<html>"}.items():
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            member.size = len(content)
            packed.addfile(member, io.BytesIO(content))
    return path


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    return archive(tmp_path / "cifar10" / "cifar-10-binary.tar.gz", {name: v.tobytes() for name, v in ROWS.items()})


def test_a_row_is_a_class_and_three_planes(tiny: Path) -> None:
    train, test = read_cifar10([tiny])
    rows = np.concatenate([ROWS[name] for name in TRAIN])
    assert train.images.shape == (300, 3, 32, 32)
    assert train.labels.tolist() == rows[:, 0].tolist()
    assert train.images[7, 2, 30, 5] == np.float32(rows[7, 1 + 2 * 1024 + 30 * 32 + 5]) / np.float32(255)
    torch.testing.assert_close(test.images.flatten(1), torch.from_numpy(ROWS[TEST][:, 1:] / np.float32(255)))


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:5000]), "is damaged .*; put the published file in its place"),
        (lambda path: path.write_bytes(b"\x1f\x8bnothing"), "is damaged"),
        (lambda path: archive(path, dict.fromkeys(TRAIN, b"")), "holds no test_batch.bin; put the binary version"),
        (lambda path: archive(path, {name: bytes(ROW + 1) for name in (*TRAIN, TEST)}), "is no whole number of images"),
        (lambda path: archive(path, dict.fromkeys((*TRAIN, TEST), b"\xff" * ROW)), "has label 255 of 10 classes"),
        (lambda path: path.unlink(), "no such file"),
    ],
)
def test_what_is_no_such_archive_is_named(tiny: Path, change, line: str) -> None:
    change(tiny)
    with pytest.raises(TwinlatentError, match=f"cifar-10-binary.tar.gz: .*{line}"):
        read_cifar10([tiny])


def test_an_archive_packed_anew_is_known_by_its_images(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cifar10, "BATCH", 60 * ROW)
    assert not holds_cifar10(tiny.read_bytes())
    monkeypatch.setattr(cifar10, "TEST_MD5", hashlib.md5(ROWS[TEST].tobytes()).hexdigest())
    assert holds_cifar10(tiny.read_bytes())
    assert not holds_cifar10(tiny.read_bytes()[:-2000])
    assert not holds_cifar10(b"")


def test_the_archive_comes_before_the_part_of_it(tiny: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the split says which was read."""
    monkeypatch.setenv(downloads.DATA_VARIABLE, str(tiny.parent.parent))
    monkeypatch.setattr(cifar10, "BATCH", 60 * ROW)
    monkeypatch.setattr(cifar10, "TEST_MD5", hashlib.md5(ROWS[TEST].tobytes()).hexdigest())
    split = load("cifar10", fetch=False)
    assert {part: len(data) for part, data in split.parts.items()} == {
        "train": 250, "calibration": 25, "test": 60, "selection": 25}  # fmt: skip
    assert split.image_shape == (3, 32, 32)
    assert split.class_names[3:6] == ("cat", "deer", "dog")
    assert split.origin == "cifar10/cifar-10-binary.tar.gz: all 50,000 training images, all test images"
    assert where("cifar10") == f"{tiny.parent}: all 50,000 training images, all test images"
    with pytest.raises(TwinlatentError, match="channels is 1, but cifar10 has 3; leave channels out"):
        load("cifar10", channels=1, fetch=False)


def test_without_any_file_the_archive_is_asked_for(cache: Path) -> None:
    assert where("cifar10") == "170.1 MB to be fetched"
    with pytest.raises(TwinlatentError, match=r"^cifar10/cifar-10-binary\.tar\.gz is not in .*fetch=True"):
        load("cifar10", fetch=False)


def some() -> list[Path]:
    paths = [downloads.locate(catalogue.CIFAR10_SOME, file) for file in catalogue.CIFAR10_SOME.files]
    if None in paths or downloads.locate(catalogue.CIFAR10, catalogue.CIFAR10.files[0]) is not None:
        pytest.skip("no cifar10/train.npz and test.npz, or the whole set")
    return [path for path in paths if path is not None]


@pytest.mark.slow
def test_the_real_images_are_those_of_cifar10() -> None:
    """All test images have the digest of the archive's, and the split says which training images it has."""
    some()
    split = load("cifar10", fetch=False)
    rows = split.test.images.flatten(1).mul(255).round().byte().numpy()
    content = np.concatenate([split.test.labels.numpy().astype(np.uint8)[:, None], rows], 1).tobytes()
    assert hashlib.md5(content).hexdigest() == cifar10.TEST_MD5
    assert {part: len(data) for part, data in split.parts.items()} == {
        "train": 16666, "calibration": 1667, "test": 10000, "selection": 1667}  # fmt: skip
    assert split.origin == "cifar10/train.npz, cifar10/test.npz: 20,000 of the 50,000 training images, all test images"
    means = torch.cat([part.images for name, part in split.parts.items() if name != "test"]).mean((0, 2, 3))
    torch.testing.assert_close(means, torch.tensor([0.4928, 0.4828, 0.4471]), atol=1e-4, rtol=0)
