"""Labelled images, and their division into training, selection, calibration and test parts.

Letters: n images, H and W height and width in pixels. Images are in [0, 1], of any number of channels: 1 where grey.
"""

import hashlib
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from twinlatent.arguments import real, whole
from twinlatent.errors import TwinlatentError

HASHED_AT_ONCE = 4096
SEED_LIMIT = 2**63
LISTED = 10
"""So many class names fit into a line."""


@dataclass(frozen=True, eq=False)
class LabelledImages:
    """Images and the class of each.

    Attributes:
        images: float32 (n, channels, H, W) in [0, 1].
        labels: int64 (n,), each at least 0.

    Raises:
        TwinlatentError: the two differ in length.
    """

    images: Tensor
    labels: Tensor

    def __post_init__(self) -> None:
        if len(self.images) != len(self.labels):
            raise TwinlatentError(f"{len(self.images)} images but {len(self.labels)} labels; give one label an image")

    def __len__(self) -> int:
        return len(self.labels)

    def subset(self, index: Tensor | slice) -> "LabelledImages":
        """The rows that `index`, an int64 tensor of positions or a slice, picks, in its order."""
        return LabelledImages(self.images[index], self.labels[index])


def from_bytes(pixels: NDArray[np.uint8]) -> Tensor:
    """Grey (n, H, W) or coloured (n, H, W, 3) bytes as float32 (n, channels, H, W) in [0, 1]."""
    found = torch.from_numpy(pixels)
    found = found.unsqueeze(1) if found.ndim == 3 else found.movedim(-1, 1).contiguous()
    return found.float().div_(255)


def as_pictures(images: Tensor) -> NDArray[Any]:
    """Images (n, channels, H, W) as they are looked at: (n, H, W, 3) if of three colours, else the channels' mean."""
    shown = images.movedim(1, -1) if images.shape[1] == 3 else images[:, 0] if images.shape[1] == 1 else images.mean(1)
    pixels: NDArray[Any] = shown.cpu().numpy()
    return pixels


def joined(*parts: LabelledImages) -> LabelledImages:
    """The images of all parts, one after the other."""
    return LabelledImages(torch.cat([part.images for part in parts]), torch.cat([part.labels for part in parts]))


NO_IMAGES = LabelledImages(torch.empty(0, 1, 1, 1), torch.empty(0, dtype=torch.int64))
PARTS = ("train", "calibration", "test", "selection")


@dataclass(frozen=True, eq=False)
class Split:
    """A data set in four parts that share no image.

    Attributes:
        name: what `load` was asked for.
        train: what models are fitted to.
        calibration: benign images held out of training, for thresholds.
        test: what results are reported on.
        class_names: one name a class, in the order of the labels 0, 1, ...
        selection: benign images held out of training, on which settings are chosen; there may be none.
        origin: which files were read, where those are not all of the set; empty else. It goes onto cards.

    Raises:
        TwinlatentError: two classes have one name.
    """

    name: str
    train: LabelledImages
    calibration: LabelledImages
    test: LabelledImages
    class_names: tuple[str, ...]
    selection: LabelledImages = field(default_factory=lambda: NO_IMAGES)
    origin: str = ""

    def __post_init__(self) -> None:
        twice = next((name for name in self.class_names if self.class_names.count(name) > 1), None)
        if twice is not None:
            raise TwinlatentError(f"class name {twice!r} is given twice; give each class a name of its own")

    @property
    def short_name(self) -> str:
        """`name` for results and cards, see `short_name`."""
        return short_name(self.name)

    @property
    def parts(self) -> dict[str, LabelledImages]:
        """The parts by name, that for selection last and only where there is one."""
        parts = {name: getattr(self, name) for name in PARTS}
        return parts if len(self.selection) else {name: parts[name] for name in PARTS[:-1]}

    @property
    def classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(channels, H, W) of every image."""
        channels, height, width = self.train.images.shape[1:]
        return channels, height, width

    def with_classes(self, class_names: Sequence[str]) -> "Split":
        """The same images, with the classes in the order of `class_names` and called as there.

        A class is known by its name: exactly, or whatever its case and Unicode form where that leaves no doubt.

        Raises:
            TwinlatentError: the names are not those of the same classes; the line gives the first that differ.
        """
        wanted = tuple(class_names)
        if wanted == tuple(self.class_names):
            return self
        places = _places(self.class_names, wanted)
        if places is None:
            unknown, gone = _first_beyond(self.class_names, wanted), _first_beyond(wanted, self.class_names)
            raise TwinlatentError(
                f"{self.name} has the classes {_listed(self.class_names)}, not {_listed(wanted)}: {unknown} is unknown "
                f"and {gone} missing; name the same classes alike, or give images of these"
            )
        new = torch.tensor(places)
        parts: dict[str, Any] = {
            part: LabelledImages(images.images, new.to(images.labels.device)[images.labels])
            for part, images in self.parts.items()
        }
        return replace(self, class_names=wanted, **parts)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256, in hex, of all images, labels and class names; the name of the set is left out.

        Equal for equal contents in equal order on every machine. Worked out once.
        """
        digest = hashlib.sha256(repr(self.class_names).encode())
        for part in self.parts.values():
            digest.update(repr(tuple(part.images.shape)).encode())
            for block in _image_bytes(part.images):
                digest.update(block)
            digest.update(part.labels.cpu().numpy().astype("<i8").tobytes())
        return digest.hexdigest()


