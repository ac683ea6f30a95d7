"""A folder of images of one's own: a folder a class, any image format that Pillow reads."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from twinlatent.data.split import LabelledImages
from twinlatent.errors import TwinlatentError
from twinlatent.progress import Bar, bar

FEWEST_IMAGES = 3  # of a class: one each for training, calibration and test


def read_folder(root: Path, *, size: int, progress: bool) -> tuple[LabelledImages, tuple[str, ...]]:
    """Read all images under `root`, and the names of the classes.

    The folders in `root`, sorted by name, are the classes; the files in each, sorted by name, its images. Names that
    start with a dot are left out, as are files in `root` itself. See `read_image` for what becomes of an image.

    Args:
        root: the folder that holds a folder a class.
        size: height and width of the result in pixels.
        progress: whether to show a progress bar.

    Raises:
        TwinlatentError: no such folder, fewer than two classes, a class with fewer than three images, or a file
            that is not a readable image.
    """
    listing = {folder.name: _files(folder) for folder in class_folders(root)}
    total = sum(map(len, listing.values()))
    with bar(f"reading {root}", total, show=progress) as shown:
        arrays = [_counted(path, size, shown) for files in listing.values() for path in files]
    labels = torch.arange(len(listing)).repeat_interleave(torch.tensor([len(files) for files in listing.values()]))
    return LabelledImages(torch.from_numpy(np.stack(arrays)).unsqueeze(1), labels), tuple(listing)


def class_folders(root: Path) -> list[Path]:
    """The folders in `root`, sorted by name, at least two."""
    check_folder(root, "give one that holds a folder of images for each class")
    found = sorted(entry for entry in visible(root) if entry.is_dir())
    for folder in found:
        check_class_name(folder.name, root)
    if len(found) < 2:
        raise TwinlatentError(f"{root}: {len(found)} class folders; put the images of each class into a folder there")
    return found


def check_folder(path: Path, mend: str) -> None:
    """Raise a `TwinlatentError` that ends in `mend` unless `path` is a folder."""
    if not path.is_dir():
        raise TwinlatentError(f"{path}: {'is a file, not a' if path.exists() else 'no such'} folder; {mend}")


def check_class_name(name: str, where: Path) -> None:
    """Raise a `TwinlatentError` if a name of a class, found in `where`, has line breaks or the like in it."""
    if not name.isprintable():
        raise TwinlatentError(f"{where}: class {name!r} has characters that cannot be shown; rename it")


def _files(folder: Path) -> list[Path]:
    files = sorted(visible(folder))
    for path in files:
        if path.is_dir():
            raise TwinlatentError(f"{path}: a folder inside a class folder; put the images into {folder} itself")
    if len(files) < FEWEST_IMAGES:
        raise TwinlatentError(f"{folder}: {len(files)} images; put at least {FEWEST_IMAGES} there")
    return files


def visible(folder: Path) -> list[Path]:
    """What lies in `folder`, but for names that start with a dot."""
    try:
        return [entry for entry in folder.iterdir() if not entry.name.startswith(".")]
    except OSError as error:
        raise TwinlatentError(f"{folder}: cannot be read ({error.strerror}); mend its permissions") from None


def _counted(path: Path, size: int, shown: Bar) -> NDArray[np.float32]:
    image = read_image(path, size)
    shown.advance()
    return image


def read_image(path: Path, size: int) -> NDArray[np.float32]:
    """Read one image as float32 (size, size) in [0, 1].

    The first frame of an animation, upright by its EXIF orientation, transparent parts shown on white, as grey
    (ITU-R 601 luma), 16-bit grey in full precision, resized to a square whatever its shape. An image that already is
    `size` by `size` keeps its exact values.

    Raises:
        TwinlatentError: the file is no image, is damaged, or has so many pixels that Pillow suspects an attack.
    """
    with open_image(path) as image:
        grey = grey_values(image)
    return _resized(grey, size)


class UnreadableImageError(TwinlatentError):
    """A file that is no image, or one that must not or cannot be read.

    Attributes:
        fault: what is wrong with it, without its path.
    """

    def __init__(self, path: Path, fault: str, mend: str) -> None:
        super().__init__(f"{path}: {fault}; {mend}")
        self.fault = fault


@contextmanager
def open_image(path: Path) -> Iterator[Image.Image]:
    """Open an image file, and turn whatever goes wrong with it within the block into an `UnreadableImageError`."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # oddities in metadata
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                yield image
    except TwinlatentError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise UnreadableImageError(path, "has too many pixels to be opened safely", "shrink or remove it") from None
    except UnidentifiedImageError:
        raise UnreadableImageError(path, "is not an image", "remove it") from None
    except Exception as error:  # Pillow's readers raise nearly every type on damaged files
        reason = " ".join(str(error).split())
        raise UnreadableImageError(path, f"cannot be read as an image ({reason})", "replace or remove it") from None


def grey_values(image: Image.Image) -> NDArray[np.float32]:
    """Grey values in [0, 1] of an image of any mode, (H, W), turned upright by its EXIF data."""
    return _grey(ImageOps.exif_transpose(image))


def _grey(image: Image.Image) -> NDArray[np.float32]:
    """Grey values in [0, 1] of an image of any mode, at its own size."""
    if image.mode.startswith("I;16"):
        return np.asarray(image).astype(np.float32) / np.float32(65535)
    if image.mode in ("I", "F"):
        return _wide_grey(np.asarray(image), 65535 if image.mode == "I" else 1)
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image.convert("RGBA"))
    if image.mode not in ("1", "L"):
        image = image.convert("RGB")
    return np.asarray(image.convert("L")).astype(np.float32) / np.float32(255)


def _wide_grey(values: NDArray[np.generic], white: int) -> NDArray[np.float32]:
    """Modes with no fixed white: 32-bit whole numbers are taken as 16-bit ones, floats as already in [0, 1]."""
    scaled = values.astype(np.float32) / np.float32(white)
    if not (scaled.min() >= 0 and scaled.max() <= 1):
        raise ValueError(f"{values.dtype} values outside 0 to {white}")
    return scaled


def _resized(grey: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    """Bilinear, over all pixels that fall on one when shrinking, so that values stay in the range they had."""
    if grey.shape == (size, size):
        return grey
    return np.asarray(Image.fromarray(grey).resize((size, size), Image.Resampling.BILINEAR)).clip(0, 1)
