"""Making a data set of photographs: the faces of `cats-dogs` again, or one of one's own."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from twinlatent.data.boxes import Labelled, wanted
from twinlatent.data.catalogue import CAT_DOG_FACES
from twinlatent.data.downloads import folders
from twinlatent.data.faces import SIDE, SPECIES, listed_faces, rebuild_faces
from twinlatent.data.fingerprints import TOLERANCE, fingerprints
from twinlatent.data.folder import FEWEST_IMAGES
from twinlatent.data.known import CATS_DOGS, KNOWN
from twinlatent.data.limits import check_memory, check_size
from twinlatent.data.photos import CutPiece
from twinlatent.data.pictures import GREY, Look
from twinlatent.data.prepared import Prepared, write_prepared
from twinlatent.data.prepared_files import check_name, find, path_of
from twinlatent.data.reading import check_writable, partial_of, read_pieces
from twinlatent.data.selection import called, left_out
from twinlatent.errors import TwinlatentError, one_line

PHOTO_SIZE = 64
LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R 601: what a fingerprint sees of colours

Say = Callable[[str], None]


@dataclass(frozen=True)
class PreparedSet:
    """What `prepare` made.

    Attributes:
        path: the file.
        size: height and width of the images in pixels.
        counts: images of each class, by its name.
        channels: 1 of grey images, 3 in colour.
    """

    path: Path
    size: int
    counts: dict[str, int]
    channels: int = 1


def prepare(
    name: str,
    photos: str | Path,
    *,
    boxes: str | Path | None = None,
    size: int | None = None,
    channels: int = 1,
    background: str = "white",
    folder: str | Path | None = None,
    progress: bool = True,
    say: Say = lambda _line: None,
) -> PreparedSet:
    """Make a data set of photographs, for `load` to find by its name.

    `cats-dogs` cuts its 2,028 known faces out of the photographs of Kaggle's dogs-vs-cats training set, finds each of
    those by its name anywhere below `photos`, and checks that it shows what it should. No set is written unless all
    are there.

    Any other name makes a set of one's own: see `wanted` for what is cut out, `take` for how, and `left_out` for which
    pictures that show the same, copies of a photograph and overlapping boxes in one are left out, so that no two parts
    of a split share any. What it cannot know are two photographs of one scene, or one that was cropped and saved anew.
    The rule is meant for photographs; of drawings as simple as digits it leaves out many. Files that are no image,
    damaged, animated or of too many pixels are skipped.

    The file appears whole or not at all. After Ctrl-C, and where the photographs are refused in the end, what was read
    is kept beside it in a file NAME.partial, and the next call for the same name and size resumes.

    Args:
        name: `cats-dogs`, or a name for a set of one's own: letters, digits, - and _.
        photos: folder of the photographs; for one's own set without boxes it holds a folder a class.
        boxes: a .csv file or a folder of Pascal VOC XML files, see `wanted`.
        size: height and width of the images in pixels, 4 to 1024; 64 if None, and always for `cats-dogs`.
        channels: 1 for grey images, 3 to keep colours; `cats-dogs` is grey.
        background: what is behind transparent parts: a colour's name, or #rrggbb.
        folder: the data folder to write below, which `load` finds as $TWINLATENT_DATA; the user's cache if None.
        progress: whether to show a bar.
        say: is told a line for each file that is skipped, left out, missing or another than it should be.

    Raises:
        TwinlatentError: a bad name, size, folder, box or name of a class, a set of that name that is there already, a
            folder that cannot be written, photographs that are missing, or fewer than three usable images of a class.
        KeyboardInterrupt: after Ctrl-C.
    """
    photos, boxes = Path(photos), None if boxes is None else Path(boxes)
    told, say = say, lambda line: told(one_line(line))
    look = Look(channels, background)
    if name == CATS_DOGS:
        if look != GREY:
            raise TwinlatentError(f"{CATS_DOGS} is grey, on white; leave channels and background out")
        return _prepare_faces(photos, boxes, size, folder, progress, say)
    size = PHOTO_SIZE if size is None else size
    path = _free_path(name, size, folder)
    partial = partial_of(path)
    pieces, absent = wanted(photos, boxes)
    check_memory(len(pieces), look.channels * size * size, photos)
    taken = read_pieces([labelled.piece for labelled in pieces], size, partial, {"set": name},
                        title=f"reading {photos}", progress=progress, look=look)  # fmt: skip
    for file, fault in absent.items():
        say(f"skipped {file}: {fault}")
    prepared = _chosen(photos, pieces, taken, say)
    how = {"size": size, "squares": "largest centred" if boxes is None else boxes.name, "tolerance": TOLERANCE}
    how |= {} if look == GREY else asdict(look)
    write_prepared(path, replace(prepared, made_with=prepared.made_with | how))
    partial.unlink(missing_ok=True)
    return PreparedSet(path, size, prepared.made_with["counts"], channels)


def _prepare_faces(
    photos: Path, boxes: Path | None, size: int | None, folder: str | Path | None, progress: bool, say: Say
) -> PreparedSet:
    if boxes is not None:
        raise TwinlatentError(f"boxes are {boxes}, but {CATS_DOGS} has squares of its own; leave boxes out")
    if size not in (None, SIDE):
        raise TwinlatentError(f"size is {size}, but {CATS_DOGS} is {SIDE}x{SIDE}; leave size out")
    homes = folders(CAT_DOG_FACES.name) if folder is None else [Path(folder) / CAT_DOG_FACES.name]
    places = [home / CAT_DOG_FACES.files[0].name for home in homes]
    for there in places:
        if there.exists():
            raise TwinlatentError(f"{there} is there already; delete it, or choose another folder to write to")
    check_writable(places[-1].parent)
    faces = listed_faces()
    path = rebuild_faces(photos, places[-1], faces, progress=progress, say=say)
    counts = Counter(SPECIES[face.label] for face in faces)
    return PreparedSet(path, SIDE, dict(counts))


def _free_path(name: str, size: int, folder: str | Path | None) -> Path:
    """Where the set is written, if its name and size will do, none of that name is found, and it can be written."""
    check_name(name, KNOWN)
    check_size(size)
    path = path_of(name, None if folder is None else Path(folder))
    there = path if path.exists() or folder is not None else find(name)
    if there is not None and there.exists():
        raise TwinlatentError(f"{there} is there already; delete it, or choose another name")
    check_writable(path.parent)
    return path


def _chosen(photos: Path, pieces: Sequence[Labelled], taken: Sequence[CutPiece], say: Say) -> Prepared:
    """The images that stay: those that could be read and are not left out."""
    class_names = tuple(sorted({labelled.class_name for labelled in pieces}))
    read = []
    for labelled, result in zip(pieces, taken, strict=True):
        if result.image is None:
            say(f"skipped {labelled.piece.path}: {result.fault}")
        else:
            read.append((labelled, result, result.image))
    if not read:
        raise TwinlatentError(f"{photos}: none of {len(pieces)} photographs can be used; give JPEG or PNG files")
    usable, results, images = zip(*read, strict=True)
    stack = np.stack(images)
    labels = np.array([class_names.index(labelled.class_name) for labelled in usable], np.int64)
    reasons = left_out(usable, results, fingerprints(stack if stack.ndim == 3 else stack @ LUMA))
    for number in sorted(reasons):
        say(f"left out {called(usable[number].piece)}: {reasons[number]}")
    kept = np.array([number not in reasons for number in range(len(labels))])
    counts = np.bincount(labels[kept], minlength=len(class_names)).tolist()
    _check_counts(photos, dict(zip(class_names, counts, strict=True)))
    paths = [labelled.piece.path for labelled, keep in zip(usable, kept, strict=True) if keep]
    sources = tuple(path.relative_to(photos).as_posix() for path in paths)
    made_with = {
        "counts": dict(zip(class_names, counts, strict=True)),
        "skipped": len(pieces) - len(read),
        "left_out": len(reasons),
    }
    return Prepared(stack[kept], labels[kept], class_names, sources, made_with)


def _check_counts(photos: Path, counts: dict[str, int]) -> None:
    if len(counts) < 2:
        raise TwinlatentError(
            f"{photos}: all photographs are of class {next(iter(counts))!r}; give two or more classes"
        )
    for name, count in counts.items():
        if count < FEWEST_IMAGES:
            mend = f"give at least {FEWEST_IMAGES} that can be read and differ"
            raise TwinlatentError(f"{photos}: class {name!r} is left with {count} images; {mend}")