def short_name(name: str) -> str:
    """A data set's name without what is one machine's own: of a folder's path only the last part."""
    kind, colon, path = name.partition(":")
    short = kind + colon + Path(path).name if colon else name
    return short.encode("utf-8", "backslashreplace").decode()  # a folder's name may be no text


def check_distinct(names: Sequence[str]) -> None:
    """Raise a `TwinlatentError` if results of two of these data sets would go by the same name."""
    short = list(map(short_name, names))
    twice = next((name for name in short if short.count(name) > 1), None)
    if twice is not None:
        raise TwinlatentError(f"two data sets are called {twice} here; rename one, or take them one at a time")


def _places(names: Sequence[str], wanted: Sequence[str]) -> list[int] | None:
    """Where in `wanted` each of `names` stands; None where they are not the same names or it cannot be told."""
    for form in (str, _plain):
        mine, theirs = ([form(name) for name in some] for some in (names, wanted))
        if len(set(mine)) == len(mine) and sorted(mine) == sorted(theirs):
            return [theirs.index(name) for name in mine]
    return None


def _plain(name: str) -> str:
    """A name without regard to case and Unicode form."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())


def _first_beyond(names: Sequence[str], others: Sequence[str]) -> str:
    """The first of `names`, quoted, that is none of `others` in any case, or else as it is written."""
    return next((repr(name) for form in (_plain, str) for name in names if form(name) not in map(form, others)), "none")


def _listed(names: Sequence[str]) -> str:
    """The first few names."""
    return ", ".join(names[:LISTED]) + (", ..." if len(names) > LISTED else "")


def _image_bytes(images: Tensor) -> Iterator[bytes]:
    """Blocks of images as bytes: one a pixel where the values are exact 255ths, else float32."""
    for start in range(0, len(images), HASHED_AT_ONCE):
        block = images[start : start + HASHED_AT_ONCE].cpu()
        bytewise = block.mul(255).round().to(torch.uint8)
        exact = torch.equal(bytewise.float() / 255, block)
        yield b"uint8" if exact else b"float32"
        yield (bytewise.numpy() if exact else block.numpy().astype("<f4")).tobytes()


def split_calibration(data: LabelledImages, *, share: float, seed: int) -> tuple[LabelledImages, LabelledImages]:
    """Divide `data` into (train, calibration), class by class.

    Calibration gets `share` of the images, as near as whole images allow, in total and in each class; either part
    gets at least one image of every class. Both keep the order of `data`. Equal seeds give equal divisions; the
    global random state is neither read nor changed.

    Args:
        data: what to divide.
        share: in (0, 1).
        seed: at least 0.

    Raises:
        TwinlatentError: `share` or `seed` out of range, no images, or a class with a single image.
    """
    return _split_off(data, share, seeded(seed))


def split_three_ways(
    data: LabelledImages, *, test_share: float, calibration_share: float, seed: int
) -> tuple[LabelledImages, LabelledImages, LabelledImages]:
    """Divide `data` into (train, calibration, test), as `split_calibration` does; both shares are of all the images.

    Raises:
        TwinlatentError: as `split_calibration`, or a class with fewer than three images.
    """
    generator = seeded(seed)
    rest, test = _split_off(data, test_share, generator)
    train, calibration = _split_off(rest, calibration_share / (1 - test_share), generator)
    return train, calibration, test


def split_selection(train: LabelledImages, *, share: float, seed: int) -> tuple[LabelledImages, LabelledImages]:
    """Divide training images into (train, selection), class by class, as `split_calibration` does.

    A class with few images gives none for selection.

    Raises:
        TwinlatentError: `share` or `seed` out of range, or no images.
    """
    return _split_off(train, share, seeded(seed), least=0)


def seeded(seed: int) -> torch.Generator:
    """A generator of its own, on the CPU, from a seed as `checked_seed` takes it."""
    return torch.Generator().manual_seed(checked_seed(seed))


def checked_seed(seed: object) -> int:
    """The seed as Python's number, at least 0 and below 2⁶³; `TwinlatentError` otherwise."""
    return whole("seed", seed, least=0, most=SEED_LIMIT - 1, wanted="a whole number from 0 to 2⁶³ − 1")


