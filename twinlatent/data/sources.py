"""The data sets by name: a table with a row each, and what can be asked of it.

A new data set is a new row: its files in the catalogue, unless it has none, and a function that reads them. Besides the
table there are the sets that people prepare of their own photographs.
"""

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from twinlatent.arguments import text, whole
from twinlatent.data.catalogue import CAT_DOG_FACES, FASHION_MNIST, MNIST, Collection
from twinlatent.data.downloads import locate, obtain
from twinlatent.data.faces import SPECIES, SPLIT_SEED, read_faces
from twinlatent.data.folder import read_folder
from twinlatent.data.idx import read_idx
from twinlatent.data.limits import check_size
from twinlatent.data.prepared import find, hidden, prepared_names, read_made_with, read_prepared
from twinlatent.data.split import (
    LabelledImages,
    Split,
    checked_seed,
    split_calibration,
    split_selection,
    split_three_ways,
)
from twinlatent.errors import TwinlatentError
from twinlatent.torch_state import fresh_torch

CATS_DOGS = "cats-dogs"
FOLDER = "folder:"
FOLDER_SIZE = 28
HELD_OUT = 5_000 / 60_000  # of the MNIST family's training images, for calibration
TEST_SHARE = CALIBRATION_SHARE = 0.2  # where there is no official test set
SELECTION = 1 / 11  # of the images left for training: 5,000 of MNIST's

DIGITS = tuple("0123456789")
CLOTHES = ("t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")
FIVE_CLOTHES = ("coat", "trouser", "sandal", "sneaker", "bag")

Parts = tuple[LabelledImages, LabelledImages, LabelledImages]  # train, calibration, test


@dataclass(frozen=True)
class Source:
    """A row of the table.

    Attributes:
        description: one line for people.
        class_names: in the order of the labels.
        size: height and width of the images in pixels.
        read: (paths of the collection's files, seed) -> train, calibration, test.
        collection: the files it is read from; None if it comes with an installed package.
        split_seed: divides it whatever the seed of everything else is; None: that seed does.
    """

    description: str
    class_names: tuple[str, ...]
    size: int
    read: Callable[[Sequence[Path], int], Parts]
    collection: Collection | None = None
    split_seed: int | None = None


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


SOURCES = {
    "digits": Source(
        "handwritten digits of scikit-learn, 1,797 images, 8x8, 10 classes", DIGITS, 8, _read_digits
    ),
    "mnist": Source(
        "handwritten digits, 70,000 images, 28x28, 10 classes", DIGITS, 28, _read_mnist_family, MNIST
    ),
    "fashion-mnist": Source(
        "pieces of clothing, 70,000 images, 28x28, 10 classes", CLOTHES, 28, _read_mnist_family, FASHION_MNIST
    ),
    "fashion-mnist5": Source(
        "coats, trousers, sandals, sneakers and bags of Fashion-MNIST, 35,000 images, 28x28, 5 classes",
        FIVE_CLOTHES, 28, partial(_read_mnist_family, keep=tuple(map(CLOTHES.index, FIVE_CLOTHES))), FASHION_MNIST,
    ),
    CATS_DOGS: Source(
        "faces of cats and dogs, 2,028 images, 64x64, 2 classes; for research use only", SPECIES, 64, read_faces,
        CAT_DOG_FACES, SPLIT_SEED,
    ),
}  # fmt: skip


def names() -> tuple[str, ...]:
    """Names that `load` knows, those of prepared sets last; besides them it takes `folder:PATH`."""
    return (*SOURCES, *(name for name in prepared_names() if name not in SOURCES))


