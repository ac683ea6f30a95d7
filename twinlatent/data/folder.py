"""A folder of images of one's own: a folder a class, any image format that Pillow reads."""

import unicodedata
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from twinlatent.data.limits import check_memory
from twinlatent.data.pictures import GREY, Look, read_image
from twinlatent.data.split import LabelledImages
from twinlatent.errors import TwinlatentError
from twinlatent.progress import bar

FEWEST_IMAGES = 3  # of a class: one each for training, calibration and test
LEFTOVERS = ("thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx")  # what systems put into folders unasked


def read_folder(root: Path, *, size: int, progress: bool, look: Look = GREY) -> tuple[LabelledImages, tuple[str, ...]]:
    """Read all images under `root`, and the names of the classes.

    The folders in `root`, in the order of `plain` names, are the classes; the files in each, likewise, its images.
    Links are followed. Names that start with a dot are left out, as are `LEFTOVERS`, and files in `root` itself. See
    `read_image` for what becomes of an image.

    Args:
        root: the folder that holds a folder a class.
        size: height and width of the result in pixels.
        progress: whether to show a progress bar.
        look: grey or colour, and what is behind transparent parts.

    Raises:
        TwinlatentError: no such folder, fewer than two classes, a class with fewer than three images, more than fits
            into memory, or a file that is not a readable image.
    """
    listing = {class_name(folder.name, root): _files(folder) for folder in class_folders(root)}
    paths = [path for files in listing.values() for path in files]
    check_memory(len(paths), look.channels * size * size, root)
    images = torch.empty(len(paths), look.channels, size, size)
    with bar(f"reading {root}", len(paths), show=progress) as shown:
        for image, path in zip(images, paths, strict=True):
            image[:] = torch.from_numpy(np.atleast_3d(read_image(path, size, look))).movedim(-1, 0)
            shown.advance()
    labels = torch.arange(len(listing)).repeat_interleave(torch.tensor([len(files) for files in listing.values()]))
    return LabelledImages(images, labels), tuple(listing)


def plain(name: str) -> str:
    """`name` in one of the ways in which Unicode can write it (NFC), since systems differ in theirs.

    Classes and files are in the order of these names: of their characters' numbers, so "10" comes before "2".
    """
    return unicodedata.normalize("NFC", name)


def class_name(name: str, where: Path) -> str:
    """The name of a class that is called `name` in `where`.

    Raises:
        TwinlatentError: it has line breaks or the like in it.
    """
    if not name.isprintable():
        raise TwinlatentError(f"{where}: class {name!r} has characters that cannot be shown; rename it")
    return plain(name)


def class_folders(root: Path) -> list[Path]:
    """The folders in `root`, sorted by name, at least two."""
    check_folder(root, "give one that holds a folder of images for each class")
    entries = visible(root)
    for entry in entries:
        if entry.is_symlink() and not entry.exists():
            raise TwinlatentError(f"{entry}: is a link to {entry.readlink()}, which is not there; mend the link")
    found = [entry for entry in entries if entry.is_dir()]
    named: dict[str, Path] = {}
    for folder in found:
        other = named.setdefault(class_name(folder.name, root), folder)
        if other is not folder:
            raise TwinlatentError(f"{root}: two class folders are called {plain(folder.name)!r}; join or rename them")
    if len(found) < 2:
        raise TwinlatentError(f"{root}: {len(found)} class folders, and at least two are needed; put the images of "
                              "each class into a folder there")  # fmt: skip
    return found


def check_folder(path: Path, mend: str) -> None:
    """Raise a `TwinlatentError` that ends in `mend` unless `path` is a folder."""
    if not path.is_dir():
        raise TwinlatentError(f"{path}: {'is a file, not a' if path.exists() else 'no such'} folder; {mend}")


def _files(folder: Path) -> list[Path]:
    files = visible(folder)
    for path in files:
        if path.is_dir():
            raise TwinlatentError(f"{path}: a folder inside a class folder; put the images into {folder} itself")
    if len(files) < FEWEST_IMAGES:
        raise TwinlatentError(f"{folder}: {len(files)} images; put at least {FEWEST_IMAGES} there")
    return files


def visible(folder: Path) -> list[Path]:
    """What lies in `folder`, sorted by name, but for names that start with a dot and for `LEFTOVERS`."""
    try:
        found = [entry for entry in folder.iterdir() if not _is_hidden(entry.name)]
    except OSError as error:
        raise TwinlatentError(f"{folder}: cannot be read ({error.strerror}); mend its permissions") from None
    return sorted(found, key=lambda entry: (plain(entry.name), entry.name))


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name.lower() in LEFTOVERS


def files_below(folder: Path, mend: str) -> Iterator[Path]:
    """All but folders that is `visible` anywhere below `folder`, in a fixed order; linked folders are followed.

    Raises:
        TwinlatentError: it is no folder, which ends in `mend`; a folder in it cannot be read, or is a link to one that
            holds the link.
    """
    check_folder(folder, mend)
    return _below(folder, (folder.resolve(),))


def _below(folder: Path, way: tuple[Path, ...]) -> Iterator[Path]:
    """`way` are the real folders that led here."""
    for entry in visible(folder):
        if not entry.is_dir():
            yield entry
            continue
        real = entry.resolve()
        if entry.is_symlink() and any(passed.is_relative_to(real) for passed in way):
            raise TwinlatentError(f"{entry}: is a link to {real}, which holds it; take the link away")
        yield from _below(entry, (*way, real))
