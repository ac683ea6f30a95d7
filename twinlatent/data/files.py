"""Files of images as they come: pictures, folders of them, and arrays in .npy, .npz and IDX."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from twinlatent.data.arrays import Header, headers, listed, read_npy, read_npz
from twinlatent.data.folder import files_below
from twinlatent.data.idx import is_idx, read_idx
from twinlatent.data.kinds import NUMPY, ZIP, UnreadableFileError, foreign, head_of, inner_head, is_npz
from twinlatent.data.pictures import (
    Look,
    almost_black,
    far_from_white,
    in_colour,
    open_image,
    pictures_in,
    pixel_values,
    resized,
)
from twinlatent.data.validation import check_images
from twinlatent.errors import TwinlatentError, one_line

ARRAYS = (".npy", ".npz")
PICKED = ".npz:"  # between an archive and the array in it
KNOWN = ("images", "worst")  # as users are told to call them, and as an attack's are called; the first that is there

Named = tuple[list[str], Tensor]


def read_images(
    files: Sequence[Path],
    image_shape: tuple[int, ...],
    background: str = "white",
    say: Callable[[str], None] = lambda _: None,
) -> Named:
    """Read image files and arrays as (n, channels, H, W) in [0, 1], with a name for each image.

    A file is known by its content, not by the end of its name. A folder stands for all files below it. Image files are
    greyed or in colour as the channels ask, transparent parts on `background`, and resized to `image_shape`; of several
    pictures in one the first is taken. Arrays must have it.

    An array is (n, channels, H, W), (n, H, W, channels) or one image of these; of grey ones the channel's axis may be
    left out. It is of floating values in [0, 1], of bool, or of
    uint8, where white is 255, or 1 if the whole array is of 0 and 1; one that shows something but nowhere reaches an
    eighth of white is refused. Of an .npz the array `images` is taken,
    or `worst` as `attack` calls it, or the only one that can be images; FILE.npz:NAME takes another. IDX files are
    those of MNIST, gzipped or not.

    Args:
        files: pictures, arrays, and folders of these.
        image_shape: (channels, H, W) of the detector.
        background: colour that transparent parts are shown on.
        say: gets a line where pictures in colour were greyed.

    Raises:
        TwinlatentError: a file is none of these, cannot be read, or holds other images; or no white is known for which
            its values would show something.
    """
    names: list[str] = []
    parts: list[Tensor] = []
    greyed: list[Path] = []
    for path in (path for given in files for path in _files(given)):
        called, part = _read(path, image_shape, background, greyed)
        names += map(one_line, called)
        parts.append(part)
    if not parts:
        raise TwinlatentError("no files of images are given; give at least one")
    if greyed:
        others = f" and {len(greyed) - 1} more are" if len(greyed) > 1 else " is"
        say(f"{one_line(str(greyed[0]))}{others} in colour; the detector takes grey images, so colours were left out")
    return names, torch.cat(parts)


def _files(given: Path) -> list[Path]:
    found = list(files_below(given, "give a folder")) if given.is_dir() else [given]
    if not found:
        raise TwinlatentError(f"{given}: is a folder without files; give images, or a folder of them")
    return found


def _read(path: Path, image_shape: tuple[int, ...], background: str, greyed: list[Path]) -> Named:
    """Images of a file with their names; a picture in colour that is greyed joins `greyed`."""
    picked, colon, member = str(path).rpartition(PICKED)
    if colon and not path.exists():
        return _read_archive(Path(picked + PICKED[:-1]), image_shape, member)
    head = head_of(path)
    if head.startswith(NUMPY):
        return _of_array(path, str(path), read_npy(path), image_shape)
    if is_idx(inner_head(path, head)):
        return _of_array(path, str(path), read_idx(path), image_shape)
    if is_npz(head) or (head.startswith(ZIP) and path.suffix.lower() == ".npz"):
        return _read_archive(path, image_shape)
    if path.suffix.lower() in ARRAYS:
        raise foreign(path, head) or UnreadableFileError(path, "is no array file, or damaged", "save it anew")
    return _read_picture(path, image_shape, background, greyed)


def _read_picture(path: Path, image_shape: tuple[int, ...], background: str, greyed: list[Path]) -> Named:
    channels, height, width = image_shape
    if channels not in (1, 3):
        mend = "give arrays"
        raise TwinlatentError(f"{path} is a picture, and the detector takes images of {channels} channels; {mend}")
    with open_image(path) as image:
        count = pictures_in(image)
        if channels == 1 and in_colour(image):
            greyed.append(path)
        values = np.atleast_3d(resized(pixel_values(image, Look(channels, background)), height, width))
    return [f"{path}[first of {count}]" if count > 1 else str(path)], torch.tensor(values).movedim(-1, 0)[None]


def _read_archive(path: Path, image_shape: tuple[int, ...], member: str = "") -> Named:
    there = headers(path)
    member = member or _member(path, there, image_shape)
    name = f"{path}:{member}" if len(there) > 1 and member != KNOWN[0] else str(path)
    return _of_array(path, name, read_npz(path, [member])[member], image_shape)


def _member(path: Path, there: dict[str, Header], image_shape: tuple[int, ...]) -> str:
    """Which array of an .npz holds the images."""
    for known in KNOWN:
        if known in there:
            return known
    fitting = [name for name, header in there.items() if _channels_at(header.shape, image_shape) is not None]
    choice = fitting or list(there)
    if len(choice) != 1:
        example = f"; name one, as {path.name}:{choice[0]}" if choice else "; save an array of images in it"
        raise TwinlatentError(f"{path} holds {listed(choice)}{example}")
    return choice[0]


def _channels_at(shape: tuple[int, ...], image_shape: tuple[int, ...]) -> int | None:
    """Which axis of an array holds the channels of images of that shape; None if it holds other images.

    Of grey images without such an axis it is -3, where it goes.
    """
    channels, height, width = image_shape
    if len(shape) in (3, 4) and shape[-3:] == (channels, height, width):
        return -3
    if channels == 1 and len(shape) in (2, 3) and shape[-2:] == (height, width):
        return -3
    return -1 if len(shape) in (3, 4) and shape[-3:] == (height, width, channels) else None


def _of_array(path: Path, name: str, values: NDArray[Any], image_shape: tuple[int, ...]) -> Named:
    images = images_of_array(path, values, image_shape)
    return [f"{name}[{number}]" for number in range(len(images))], images


def images_of_array(path: Path | str, values: NDArray[Any], image_shape: tuple[int, ...]) -> Tensor:
    """The images (n, channels, H, W) in [0, 1] that an array holds, as `read_images` takes them; errors name `path`.

    Raises:
        TwinlatentError: it holds others, or values for which no white is known.
    """
    axis = _channels_at(values.shape, image_shape)
    if axis is None:
        raise TwinlatentError(
            f"{path} has shape {values.shape}; the detector takes (n, {', '.join(map(str, image_shape))})"
        )
    first = values if axis == -3 else np.moveaxis(values, -1, -3)
    try:
        images = check_images(_floating(first).reshape(-1, *image_shape), shape=image_shape)[0]
    except TwinlatentError as error:
        raise TwinlatentError(f"{path}: {error}") from error
    if almost_black(images.numpy()):
        raise TwinlatentError(f"{path}: no image is brighter than {values.max():.4g}; rescale them so that white is 1")
    return images


def _floating(values: NDArray[Any]) -> NDArray[Any]:
    """Values as numbers from 0 to 1, where their type alone says what white is."""
    whole = values.size and values.dtype.kind in "iu"
    reach = f"{values.dtype.name} from {values.min()} to {values.max()}" if whole else ""
    if values.dtype == np.uint8:
        white = 1 if reach and (values.min(), values.max()) == (0, 1) else 255
        if reach and far_from_white(values, white):
            raise TwinlatentError(f"images are {reach}, far too dark; scale them to 0..1 floats or 0..255 uint8")
        return values.astype(np.float32) / np.float32(white)
    if reach:
        raise TwinlatentError(f"images are {reach}; save 0 to 255 as uint8, or divide by white and save as float32")
    return values.astype(np.float32) if values.dtype == np.bool_ else values
