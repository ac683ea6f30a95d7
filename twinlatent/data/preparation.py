"""Making a data set of photographs: the faces of `cats-dogs` again, or one of one's own."""

import math
from collections import Counter
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from twinlatent.data.boxes import Labelled, wanted
from twinlatent.data.catalogue import CAT_DOG_FACES
from twinlatent.data.downloads import folders
from twinlatent.data.faces import SIDE, SPECIES, listed_faces, rebuild_faces
from twinlatent.data.fingerprints import TOLERANCE, fingerprints, repeats
from twinlatent.data.folder import FEWEST_IMAGES
from twinlatent.data.photos import Taken
from twinlatent.data.prepared import Prepared, check_name, find, path_of, write_prepared
from twinlatent.data.reading import partial_of, read_pieces
from twinlatent.data.sources import CATS_DOGS, SOURCES
from twinlatent.errors import TwinlatentError

PHOTO_SIZE = 64
SMALLEST, LARGEST = 4, 1024

Say = Callable[[str], None]


@dataclass(frozen=True)
class Made:
    """What `prepare` made.

    Attributes:
        path: the file.
        size: height and width of the images in pixels.
        counts: images of each class, by its name.
    """

    path: Path
    size: int
    counts: dict[str, int]


def prepare(
    name: str,
    photos: str | Path,
    *,
    boxes: str | Path | None = None,
    size: int | None = None,
    folder: str | Path | None = None,
    progress: bool = True,
    say: Say = lambda _line: None,
) -> Made:
    """Make a data set of photographs, for `load` to find by its name.

    `cats-dogs` cuts its 2,028 known faces out of the photographs of Kaggle's dogs-vs-cats training set, finds each of
    those by its name anywhere below `photos`, and checks that it shows what it should. Nothing is written unless all
    are there.

    Any other name makes a set of one's own: see `wanted` for what is cut out, `take` for how, `repeats` for which
    of the pictures that show the same stay, so that no two parts of a split share one. That rule is meant for
    photographs; of drawings as simple as digits it leaves out many. Files that are no image, damaged, animated or of
    too many pixels are skipped.

    The file appears whole or not at all. After Ctrl-C what was read is kept, and the same call goes on.

    Args:
        name: `cats-dogs`, or a name for a set of one's own: letters, digits, - and _.
        photos: folder of the photographs; for one's own set without boxes it holds a folder a class.
        boxes: a .csv file or a folder of Pascal VOC XML files, see `wanted`.
        size: height and width of the images in pixels, 4 to 1024; 64 if None, and always for `cats-dogs`.
        folder: the data folder to write below, which `load` finds as $TWINLATENT_DATA; the user's cache if None.
        progress: whether to show a bar.
        say: is told a line for each file that is skipped, left out, missing or another than it should be.

    Raises:
        TwinlatentError: a bad name, size, folder or box, a set of that name that is there already, photographs that
            are missing, or fewer than three usable images of a class.
        KeyboardInterrupt: after Ctrl-C.
    """
    photos, boxes = Path(photos), None if boxes is None else Path(boxes)
    if name == CATS_DOGS:
        return _prepare_faces(photos, boxes, size, folder, progress, say)
    size = PHOTO_SIZE if size is None else size
    path = _free_path(name, size, folder)
    partial = partial_of(path)
    pieces, absent = wanted(photos, boxes)
    asked = {"photos": str(photos.absolute()), "boxes": None if boxes is None else str(boxes.absolute())}
    taken = read_pieces([labelled.piece for labelled in pieces], size, partial, asked,
                        title=f"reading {photos}", progress=progress)  # fmt: skip
    try:
        for file, fault in absent.items():
            say(f"skipped {file}: {fault}")
        prepared = _chosen(photos, pieces, taken, say)
        how = {"size": size, "squares": "largest centred" if boxes is None else boxes.name, "tolerance": TOLERANCE}
        write_prepared(path, replace(prepared, made_with=prepared.made_with | how))
    except TwinlatentError:
        partial.unlink(missing_ok=True)
        raise
    partial.unlink(missing_ok=True)
    return Made(path, size, prepared.made_with["counts"])


