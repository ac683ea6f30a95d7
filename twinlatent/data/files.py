"""Files of images as they come: pictures, and arrays in .npy and .npz."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from twinlatent.data.folder import read_image
from twinlatent.data.validation import check_images
from twinlatent.errors import TwinlatentError


def read_images(files: Sequence[Path], image_shape: tuple[int, ...]) -> tuple[list[str], Tensor]:
    """Read image files and arrays as (n, channels, H, W) in [0, 1], with a name for each image.

    An array is (n, 1, H, W), (n, H, W) or (H, W), floating in [0, 1] or uint8; an .npz must hold one array, or one
    called `images`. Image files are resized to `image_shape`, arrays must have it.
    """
    names, parts = [], []
    for path in files:
        if path.suffix in (".npy", ".npz"):
            part = _read_array(path, image_shape)
            names += [f"{path}[{i}]" for i in range(len(part))]
        else:
            part = torch.from_numpy(np.array(read_image(path, image_shape[-1])))[None, None]
            names.append(str(path))
        parts.append(part)
    return names, torch.cat(parts)


def _read_array(path: Path, image_shape: tuple[int, ...]) -> Tensor:
    try:
        with path.open("rb") as file:
            loaded = np.load(file, allow_pickle=False)
            values = loaded[_member(loaded.files)] if isinstance(loaded, np.lib.npyio.NpzFile) else loaded
    except TwinlatentError as error:
        raise TwinlatentError(f"{path} {error}") from None
    except OSError:
        raise
    except Exception as error:  # NumPy's and zip's readers raise nearly every type on damaged files
        raise TwinlatentError(f"{path} is no array file, or damaged ({' '.join(str(error).split())[:80]})") from None
    if values.dtype == np.uint8:
        values = values.astype(np.float32) / np.float32(255)
    height, width = image_shape[1:]
    if (
        values.shape[-2:] != (height, width)
        or values.ndim not in (2, 3, 4)
        or (values.ndim == 4 and values.shape[1] != 1)
    ):
        raise TwinlatentError(f"{path} has shape {values.shape}; the detector takes (n, 1, {height}, {width})")
    try:
        return check_images(values.reshape(-1, 1, height, width), shape=image_shape)[0]
    except TwinlatentError as error:
        raise TwinlatentError(f"{path}: {error}") from error


def _member(names: Sequence[str]) -> str:
    """Which array of an .npz holds the images."""
    if "images" in names:
        return "images"
    if len(names) != 1:
        raise TwinlatentError(f"holds {', '.join(names) or 'nothing'}; call the array of images 'images'")
    return names[0]
