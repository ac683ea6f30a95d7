"""Labelled images as users hold them: arrays, a `torch.utils.data.Dataset` or a `DataLoader`; and splits of them."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, RandomSampler

from twinlatent.arguments import text, texts
from twinlatent.data.limits import check_memory
from twinlatent.data.split import (
    LabelledImages,
    Split,
    checked_seed,
    split_calibration,
    split_selection,
    split_three_ways,
)
from twinlatent.data.validation import Array, check_images, check_numbering
from twinlatent.errors import TwinlatentError, brief

Source = Dataset[Any] | DataLoader[Any]
"""Gives items (image tensor (channels, H, W) in [0, 1], label), a `DataLoader` batches of them."""
Given = Array | Source
CALIBRATION_SHARE, TEST_SHARE, SELECTION_SHARE = 0.2, 0.2, 1 / 11
ITEMS = "give (image tensor (channels, H, W) in [0, 1], label)"


def make_split(
    images: Given,
    labels: Array | None = None,
    *,
    test: Source | tuple[Array, Array] | None = None,
    class_names: Sequence[str] | NDArray[Any] | None = None,
    name: str = "arrays",
    seed: int = 0,
) -> Split:
    """Divide labelled images of your own as a folder's are: what `evaluate`, `fit_split` and others take.

    A fifth is held out for calibration, a fifth for test unless `test` brings official test images, and one in eleven
    of the others for selection, by seed and class by class.

    Example:
        >>> images, labels = torch.rand(60, 3, 8, 8), torch.arange(60) % 2
        >>> split = make_split(images, labels)
        >>> {part: len(images) for part, images in split.parts.items()}, split.image_shape
        ({'train': 33, 'calibration': 12, 'test': 12, 'selection': 3}, (3, 8, 8))

    Args:
        images: floating (n, channels, H, W) in [0, 1], or a `Dataset` or `DataLoader` as `Source` says.
        labels: whole numbers (n,), 0 to C − 1; None for a `Dataset` or `DataLoader`, which has its own.
        test: a pair (images, labels), or a `Dataset` or `DataLoader`: kept whole, for test.
        class_names: C names; default "0", "1", ...
        name: what results call it.
        seed: of the divisions.

    Raises:
        TwinlatentError: bad images, labels or names; test images of another shape or class; or too few images.
    """
    seed, name, data = checked_seed(seed), text("name", name), labelled(images, labels)
    names = class_names_of(data.labels, class_names)
    if test is None:
        shares = {"test_share": TEST_SHARE, "calibration_share": CALIBRATION_SHARE}
        train, calibration, held_out = split_three_ways(data, **shares, seed=seed)
    else:
        held_out = labelled(*test) if isinstance(test, tuple) else labelled(test)
        if held_out.images.shape[1:] != data.images.shape[1:] or int(held_out.labels.max()) >= len(names):
            raise TwinlatentError(f"test images are {tuple(held_out.images.shape[1:])} with labels up to "
                                  f"{int(held_out.labels.max())}; the others are {tuple(data.images.shape[1:])} of "
                                  f"{len(names)} classes: give both alike")  # fmt: skip
        train, calibration = split_calibration(data, share=CALIBRATION_SHARE, seed=seed)
    train, selection = split_selection(train, share=SELECTION_SHARE, seed=seed)
    return Split(name, train, calibration, held_out, names, selection)


def labelled(images: Given, labels: Array | None = None) -> LabelledImages:
    """Images and labels, checked, on the CPU.

    Raises:
        TwinlatentError: images or labels that are none, see `check_images` and `read`; arrays without labels, or a
            `Dataset` with some.
    """
    if isinstance(images, Dataset | DataLoader):
        if labels is not None:
            raise TwinlatentError("labels are given besides a Dataset, whose items have theirs; leave labels out")
        found, own = read(images)
        if own is None:
            raise TwinlatentError(f"items of the Dataset are images alone; {ITEMS}")
        return LabelledImages(found, own)
    if labels is None:
        given: object = images
        what = "images have no labels"
        if isinstance(given, list | tuple):
            what = f"a {type(given).__name__} is no Dataset, and images alone have no labels"
        raise TwinlatentError(f"{what}; give labels, one an image, or a Dataset of pairs")
    checked, of_class = (values.cpu() for values in check_images(images, labels))
    return LabelledImages(checked, of_class)


def class_names_of(labels: Tensor, given: Sequence[str] | NDArray[Any] | None) -> tuple[str, ...]:
    """A name for each class of labels (n,): those given, or "0", "1", ...

    Raises:
        TwinlatentError: classes are not numbered 0, 1, ..., or it is another number of names.
    """
    check_numbering(labels)
    classes = int(labels.max()) + 1
    names = tuple(map(str, range(classes))) if given is None else texts("class_names", given)
    if len(names) != classes:
        raise TwinlatentError(f"{len(names)} class names for {classes} classes; give one name a class")
    return names


def read(source: Source) -> tuple[Tensor, Tensor | None]:
    """All images (n, channels, H, W) of a `Dataset` or `DataLoader`, float32, and labels (n,), None if it has none.

    Raises:
        TwinlatentError: it shuffles, is empty, or gives items of another kind, shape or range; the line numbers them.
    """
    if isinstance(source, DataLoader) and isinstance(source.sampler, RandomSampler):
        raise TwinlatentError("the DataLoader shuffles, so that no answer could be told from another and no division "
                              "be made again; give it with shuffle=False")  # fmt: skip
    images: list[Tensor] = []
    labels: list[Tensor] = []
    for where, (some, of_some) in _batches(source):
        images.append(_checked_images(some, where, images[0] if images else None))
        if len(images) == 1:
            check_memory(_length(source), some[0].numel(), f"the {type(source).__name__}")
        if of_some is not None:
            labels.append(_checked_labels(of_some, len(some), where))
        if labels and len(labels) < len(images):
            raise TwinlatentError(f"{where} has {'no label' if of_some is None else 'a label'}, unlike others; {ITEMS}")
    if not images:
        raise TwinlatentError(f"the {type(source).__name__} is empty; give at least one image")
    return torch.cat(images), torch.cat(labels) if labels else None


def _length(source: Source) -> int:
    """How many images (a loader: batches) it says it has at least; 0 if it does not say."""
    try:
        return len(source)  # type: ignore[arg-type]
    except TypeError:
        return 0


def _batches(source: Source) -> Iterator[tuple[str, tuple[Any, Any]]]:
    """What is read at a time: what to call it, its images (k, channels, H, W), its labels (k,) or None."""
    name = type(source).__name__
    with _of_user(name, "cannot be read"):
        loader: DataLoader[Any] = source if isinstance(source, DataLoader) else DataLoader(source, batch_size=None)
    one = loader.batch_size is None and loader.batch_sampler is None
    for number, item in enumerate(_items(loader, name)):
        where = f"{'item' if one else 'batch'} {number} of the {type(source).__name__}"
        image, label = _pair(item, where)
        if not isinstance(image, Tensor | np.ndarray):
            raise TwinlatentError(f"{where} begins with a {type(image).__name__}; convert it to a tensor in [0, 1]: "
                                  f"{ITEMS}")  # fmt: skip
        yield where, ((image[None], None if label is None else (label,)) if one else (image, label))


@contextmanager
def _of_user(name: str, what: str) -> Iterator[None]:
    """What a user's code raises within the block is said in a line."""
    try:
        yield
    except (TwinlatentError, StopIteration):
        raise
    except Exception as error:
        said = brief(f"{type(error).__name__}: {error}", most=160)
        raise TwinlatentError(f"the {name} {what}: {said}") from error