def _prepare_faces(
    photos: Path, boxes: Path | None, size: int | None, folder: str | Path | None, progress: bool, say: Say
) -> Made:
    if boxes is not None:
        raise TwinlatentError(f"boxes are {boxes}, but {CATS_DOGS} has squares of its own; leave boxes out")
    if size not in (None, SIDE):
        raise TwinlatentError(f"size is {size}, but {CATS_DOGS} is {SIDE}x{SIDE}; leave size out")
    home = folders(CAT_DOG_FACES.name)[-1] if folder is None else Path(folder) / CAT_DOG_FACES.name
    faces = listed_faces()
    path = rebuild_faces(photos, home / CAT_DOG_FACES.files[0].name, faces, progress=progress, say=say)
    counts = Counter(SPECIES[face.label] for face in faces)
    return Made(path, SIDE, dict(counts))


def _free_path(name: str, size: int, folder: str | Path | None) -> Path:
    """Where the set is written, if its name and size will do and none of that name is found there."""
    check_name(name, SOURCES)
    if not SMALLEST <= size <= LARGEST:
        raise TwinlatentError(f"size is {size}; give {SMALLEST} to {LARGEST} pixels")
    path = path_of(name, None if folder is None else Path(folder))
    there = path if path.exists() or folder is not None else find(name)
    if there is not None and there.exists():
        raise TwinlatentError(f"{there} is there already; delete it, or choose another name")
    return path


def _chosen(photos: Path, pieces: Sequence[Labelled], taken: Sequence[Taken], say: Say) -> Prepared:
    """The images that stay: those that could be read, none of them twice."""
    class_names = tuple(sorted({labelled.class_name for labelled in pieces}, key=_by_number))
    read: list[tuple[NDArray[np.uint8], int, Path, str]] = []
    for labelled, result in zip(pieces, taken, strict=True):
        if result.image is None:
            say(f"skipped {labelled.piece.path}: {result.fault}")
        else:
            read.append((result.image, class_names.index(labelled.class_name), labelled.piece.path, result.digest))
    if not read:
        raise TwinlatentError(f"{photos}: none of {len(pieces)} photographs can be used; give JPEG or PNG files")
    images, numbers, paths, digests = zip(*read, strict=True)
    stack, labels = np.stack(images), np.array(numbers, np.int64)
    out = repeats(fingerprints(stack), labels)
    reasons = {
        number: f"shows the same as {paths[other]}" + (f", of class {class_names[labels[other]]}" if clash else "")
        for number, (other, clash) in out.items()
    }
    reasons |= _copies(paths, digests, reasons)
    for number in sorted(reasons):
        say(f"left out {paths[number]}: {reasons[number]}")
    kept = np.array([number not in reasons for number in range(len(labels))])
    counts = np.bincount(labels[kept], minlength=len(class_names)).tolist()
    _check_counts(photos, dict(zip(class_names, counts, strict=True)))
    sources = tuple(path.relative_to(photos).as_posix() for path, keep in zip(paths, kept, strict=True) if keep)
    made_with = {
        "counts": dict(zip(class_names, counts, strict=True)),
        "skipped": len(pieces) - len(read),
        "left_out": len(reasons),
    }
    return Prepared(stack[kept], labels[kept], class_names, sources, made_with)


def _copies(paths: Sequence[Path], digests: Sequence[str], gone: Container[int]) -> dict[int, str]:
    """Which pieces come of a copy of a photograph that stays; with boxes they need not show the same."""
    first: dict[str, Path] = {}
    copies = {}
    for number, (path, digest) in enumerate(zip(paths, digests, strict=True)):
        if number not in gone and first.setdefault(digest, path) != path:
            copies[number] = f"is a copy of {first[digest]}"
    return copies


def _by_number(name: str) -> tuple[float, str]:
    """Classes that are numbers come in their order, before all others."""
    return (float(name) if name.isdecimal() else math.inf, name)


def _check_counts(photos: Path, counts: dict[str, int]) -> None:
    if len(counts) < 2:
        raise TwinlatentError(
            f"{photos}: all photographs are of class {next(iter(counts))!r}; give two or more classes"
        )
    for name, count in counts.items():
        if count < FEWEST_IMAGES:
            mend = f"give at least {FEWEST_IMAGES} that can be read and differ"
            raise TwinlatentError(f"{photos}: class {name!r} is left with {count} images; {mend}")
