"""The faces of `cats-dogs`: where each lies in the public photographs, how it is known again, how they are divided.

`cats_dogs.csv` names 2,028 photographs of Kaggle's dogs-vs-cats training set with a square each; the script
`scripts/cats_dogs_list.py` makes it. It holds no picture: those are for research use, and not ours to pass on.

A face is known again by its fingerprint, in which brightness and contrast play no part, and by the mean and the
standard deviation of its grey values, each within `SHADE_TOLERANCE`. Measured on 20 photographs, these move by 0.06
grey values at most where the grey is computed from the decoded colours, by 0.22 where a photograph is saved again as
JPEG of quality 50, by 0.5 at quality 10, and by 2.9 where it is greyed by another rule (BT. 709). The 2,028 faces
themselves saved as JPEG of quality 50 move by 0.71 at most, all of them a hundredth darker by 2.2, halved by 114.
"""

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from twinlatent.data.fingerprints import TOLERANCE, fingerprints
from twinlatent.data.photos import CutPiece, Piece, by_name
from twinlatent.data.reading import partial_of, read_pieces
from twinlatent.data.split import LabelledImages, from_bytes, split_three_ways
from twinlatent.errors import TwinlatentError
from twinlatent.files import replacing

LIST = Path(__file__).with_name("cats_dogs.csv")
SPECIES = ("cat", "dog")
SIDE = 64
SPLIT_SEED = 1014
CALIBRATION, TEST = 300, 400  # images, half of them cats
SHADE_TOLERANCE = 1.0  # grey values
NAMED = 5  # photographs that are named in a message; of more each has a line of its own

Parts = tuple[LabelledImages, LabelledImages, LabelledImages]


@dataclass(frozen=True)
class Face:
    """A row of the list.

    Attributes:
        file: name of the photograph.
        label: 0 cat, 1 dog.
        photo_size: width and height of the photograph in pixels.
        box: left, top, width and height of the square in the photograph.
        fingerprint: of the face, see `fingerprints`.
        shade: mean and standard deviation of the face, see `shades`, rounded to tenths.
    """

    file: str
    label: int
    photo_size: tuple[int, int]
    box: tuple[int, int, int, int]
    fingerprint: int
    shade: tuple[float, float]


@cache
def listed_faces() -> tuple[Face, ...]:
    """The 2,028 faces, in the order of the file that they are read from."""
    with LIST.open(encoding="utf-8", newline="") as file:
        return tuple(
            Face(
                row["file"],
                int(row["label"]),
                (int(row["width"]), int(row["height"])),
                (int(row["x"]), int(row["y"]), int(row["side"]), int(row["side"])),
                int(row["fingerprint"], 16),
                (float(row["mean"]), float(row["deviation"])),
            )
            for row in csv.DictReader(file)
        )


def read_faces(paths: Sequence[Path], _seed: int = 0) -> Parts:
    """The faces in `faces64.npz` as (train, calibration, test): 664, 150 and 200 of each species, always the same ones.

    The division is that of `split_three_ways` by `SPLIT_SEED`, whatever the seed of everything else is, so that results
    by different seeds are on the same test images.
    """
    (path,) = paths
    with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        faces = LabelledImages(from_bytes(arrays["images"]), torch.from_numpy(arrays["labels"]).long())
    shares = {"test_share": TEST / len(faces), "calibration_share": CALIBRATION / len(faces)}
    return split_three_ways(faces, **shares, seed=SPLIT_SEED)


def holds_the_faces(content: bytes) -> bool:
    """Whether these bytes are an .npz of the listed faces in their order, each within both tolerances."""
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            images, labels = arrays["images"], arrays["labels"]
    except Exception:  # NumPy's and zip's readers raise nearly every type on damaged files
        return False
    faces = listed_faces()
    if (images.dtype, images.shape) != (np.uint8, (len(faces), SIDE, SIDE)):
        return False
    return labels.tolist() == [face.label for face in faces] and bool(_are(images, faces).all())


def _are(images: NDArray[np.uint8], faces: Sequence[Face]) -> NDArray[np.bool_]:
    """Which images (n, H, H) are the listed faces."""
    listed = np.array([face.shade for face in faces])
    alike = (np.abs(shades(images) - listed) <= SHADE_TOLERANCE).all(1)
    found: NDArray[np.bool_] = alike & (misfits(images, faces) <= TOLERANCE)
    return found


