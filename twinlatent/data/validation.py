"""Checks of images and labels that come from the user."""

from typing import Any, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from twinlatent.errors import TwinlatentError

Array = Tensor | NDArray[Any]
FEW_CHANNELS = 4


@overload
def check_images(
    images: Array, labels: None = None, shape: tuple[int, ...] | None = None, channels: int | None = None
) -> tuple[Tensor, None]: ...
@overload
def check_images(
    images: Array, labels: Array, shape: tuple[int, ...] | None = None, channels: int | None = None
) -> tuple[Tensor, Tensor]: ...
def check_images(
    images: Array, labels: Array | None = None, shape: tuple[int, ...] | None = None, channels: int | None = None
) -> tuple[Tensor, Tensor | None]:
    """Check images, and labels if there are any, and return both as tensors.

    Tensors keep their device and their gradient; nothing is copied that already has the right type.

    Args:
        images: floating (n, channels, H, W), finite, in [0, 1], at least one image.
        labels: whole numbers (n,), at least 0; or None.
        shape: the (channels, H, W) that is expected; None accepts every size.
        channels: how many are expected, 1 for grey images; None: those of the shape, or every number.

    Returns:
        images as float32, and labels as int64 or None.

    Raises:
        TwinlatentError: anything is otherwise.
    """
    channels = shape[0] if channels is None and shape is not None else channels
    labelled = len(labels) if getattr(labels, "ndim", 0) else None  # type: ignore[arg-type]
    checked = _checked_images(images, channels, shape, labelled)
    if channels is None and len(checked) == 1 and labelled == checked.shape[1] > 1:
        raise TwinlatentError(f"1 image of {labelled} channels but {labelled} labels; give images.transpose(0, 1) if "
                              "each of these is an image")  # fmt: skip
    if shape is not None and tuple(checked.shape[1:]) != tuple(shape):
        found = tuple(checked.shape[1:])
        raise TwinlatentError(f"images are {found} each, {tuple(shape)} is expected; resize or crop them")
    return checked, None if labels is None else _checked_labels(labels, len(checked))


def check_numbering(labels: Tensor) -> None:
    """Raise `TwinlatentError` unless every class from 0 to the largest of labels (n,) occurs."""
    counts = labels.bincount()
    missing = (counts == 0).nonzero()[:, 0].tolist()
    if missing == [0]:
        raise TwinlatentError(f"labels go from 1 to {len(counts) - 1}; number the classes from 0: labels - 1")
    if missing:
        raise TwinlatentError(f"class {missing[0]} has no images, though labels go up to {len(counts) - 1}; number the "
                              "classes that there are 0, 1, ...")  # fmt: skip


def _checked_images(images: Array, channels: int | None, shape: tuple[int, ...] | None, labelled: int | None) -> Tensor:
    _check_type("images", images)
    if not _is_floating(images):
        mend = "divide by 255" if _dtype(images) == "uint8" else "convert to float32 in [0, 1]"
        raise TwinlatentError(f"images are {_dtype(images)}, not floating; {mend}")
    misplaced = channels is None and _channels_last(images.shape)
    if images.ndim != 4 or channels not in (None, images.shape[1]) or 0 in images.shape or misplaced:
        wanted = f"(n, {'channels' if channels is None else channels}, H, W)"
        mend = _shape_mend(images, channels, shape, labelled)
        raise TwinlatentError(f"images have shape {tuple(images.shape)}, not {wanted}; {mend}")
    checked = _tensor(images, np.float32, torch.float32)
    _check_range(checked)
    return checked


def _shape_mend(images: Array, channels: int | None, shape: tuple[int, ...] | None, labelled: int | None) -> str:
    """How images of that shape become what is expected; `labelled` is how many labels there are."""
    if 0 in images.shape:
        return "give at least one image of at least one pixel"
    if images.ndim == 3:
        return _missing_axis(images, channels, shape, labelled)
    if images.ndim == 2:
        side = "H, W" if shape is None else ", ".join(map(str, shape[1:]))
        rows, image = f"images.reshape(-1, 1, {side})", "images[None, None]"
        return f"for rows of pixels give {rows}" if labelled == len(images) else f"give {image}, or for rows {rows}"
    if images.ndim == 4 and images.shape[3] == 1:
        return "move the channel axis forward: images[..., 0][:, None]"
    if images.ndim == 4 and (images.shape[3] == channels or _channels_last(images.shape)):
        return f"move the channel axis forward: images.{_permute(images)}(0, 3, 1, 2)"
    if images.ndim == 4 and images.shape[1] == 1:
        repeat = f"expand(-1, {channels}, -1, -1)" if isinstance(images, Tensor) else f"repeat({channels}, 1)"
        return f"repeat the grey channel: images.{repeat}"
    if images.ndim == 4:
        return "convert them to one grey channel" if channels == 1 else f"give images of {channels} channels"
    return "reshape them"


