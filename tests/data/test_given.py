"""A `Dataset` or a `DataLoader` gives what arrays give, and its faults are said in a line."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset, TensorDataset

from twinlatent.data.given import labelled, make_split, read
from twinlatent.errors import TwinlatentError

IMAGES = torch.rand(40, 3, 6, 5, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(40) % 4


class Items(Dataset[Any]):
    """A list as a `Dataset`."""

    def __init__(self, items: list[Any]) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, number: int) -> Any:
        return self.items[number]


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Iterator[Any]:
        yield from zip(IMAGES, LABELS.tolist(), strict=True)


PAIRS = list(zip(IMAGES, LABELS.tolist(), strict=True))


@pytest.mark.parametrize(
    "source",
    [
        TensorDataset(IMAGES, LABELS),
        TensorDataset(IMAGES.double(), LABELS.int()),
        Items(PAIRS),
        Items([(image.numpy(), np.int32(label)) for image, label in PAIRS]),
        Items([[image, torch.tensor(label)] for image, label in PAIRS]),
        Stream(),
        DataLoader(Items(PAIRS), batch_size=7),
        DataLoader(TensorDataset(IMAGES, LABELS), batch_size=None),
        DataLoader(Stream(), batch_size=16),
    ],
)
def test_every_kind_gives_the_images_and_labels_in_order(source: Any) -> None:
    data = labelled(source)
    assert (data.images.dtype, data.labels.dtype) == (torch.float32, torch.int64)
    assert torch.equal(data.images, IMAGES)
    assert torch.equal(data.labels, LABELS)


def test_images_alone_will_do_where_no_labels_are_wanted() -> None:
    for source in (Items(list(IMAGES)), TensorDataset(IMAGES), DataLoader(TensorDataset(IMAGES), batch_size=3)):
        images, labels = read(source)
        assert labels is None
        assert torch.equal(images, IMAGES)
    with pytest.raises(TwinlatentError, match="items of the Dataset are images alone; give"):
        labelled(Items(list(IMAGES)))


def broken(number: int, item: Any) -> Items:
    return Items([*PAIRS[:number], item, *PAIRS[number:]])


class Raising(Items):
    """Fails at item 3."""

    def __init__(self, error: Exception) -> None:
        super().__init__(PAIRS)
        self.error = error

    def __getitem__(self, number: int) -> Any:
        if number == 3:
            raise self.error
        return super().__getitem__(number)


class Endless(Dataset[Any]):
    """Does not say how many items it has."""

    def __getitem__(self, number: int) -> Any:
        return PAIRS[number]


@pytest.mark.parametrize(
    ("source", "line"),
    [
        (Raising(OSError("disk")), "the Raising fails at number 3: OSError: disk"),
        (Raising(StopIteration()), rf"the Raising ends after 3 of {len(PAIRS)}; does something in it raise StopIterat"),
        (Endless(), "the Endless cannot be read: TypeError: object of type 'Endless' has no len"),
        (DataLoader(Items(PAIRS), shuffle=True), "shuffles, .*; give it with shuffle=False"),
        (Items([]), "the Items is empty; give at least one image"),
        (
            broken(3, (IMAGES[0] * 2 - 1, 0)),
            r"item 3 of the Items: images reach from .* leave normalisation to the model",
        ),
        (
            broken(3, ((IMAGES[0] * 255).byte(), 0)),
            "item 3 of the Items: images are uint8, not floating; divide by 255",
        ),
        (broken(3, (IMAGES[0] * torch.nan, 0)), "item 3 .*: images contain NaN"),
        (
            broken(3, (IMAGES[0].movedim(0, 2)[:, :, :1], 0)),
            r"item 3 .*: .*; move the channel axis forward: images\[\.\.\., 0\]",
        ),
        (broken(3, (torch.rand(3, 7, 5), 0)), r"item 3 .* has images of \(3, 7, 5\), others \(3, 6, 5\); resize"),
        (broken(0, (torch.rand(6, 5), 0)), r"item 0 .*: images have shape \(1, 6, 5\), not \(n, channels, H, W\)"),
        (broken(0, (torch.rand(6, 5, 3).repeat(2, 2, 1), 0)), r"item 0 .*: .*images\.permute\(0, 3, 1, 2\)"),
        (
            broken(3, (Image.new("RGB", (5, 6)), 0)),
            "item 3 of the Items begins with a Image; convert it to a tensor in",
        ),
        (broken(3, {"image": IMAGES[0], "label": 0}), r"item 3 of the Items is a dict; give \(image tensor"),
        (broken(3, (IMAGES[0], 0, 7)), "item 3 of the Items is 3 parts; give"),
        (broken(3, (IMAGES[0], 0.5)), "item 3 of the Items has labels of float32 .*; give the number of the class"),
        (broken(3, (IMAGES[0], "cat")), "item 3 of the Items has the label 'cat'; give the number of the class"),
        (broken(3, (IMAGES[0], torch.eye(4)[0].long())), r"item 3 of the Items has labels of int64 and shape \(1, 4\)"),
        (broken(3, (IMAGES[0], -1)), "item 3 of the Items has the label -1; number the classes 0, 1"),
        (broken(3, IMAGES[0]), "item 3 of the Items has no label, unlike others; give"),
        (DataLoader(Items([(IMAGES[0] * 3, 0)] * 4), batch_size=2), "batch 0 of the DataLoader: images reach from"),
    ],
)
def test_a_fault_is_said_in_a_line_that_numbers_the_item(source: Any, line: str) -> None:
    with pytest.raises(TwinlatentError, match=line) as error:
        labelled(source)
    assert "\n" not in str(error.value)


def test_labels_are_given_once() -> None:
    with pytest.raises(TwinlatentError, match="labels are given besides a Dataset"):
        labelled(Items(PAIRS), LABELS)
    with pytest.raises(TwinlatentError, match="images have no labels; give labels"):
        labelled(IMAGES)


# --- splits ---------------------------------------------------------------------------------------------------------


def test_a_split_of_a_dataset_is_that_of_its_arrays() -> None:
    split, same = make_split(IMAGES, LABELS, seed=3), make_split(Items(PAIRS), seed=3)
    assert split.fingerprint == same.fingerprint != make_split(IMAGES, LABELS).fingerprint
    assert {part: len(data) for part, data in split.parts.items()} == {
        "train": 22, "calibration": 8, "test": 8, "selection": 2}  # fmt: skip
    everything = torch.cat([part.images for part in split.parts.values()])
    assert sorted(image.numpy().tobytes() for image in everything) == sorted(
        image.numpy().tobytes() for image in IMAGES
    )


def test_test_images_of_ones_own_stay_whole() -> None:
    test = Subset(Items(PAIRS), range(8))
    split = make_split(IMAGES[8:], LABELS[8:], test=test, class_names=list("abcd"), name="mine")
    assert torch.equal(split.test.images, IMAGES[:8])
    assert (split.name, split.class_names, split.image_shape) == ("mine", tuple("abcd"), (3, 6, 5))
    again = make_split(IMAGES[8:], LABELS[8:], test=(IMAGES[:8], LABELS[:8]), class_names=list("abcd"))
    assert split.fingerprint == again.fingerprint


@pytest.mark.parametrize(
    ("test", "names", "line"),
    [
        ((IMAGES[:, :1], LABELS), None, r"test images are \(1, 6, 5\) with labels up to 3; the others are \(3, 6, 5\)"),
        ((IMAGES, LABELS + 1), None, "with labels up to 4; .* of 4 classes: give both alike"),
        (None, ["a", "b"], "2 class names for 4 classes; give one name a class"),
    ],
)
def test_what_does_not_fit_together_is_refused(test: Any, names: list[str] | None, line: str) -> None:
    with pytest.raises(TwinlatentError, match=line):
        make_split(IMAGES, LABELS, test=test, class_names=names)