def shades(images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Mean and standard deviation (n, 2) of the pixels of each image (n, H, W), in grey values 0 to 255."""
    return np.stack([images.mean((1, 2)), images.std((1, 2))], axis=1)


def misfits(images: NDArray[np.uint8], faces: Sequence[Face]) -> NDArray[np.int64]:
    """In how many bits (n,) each image (n, H, H) differs from the listed fingerprint of its face."""
    listed = np.array([face.fingerprint for face in faces], np.uint64)
    different = (fingerprints(images) ^ listed).view(np.uint8).reshape(len(faces), -1)
    bits: NDArray[np.int64] = np.unpackbits(different, axis=1).sum(1, dtype=np.int64)
    return bits


def rebuild_faces(
    photos: Path,
    path: Path,
    faces: Sequence[Face],
    *,
    progress: bool = True,
    say: Callable[[str], None] = lambda _line: None,
) -> Path:
    """Cut the listed faces out of photographs, check each, and write them as `faces64.npz` is written.

    Args:
        photos: a folder; a photograph is known by its name, wherever below the folder it lies.
        path: of the .npz to write, whole or not at all.
        faces: what to cut out.
        progress: whether to show a bar.
        say: is told a line for each photograph that is missing or is another one.

    Raises:
        TwinlatentError: photographs are missing, or are others than the list's. `path` is not written then, what was
            read is kept, and the next call resumes.
        KeyboardInterrupt: after Ctrl-C, likewise.
    """
    found = by_name(photos, {face.file for face in faces})
    _refuse({face.file: "is missing" for face in faces if not found[face.file]}, len(faces), photos, say)
    candidates = [
        (number, Piece(place, face.box, face.photo_size))
        for number, face in enumerate(faces)
        for place in found[face.file]
    ]
    partial = partial_of(path)
    taken = read_pieces([piece for _, piece in candidates], SIDE, partial, {"set": "cats-dogs"},
                        title=f"reading {photos}", progress=progress)  # fmt: skip
    images: dict[int, NDArray[np.uint8]] = {}
    wrong: dict[str, str] = {}
    for (number, piece), result in zip(candidates, taken, strict=True):
        fault = _fault(result, faces[number])
        if not fault and result.image is not None:
            images.setdefault(number, result.image)
        else:
            wrong[str(piece.path)] = fault
    lacking = {face.file for number, face in enumerate(faces) if number not in images}
    _refuse({place: fault for place, fault in wrong.items() if Path(place).name in lacking}, len(faces), photos, say)
    labels = np.array([face.label for face in faces], np.uint8)
    with replacing(path) as temporary:
        np.savez_compressed(temporary, images=np.stack([images[number] for number in range(len(faces))]), labels=labels)
    partial.unlink(missing_ok=True)
    return path


def _fault(taken: CutPiece, face: Face) -> str:
    """Why what was cut out is not the face; empty if it is."""
    if taken.image is None:
        return taken.fault
    if _are(taken.image[None], [face])[0]:
        return ""
    bits = int(misfits(taken.image[None], [face])[0])
    if bits > TOLERANCE:
        return f"shows something else ({bits} of 64 bits differ)"
    ((mean, deviation),) = shades(taken.image[None]).tolist()
    return f"has other grey values (mean {mean:.1f}, deviation {deviation:.1f}; not {face.shade[0]}, {face.shade[1]})"


def _refuse(faults: dict[str, str], wanted: int, photos: Path, say: Callable[[str], None]) -> None:
    """Complain of photographs, each by its name, if there are any."""
    if not faults:
        return
    for name, fault in faults.items() if NAMED < len(faults) < wanted else ():
        say(f"{name}: {fault}")
    first = ", ".join(f"{Path(name).name} {fault}" for name, fault in list(faults.items())[:NAMED])
    more = f" and {len(faults) - NAMED:,} more" if len(faults) > NAMED else ""
    raise TwinlatentError(
        f"{photos}: {len(faults):,} of {wanted:,} photographs cannot be used ({first}{more}); "
        "put those of Kaggle's dogs-vs-cats training set there"
    )