def _channels_last(shape: tuple[int, ...]) -> bool:
    """Whether these can only be (n, H, W, channels): images of one or three columns have few channels."""
    return len(shape) == 4 and shape[3] in (1, 3) and min(shape[1:3]) > FEW_CHANNELS


def _permute(images: Array) -> str:
    return "permute" if isinstance(images, Tensor) else "transpose"


def _missing_axis(images: Array, channels: int | None, shape: tuple[int, ...] | None, labelled: int | None) -> str:
    """Of (n, H, W) the channels', of (channels, H, W) the batch's."""
    channel, batch = "add the channel axis: images[:, None]", "add the batch axis: images[None]"
    n = images.shape[0]
    if shape is not None and channels != 1 and tuple(images.shape) == (*shape[1:], channels):
        return f"move the channel axis forward and add the batch axis: images.{_permute(images)}(2, 0, 1)[None]"
    one = tuple(images.shape) == shape or n == channels or labelled == 1
    if labelled == n or (channels == 1 and not one):
        return channel
    return batch if one else f"for {n} grey images {channel}; for one image of {n} channels {batch}"


def _check_range(images: Tensor) -> None:
    low, high = (bound.item() for bound in images.detach().aminmax())  # NaN anywhere makes both NaN
    if low >= 0 and high <= 1:
        return
    if not bool(images.isfinite().all()):
        raise TwinlatentError("images contain NaN or infinity; replace these values or drop these images")
    mend = "divide by 255" if low >= 0 and 2 < high <= 255 else "rescale or clamp(0, 1) them"
    raise TwinlatentError(f"images reach from {low:.9g} to {high:.9g}, outside [0, 1]; {mend}")


def _checked_labels(labels: Array, count: int) -> Tensor:
    _check_type("labels", labels)
    if _is_floating(labels) or _dtype(labels).startswith(("bool", "complex")):
        raise TwinlatentError(f"labels are {_dtype(labels)}, not whole numbers; convert them to int64")
    if labels.ndim != 1:
        mend = "for one-hot labels, give labels.argmax(1)" if labels.ndim == 2 else "reshape them"
        raise TwinlatentError(f"labels have shape {tuple(labels.shape)}, not (n,); {mend}")
    if len(labels) != count:
        raise TwinlatentError(f"{count} images but {len(labels)} labels; give one label an image")
    checked = _tensor(labels, np.int64, torch.int64)
    if int(checked.min()) < 0:
        raise TwinlatentError(f"labels go down to {int(checked.min())}; number the classes 0, 1, ...")
    return checked


def _check_type(what: str, value: object) -> None:
    if not isinstance(value, Tensor | np.ndarray):
        raise TwinlatentError(f"{what} are a {type(value).__name__}; give a torch tensor or a numpy array")
    if isinstance(value, Tensor) and value.is_meta:
        raise TwinlatentError(f"{what} are a meta tensor, which holds no values; give one on a device")
    if isinstance(value, Tensor) and (value.layout != torch.strided or value.is_nested):
        raise TwinlatentError(f"{what} are not a dense tensor; give one, for a sparse tensor its to_dense()")
    if isinstance(value, np.ndarray) and value.dtype.kind not in "fiubc":
        raise TwinlatentError(f"{what} are an array of {value.dtype}; give numbers")


def _dtype(value: Array) -> str:
    return str(value.dtype).removeprefix("torch.")


def _is_floating(value: Array) -> bool:
    return value.is_floating_point() if isinstance(value, Tensor) else value.dtype.kind == "f"


def _tensor(value: Array, numpy_type: type[np.generic], torch_type: torch.dtype) -> Tensor:
    if isinstance(value, Tensor):
        return value.to(torch_type)
    with np.errstate(over="ignore"):  # what overflows becomes infinite, and that is reported
        return torch.from_numpy(np.require(value, numpy_type, ["C", "W"]))
