"""CIFAR-10 (A. Krizhevsky 2009): 32×32 photographs in colour, ten classes.

Read from the official binary archive: a row an image, of a byte for its class and 3·32·32 for its red, green and blue
planes. Or from `train.npz` and `test.npz`, with the first 2,000 training images of each class and all test images.
"""

import hashlib
import io
import tarfile
import zlib
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import IO

import numpy as np
import torch
from numpy.typing import NDArray

from twinlatent.data.arrays import read_npz
from twinlatent.data.kinds import check_file
from twinlatent.data.limits import check_memory
from twinlatent.data.split import LabelledImages, from_bytes
from twinlatent.errors import TwinlatentError, brief

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
SIDE = 32
ROW = 1 + 3 * SIDE**2
TRAIN = tuple(f"data_batch_{number}.bin" for number in range(1, 6))
TEST = "test_batch.bin"
TEST_MD5 = "803d5f7f4d78ea53de84dbe85f74fb6d"
BATCH = 10_000 * ROW


def read_cifar10(paths: Sequence[Path]) -> tuple[LabelledImages, LabelledImages]:
    """Training and test images, in their order.

    Args:
        paths: the archive, or the files of training and test images.

    Raises:
        TwinlatentError: a file is damaged, or holds something else.
    """
    if len(paths) > 1:
        train, test = (read_pixels(path, len(CLASSES)) for path in paths)
        return train, test
    check_file(paths[0])
    with paths[0].open("rb") as file:
        parts = _unpacked(file, paths[0])
    return _of_rows(b"".join(parts[name] for name in TRAIN), paths[0]), _of_rows(parts[TEST], paths[0])


def read_pixels(path: Path, classes: int) -> LabelledImages:
    """The `images` and `labels` of an .npz of 32×32 images in colour.

    Raises:
        TwinlatentError: it is damaged, or holds other arrays.
    """
    arrays = read_npz(path, ("images", "labels"))
    pixels, labels = arrays["images"], arrays["labels"]
    if pixels.dtype != np.uint8 or pixels.shape != (len(labels), SIDE, SIDE, 3) or labels.dtype != np.uint8:
        raise TwinlatentError(f"{path}: holds images of {pixels.dtype} {pixels.shape} and labels of {labels.dtype}; "
                              "put the published file in its place")  # fmt: skip
    return _labelled(from_bytes(pixels), labels, classes, path)


def holds_cifar10(content: bytes) -> bool:
    """Whether these bytes are an archive of five batches of 10,000 training images and the official test images."""
    try:
        parts = _unpacked(io.BytesIO(content), "an archive")
    except TwinlatentError:
        return False
    whole = all(len(part) == BATCH for part in parts.values())
    return whole and hashlib.md5(parts[TEST], usedforsecurity=False).hexdigest() == TEST_MD5


def _unpacked(opened: IO[bytes], path: object) -> dict[str, bytes]:
    """The batches in the archive by name; nothing is written anywhere. `path` is what to call it."""
    check_memory(60_000, ROW, path)
    found: dict[str, bytes] = {}
    try:
        with tarfile.open(fileobj=opened, mode="r:gz") as archive:
            for member in archive:
                name = PurePosixPath(member.name).name
                file = archive.extractfile(member) if name in (*TRAIN, TEST) else None
                if file is not None:
                    found[name] = file.read(BATCH + 1)
    except (OSError, EOFError, tarfile.TarError, zlib.error, ValueError) as error:
        raise TwinlatentError(f"{path}: is damaged ({brief(error)}); put the published file in its place") from None
    missing = [name for name in (*TRAIN, TEST) if name not in found]
    if missing:
        raise TwinlatentError(f"{path}: holds no {missing[0]}; put the binary version of CIFAR-10 in its place")
    return found


def _of_rows(content: bytes, path: Path) -> LabelledImages:
    if len(content) % ROW or not content:
        raise TwinlatentError(f"{path}: a batch of {len(content):,} bytes is no whole number of images; put the "
                              "published file in its place")  # fmt: skip
    rows = np.frombuffer(content, np.uint8).reshape(-1, ROW)
    images = torch.from_numpy(rows[:, 1:].reshape(-1, 3, SIDE, SIDE).astype(np.float32)).div_(255)
    return _labelled(images, rows[:, 0], len(CLASSES), path)


def _labelled(images: torch.Tensor, labels: NDArray[np.uint8], classes: int, path: Path) -> LabelledImages:
    if labels.max(initial=0) >= classes:
        raise TwinlatentError(f"{path}: has label {labels.max()} of {classes} classes; put the published file there")
    return LabelledImages(images, torch.from_numpy(labels.astype(np.int64)))