def _items(loader: DataLoader[Any], name: str) -> Iterator[Any]:
    """What it gives, one after the other; fewer than it says are refused, since a StopIteration within it ends it."""
    with _of_user(name, "cannot be read"):
        found = iter(loader)
    number = 0
    while True:
        try:
            with _of_user(name, f"fails at number {number}"):
                item = next(found)
        except StopIteration:
            break
        yield item
        number += 1
    if number < _length(loader):
        raise TwinlatentError(f"the {name} ends after {number} of {_length(loader)}; does something in it raise "
                              "StopIteration?")  # fmt: skip


def _pair(item: object, where: str) -> tuple[Any, Any]:
    """Image and label; the label None where there is none."""
    if isinstance(item, Tensor | np.ndarray):
        return item, None
    if isinstance(item, tuple | list) and len(item) in (1, 2):
        return item[0], item[1] if len(item) == 2 else None
    what = f"{len(item)} parts" if isinstance(item, tuple | list) else f"a {type(item).__name__}"
    raise TwinlatentError(f"{where} is {what}; {ITEMS}")


def _checked_images(images: Array, where: str, first: Tensor | None) -> Tensor:
    try:
        checked = check_images(images)[0].detach().cpu()
    except TwinlatentError as error:
        below = isinstance(images, Tensor) and images.is_floating_point() and bool((images < 0).any())
        hint = "; leave normalisation to the model" if below else ""
        raise TwinlatentError(f"{where}: {error}{hint}") from None
    if first is not None and checked.shape[1:] != first.shape[1:]:
        raise TwinlatentError(f"{where} has images of {tuple(checked.shape[1:])}, others {tuple(first.shape[1:])}; "
                              "resize or crop them alike")  # fmt: skip
    return checked


def _checked_labels(labels: Any, count: int, where: str) -> Tensor:
    try:
        found = torch.as_tensor(labels[0])[None] if isinstance(labels, tuple) else torch.as_tensor(labels)
    except (TypeError, ValueError, RuntimeError):
        raise TwinlatentError(f"{where} has the label {str(labels[0])[:40]!r}; give the number of the class") from None
    if found.shape != (count,) or found.is_floating_point() or found.is_complex() or found.dtype == torch.bool:
        kind = str(found.dtype).removeprefix("torch.")
        raise TwinlatentError(f"{where} has labels of {kind} and shape {tuple(found.shape)}; give the number of the "
                              "class of each image")  # fmt: skip
    if int(found.min()) < 0:
        raise TwinlatentError(f"{where} has the label {int(found.min())}; number the classes 0, 1, ...")
    return found.to("cpu", torch.int64)