@fresh_torch()
def load(
    name: str,
    *,
    seed: int = 0,
    size: int | None = None,
    selection: bool = True,
    fetch: bool = True,
    progress: bool = True,
) -> Split:
    """Load a data set by name, in four parts.

    Official test sets stay whole. Of the training images of the MNIST family one in twelve is held out for
    calibration; `digits`, folders and prepared sets are divided into 60 % training, 20 % calibration and 20 % test
    images. One in eleven of the training images is then held out for selection: 5,000 of MNIST's. These divisions keep
    the shares of the classes and depend on `seed` alone; `cats-dogs` is always divided in the same way.

    Example:
        >>> split = load("digits")
        >>> {part: len(images) for part, images in split.parts.items()}
        {'train': 980, 'calibration': 360, 'test': 359, 'selection': 98}

    Args:
        name: one of `names()`, or `folder:PATH` for a folder that holds a folder of images for each class.
        seed: of the divisions, at least 0.
        size: height and width in pixels, 4 to 1024, to which the images of a folder are resized, 28 if None. The other
            sets, prepared ones too, have their own size and accept no other.
        selection: whether images are held out for selection; without, they are training images, as in version 0.1.0.
        fetch: whether missing files may be fetched over the network into the user's cache.
        progress: whether to show progress bars.

    Raises:
        TwinlatentError: unknown name, wrong size or seed, or files that are missing, damaged or not what their
            names say.
    """
    name = text("name", name)
    seed, size = checked_seed(seed), None if size is None else whole("size", size, least=0, wanted="pixels")
    if name.startswith(FOLDER):
        split = _load_folder(name, seed, FOLDER_SIZE if size is None else size, progress)
    elif (prepared := _prepared(name)) is not None:
        split = _load_prepared(name, prepared, seed, size)
    else:
        source = _source(name)
        _check_size(name, size, source.size)
        paths = obtain(source.collection, fetch=fetch, progress=progress) if source.collection else []
        split = Split(name, *source.read(paths, seed), source.class_names)
        seed = seed if source.split_seed is None else source.split_seed
    if not selection:
        return split
    train, chosen = split_selection(split.train, share=SELECTION, seed=seed)
    return replace(split, train=train, selection=chosen)


def _check_size(name: str, size: int | None, own: int) -> None:
    if size not in (None, own):
        raise TwinlatentError(f"size is {size}, but {name} is {own}x{own}; leave size out")


def _prepared(name: str) -> Path | None:
    """The file of a prepared set; None if `name` is no such set."""
    return None if name in SOURCES else find(name)


def _load_prepared(name: str, path: Path, seed: int, size: int | None) -> Split:
    prepared = read_prepared(path)
    _check_size(name, size, prepared.images.shape[-1])
    data = prepared.labelled()
    parts = split_three_ways(data, test_share=TEST_SHARE, calibration_share=CALIBRATION_SHARE, seed=seed)
    return Split(name, *parts, prepared.class_names)


def _load_folder(name: str, seed: int, size: int, progress: bool) -> Split:
    check_size(size)
    data, class_names = read_folder(_folder_path(name), size=size, progress=progress)
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
    collection = None if _prepared(name) else _source(name).collection
    return obtain(collection, fetch=True, progress=progress) if collection else []


def describe(name: str) -> str:
    """One line that says what the data set called `name` holds."""
    prepared = _prepared(name)
    if prepared is not None:
        return _describe_prepared(prepared)
    return _source(name).description


def _describe_prepared(path: Path) -> str:
    try:
        made_with = read_made_with(path)
    except TwinlatentError as error:
        return str(error)
    size, counts = made_with["size"], made_with["counts"]
    return f"photographs of yours, {sum(counts.values()):,} images, {size}x{size}, {len(counts)} classes"


def where(name: str) -> str:
    """One line that says where the files of the data set lie, what is wrong with them, or how to get them."""
    prepared = _prepared(name)
    if prepared is not None:
        return ", which hides ".join(map(str, (prepared, *hidden(name))))
    collection = _source(name).collection
    if collection is None:
        return "comes with scikit-learn"
    try:
        found = {file: locate(collection, file) for file in collection.files}
    except TwinlatentError as error:
        return str(error)
    missing = sum(file.size for file, path in found.items() if path is None)
    if missing and not collection.mirrors:
        return f"to be made: {collection.command}"
    if missing:
        return f"{missing / 1e6:.1f} MB to be fetched"
    return ", ".join(sorted({str(path.parent) for path in found.values() if path is not None}))


def _source(name: str) -> Source:
    if name in SOURCES:
        return SOURCES[name]
    if name and Path(name).is_dir():
        raise TwinlatentError(f"no data set is called {name!r}; write {FOLDER}{name} for the folder")
    near = difflib.get_close_matches(name, names(), n=1)
    meant = f"did you mean {near[0]}? Known are " if near else "known are "
    raise TwinlatentError(f"no data set is called {name!r}; {meant}{', '.join(names())} and {FOLDER}PATH")
