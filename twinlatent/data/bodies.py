"""Images as bytes in memory, as they come over a network: PNG, JPEG, .npy, and lists of numbers."""

from io import BytesIO
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from twinlatent.data.arrays import npy_of
from twinlatent.data.bombs import JPEG, PNG, check_picture, check_pixels
from twinlatent.data.files import images_of_array
from twinlatent.data.kinds import HEAD_BYTES, NUMPY, UnreadableFileError, foreign
from twinlatent.data.pictures import Look, opened, pixel_values, resized
from twinlatent.errors import TwinlatentError

PICTURES = (PNG, JPEG)
"""Of PNG and JPEG; no other kind of picture is decoded, since every decoder is one more to attack."""
GIVE = "give PNG, JPEG or .npy"


class UnknownKindError(TwinlatentError):
    """Bytes that are neither a picture nor an array that is read."""


def read_body(body: bytes, name: str, image_shape: tuple[int, ...], most_pixels: int) -> Tensor:
    """The images (n, channels, H, W) in [0, 1] that bytes hold, the same as `read_images` makes of a file of them.

    Args:
        body: PNG, JPEG or .npy, known by how it begins.
        name: what errors call it.
        image_shape: (channels, H, W).
        most_pixels: that a picture may have before it is resized.

    Raises:
        UnknownKindError: it is something else.
        TooManyPixelsError: a picture has more pixels; none of them was decoded.
        BombError: a picture unfolds to far more otherwise.
        TwinlatentError: it is damaged, or holds other images.
    """
    head = body[:HEAD_BYTES]
    if head.startswith(NUMPY):
        return images_of_array(name, npy_of(body, name), image_shape)
    if not head.startswith(PICTURES):
        known = foreign(name, head)
        raise UnknownKindError(str(known) if known else f"{name}: is none of the kinds that are read; {GIVE}")
    channels, height, width = image_shape
    if channels not in (1, 3):
        raise UnreadableFileError(name, f"is a picture, and the detector takes images of {channels} channels",
                                  "give an .npy array")  # fmt: skip
    check_picture(body, name, most_pixels)
    with opened(BytesIO(body), name, head) as image:
        check_pixels(image.width, image.height, name, most_pixels)
        values = np.atleast_3d(resized(pixel_values(image, Look(channels)), height, width))
    return torch.tensor(values).movedim(-1, 0)[None]


def read_numbers(values: Any, name: str, image_shape: tuple[int, ...]) -> Tensor:
    """The images (n, channels, H, W) that nested lists of numbers in [0, 1] hold.

    Args:
        values: as JSON gives them.
        name: what errors call them.
        image_shape: (channels, H, W).

    Raises:
        TwinlatentError: lists of unequal length, anything but numbers, or other images.
    """
    try:
        array: NDArray[Any] = np.asarray(values)
    except (ValueError, OverflowError):
        raise TwinlatentError(f"{name}: lists differ in length; give images as lists of rows of one length") from None
    if array.size and array.dtype.kind not in "iuf":
        raise TwinlatentError(f"{name}: holds something else than numbers; give numbers from 0 to 1")
    return images_of_array(name, array.astype(np.float64), image_shape)