def _split_off(
    data: LabelledImages, share: float, generator: torch.Generator, *, least: int = 1
) -> tuple[LabelledImages, LabelledImages]:
    """The rest and the share, which has at least so many images of each class, 0 or 1."""
    share = real("share", share, above=0, below=1, wanted="a number between 0 and 1")
    labels = data.labels.cpu()
    taken = torch.zeros(len(labels), dtype=torch.bool)
    for label, count in enumerate(_counts_to_take(labels, share, least)):
        members = (labels == label).nonzero().squeeze(1)
        taken[members[torch.randperm(len(members), generator=generator)[:count]]] = True
    rest, picked = (mask.nonzero().squeeze(1).to(data.labels.device) for mask in (~taken, taken))
    return data.subset(rest), data.subset(picked)


def _counts_to_take(labels: Tensor, share: float, least: int) -> list[int]:
    """How many images of each class to take: largest remainders first, so that the total is right."""
    sizes = labels.bincount()
    _check_sizes(sizes, 2 * least)
    wanted = sizes.double() * share
    counts = wanted.floor().long()
    left_over = round(float(wanted.sum())) - int(counts.sum())
    counts[(wanted - counts).argsort(descending=True, stable=True)[:left_over]] += 1
    left = (sizes > 0).long()  # one image of each class that occurs
    result: list[int] = counts.clamp(least * left, sizes - left).tolist()
    return result


def _check_sizes(sizes: Tensor, fewest: int) -> None:
    if len(sizes) == 0:
        raise TwinlatentError("0 images to divide; give at least two of every class")
    single = ((sizes > 0) & (sizes < fewest)).nonzero()
    if len(single):
        raise TwinlatentError(f"class {int(single[0])} has too few images to be divided; give more, or leave it out")


def check_split(split: object) -> None:
    """Raise `TwinlatentError`, which says how to make one, unless it is a `Split`."""
    if isinstance(split, Split):
        return
    if isinstance(split, str):
        hint = f"twinlatent.data.load({split!r})"
    else:
        hint = "that of twinlatent.data.load(name), or divide images of your own: twinlatent.data.make_split(images, "
        hint += "labels), which takes a Dataset or DataLoader, too"
    raise TwinlatentError(f"split is a {type(split).__name__}; give {hint}")
