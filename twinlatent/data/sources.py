"""The data sets by name, read: a table with a row each that says how.

A new data set is a new row here and in `known`: its files in the catalogue, unless it has none, and a function that
reads them. Besides the table there are the sets that people prepare of their own photographs.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from twinlatent.arguments import text, whole
from twinlatent.data.catalogue import Collection
from twinlatent.data.cifar10 import CLASSES as THINGS
from twinlatent.data.cifar10 import read_cifar10
from twinlatent.data.downloads import obtain
from twinlatent.data.faces import SPECIES, SPLIT_SEED, read_faces
from twinlatent.data.folder import read_folder
from twinlatent.data.idx import read_idx
from twinlatent.data.known import CATS_DOGS, FOLDER, known, prepared_file
from twinlatent.data.limits import check_size
from twinlatent.data.pictures import GREY, Look
from twinlatent.data.prepared import read_prepared
from twinlatent.data.split import (
    NO_IMAGES,
    LabelledImages,
    Split,
    checked_seed,
    joined,
    split_calibration,
    split_selection,
    split_three_ways,
)
from twinlatent.data.traffic_signs import SIGNS, read_signs
from twinlatent.errors import TwinlatentError
from twinlatent.torch_state import fresh_torch

FOLDER_SIZE = 28
HELD_OUT = 5_000 / 60_000  # of the MNIST family's training images, for calibration
TEST_SHARE = CALIBRATION_SHARE = 0.2  # where there is no official test set
SELECTION = 1 / 11  # of the images left for training: 5,000 of MNIST's

DIGITS = tuple("0123456789")
CLOTHES = ("t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")
FIVE_CLOTHES = ("coat", "trouser", "sandal", "sneaker", "bag")

Asked = tuple[int | None, int | None, str]  # size, channels, background
Parts = tuple[LabelledImages, ...]  # train, calibration, test; and selection where the set divides it off itself


@dataclass(frozen=True)
class Source:
    """A row of the table.

    Attributes:
        class_names: in the order of the labels.
        size: height and width of the images in pixels.
        read: (paths of the collection's files, seed) -> train, calibration, test, and perhaps selection.
        split_seed: divides it whatever the seed of everything else is; None: that seed does.
        channels: 1 of grey images, 3 in colour.
    """

    class_names: tuple[str, ...]
    size: int
    read: Callable[[Sequence[Path], int], Parts]
    split_seed: int | None = None
    channels: int = 1


def _read_digits(_paths: Sequence[Path], seed: int) -> Parts:
    from sklearn.datasets import load_digits  # slow to import

    pixels, labels = load_digits(return_X_y=True)
    images = torch.from_numpy(pixels.reshape(-1, 1, 8, 8) / 16).float()
    data = LabelledImages(images, torch.from_numpy(labels).long())
    return split_three_ways(data, test_share=TEST_SHARE, calibration_share=CALIBRATION_SHARE, seed=seed)


def _read_mnist_family(paths: Sequence[Path], seed: int, *, keep: Sequence[int] = range(10)) -> Parts:
    train_images, train_labels, test_images, test_labels = paths
    train, calibration = split_calibration(_read_pair(train_images, train_labels, keep), share=HELD_OUT, seed=seed)
    return train, calibration, _read_pair(test_images, test_labels, keep)


def _read_pair(images: Path, labels: Path, keep: Sequence[int]) -> LabelledImages:
    """The images whose label is in `keep`, relabelled by their position in it."""
    new_labels = np.full(256, -1, dtype=np.int64)
    new_labels[list(keep)] = np.arange(len(keep))
    relabelled = new_labels[read_idx(labels, 1)]
    kept = relabelled >= 0
    pixels = torch.from_numpy(read_idx(images, 3)[kept])
    return LabelledImages(pixels.unsqueeze(1).float().div_(255), torch.from_numpy(relabelled[kept]))


def _read_cifar10(paths: Sequence[Path], seed: int) -> Parts:
    data, test = read_cifar10(paths)
    train, calibration = split_calibration(data, share=HELD_OUT, seed=seed)
    return train, calibration, test


SOURCES = {
    "digits": Source(DIGITS, 8, _read_digits),
    "mnist": Source(DIGITS, 28, _read_mnist_family),
    "fashion-mnist": Source(CLOTHES, 28, _read_mnist_family),
    "fashion-mnist5": Source(
        FIVE_CLOTHES, 28, partial(_read_mnist_family, keep=tuple(map(CLOTHES.index, FIVE_CLOTHES)))
    ),
    CATS_DOGS: Source(SPECIES, 64, read_faces, SPLIT_SEED),
    "cifar10": Source(THINGS, 32, _read_cifar10, channels=3),
    "gtsrb32": Source(SIGNS, 32, read_signs, channels=3),
}


@fresh_torch()
def load(
    name: str,
    *,
    seed: int = 0,
    size: int | None = None,
    channels: int | None = None,
    background: str = "white",
    selection: bool = True,
    fetch: bool = True,
    progress: bool = True,
) -> Split:
    """Load a data set by name, in four parts.

    Official test sets stay whole. Of the training images of the MNIST family and CIFAR-10 one in twelve is held out for
    calibration; of traffic signs a fifth and a tenth, for calibration and selection, in whole tracks; `digits`, folders
    and prepared sets are divided into 60 % training, 20 % calibration and 20 % test images. One in eleven of the
    training images is then held out for selection: 5,000 of MNIST's. These divisions keep the shares of the classes and
    depend on `seed` alone; `cats-dogs` is always divided in the same way.

    Example:
        >>> split = load("digits")
        >>> {part: len(images) for part, images in split.parts.items()}
        {'train': 980, 'calibration': 360, 'test': 359, 'selection': 98}

    Args:
        name: one of `names()`, or `folder:PATH` for a folder that holds a folder of images for each class.
        seed: of the divisions, at least 0.
        size: height and width in pixels, 4 to 1024, to which the images of a folder are resized, 28 if None. The other
            sets, prepared ones too, have their own size and accept no other.
        channels: 1 for grey images, 3 to keep the colours of a folder's, 1 if None. The other sets have their own.
        background: what is behind transparent parts of a folder's images: a colour's name, or #rrggbb.
        selection: whether images are held out for selection; without, they are training images, as in version 0.1.0.
        fetch: whether missing files may be fetched over the network into the user's cache.
        progress: whether to show progress bars.

    Raises:
        TwinlatentError: unknown name, wrong size, channels, background or seed, or files that are missing, damaged or
            not what their names say.
    """
    name = text("name", name)
    seed, size = checked_seed(seed), None if size is None else whole("size", size, least=0, wanted="pixels")
    look, asked = Look(1 if channels is None else channels, background), (size, channels, background)
    if name.startswith(FOLDER):
        split = _load_folder(name, seed, FOLDER_SIZE if size is None else size, look, progress)
    elif (prepared := prepared_file(name)) is not None:
        split = _load_prepared(name, prepared, seed, asked)
    else:
        row, source = known(name), SOURCES[name]
        _check_own(name, (source.channels, source.size), asked)
        collection = row.here
        paths = obtain(collection, fetch=fetch, progress=progress) if collection else []
        train, calibration, test, *chosen = source.read(paths, seed)
        held_out = chosen[0] if chosen else NO_IMAGES
        split = Split(name, train, calibration, test, source.class_names, held_out, _origin(collection))
        seed = seed if source.split_seed is None else source.split_seed
    if len(split.selection):  # divided off already
        return split if selection else replace(split, train=joined(split.train, split.selection), selection=NO_IMAGES)
    if not selection:
        return split
    train, held_out = split_selection(split.train, share=SELECTION, seed=seed)
    return replace(split, train=train, selection=held_out)


def _origin(collection: Collection | None) -> str:
    """Which files of a set were read, where they are not all of it."""
    if collection is None or not collection.note:
        return ""
    return f"{', '.join(f'{collection.name}/{file.name}' for file in collection.files)}: {collection.note}"


def _check_own(name: str, own: tuple[int, int], asked: Asked) -> None:
    """Refuse what can be chosen of a folder's images alone; `own` are the channels and the size of these."""
    (size, channels, background), (own_channels, own_size) = asked, own
    if size not in (None, own_size):
        raise TwinlatentError(f"size is {size}, but {name} is {own_size}x{own_size}; leave size out")
    if channels not in (None, own_channels):
        raise TwinlatentError(f"channels is {channels}, but {name} has {own_channels}; leave channels out")
    if background != GREY.background:
        raise TwinlatentError(f"background is {background!r}, but {name} has no transparent parts; leave it out")


def _load_prepared(name: str, path: Path, seed: int, asked: Asked) -> Split:
    prepared = read_prepared(path)
    data = prepared.labelled()
    _check_own(name, (data.images.shape[1], data.images.shape[-1]), asked)
    parts = split_three_ways(data, test_share=TEST_SHARE, calibration_share=CALIBRATION_SHARE, seed=seed)
    return Split(name, *parts, prepared.class_names)


def _load_folder(name: str, seed: int, size: int, look: Look, progress: bool) -> Split:
    check_size(size)
    data, class_names = read_folder(_folder_path(name), size=size, progress=progress, look=look)
    parts = split_three_ways(data, test_share=TEST_SHARE, calibration_share=CALIBRATION_SHARE, seed=seed)
    return Split(name, *parts, class_names)


def _folder_path(name: str) -> Path:
    path = name.removeprefix(FOLDER)
    if not path:
        raise TwinlatentError(f"{name!r} names no folder; write {FOLDER}PATH")
    return Path(path).expanduser()


def fetch(name: str, *, progress: bool = True) -> list[Path]:
    """Fetch the files of a data set that are not on this machine yet; return the paths of all its files.

    Sets that consist of no files to fetch give an empty list.

    Raises:
        TwinlatentError: unknown name, no network, or a file that is there but is not the published one.
    """
    name = text("name", name)
    collection = None if prepared_file(name) else known(name).collection
    return obtain(collection, fetch=True, progress=progress) if collection else []
