"""Which pieces of photographs to leave out, so that no two of those left are as good as one."""

from collections.abc import Container, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from twinlatent.data.boxes import Labelled
from twinlatent.data.fingerprints import repeats
from twinlatent.data.photos import CutPiece, Piece, Square

OVERLAP = 0.3  # of two squares of a photograph: what they share, in parts of what they cover together


def left_out(pieces: Sequence[Labelled], taken: Sequence[CutPiece], prints: NDArray[np.uint64]) -> dict[int, str]:
    """Which pieces to leave out, and why.

    Those that show the same as another by the rule of `repeats`; then those of a copy of a photograph; then those whose
    square overlaps that of an earlier piece of the same photograph by more than `OVERLAP`, whatever their classes are:
    the rule lets pass a box that is moved a little, on 20 photographs by 2 pixels of the photograph for 6, by 8 pixels
    for all. Squares further apart, as of two animals in a photograph, stay.

    Args:
        pieces: all that could be read.
        taken: what came of each, with an image.
        prints: fingerprints (n,) of the images.

    Returns:
        For the number of each piece to leave out a few words.
    """
    labels = np.unique([piece.class_name for piece in pieces], return_inverse=True)[1]
    same = repeats(prints, labels.astype(np.int64))
    reasons = {number: _shows_the_same(pieces[number], pieces[other]) for number, (other, _) in same.items()}
    reasons |= _copies(pieces, taken, reasons)
    return reasons | _overlaps(pieces, taken, reasons)


def called(piece: Piece) -> str:
    """Path of a photograph, and the box in it if there is one."""
    return str(piece.path) if piece.box is None else f"{piece.path}, box {piece.box}"


def _shows_the_same(this: Labelled, other: Labelled) -> str:
    what = "is listed twice" if this.piece == other.piece else f"shows the same as {called(other.piece)}"
    return what + _class_of(other, this)


def _class_of(other: Labelled, this: Labelled) -> str:
    return "" if other.class_name == this.class_name else f", of class {other.class_name}"


def _copies(pieces: Sequence[Labelled], taken: Sequence[CutPiece], gone: Container[int]) -> dict[int, str]:
    """Pieces of a copy of a photograph that stays; with boxes they need not show the same."""
    first: dict[str, Path] = {}
    copies = {}
    for number, (labelled, result) in enumerate(zip(pieces, taken, strict=True)):
        path = labelled.piece.path
        if number not in gone and first.setdefault(result.digest, path) != path:
            copies[number] = f"is a copy of {first[result.digest]}"
    return copies


def _overlaps(pieces: Sequence[Labelled], taken: Sequence[CutPiece], gone: Container[int]) -> dict[int, str]:
    """Pieces that overlap an earlier one of their photograph that stays."""
    kept: dict[str, list[int]] = {}
    found = {}
    for number, result in enumerate(taken):
        if number in gone:
            continue
        others = kept.setdefault(result.digest, [])
        near = next((other for other in others if overlap(taken[other].square, result.square) > OVERLAP), None)
        if near is None:
            others.append(number)
        else:
            found[number] = f"overlaps box {pieces[near].piece.box}{_class_of(pieces[near], pieces[number])}"
    return found


def overlap(one: Square, other: Square) -> float:
    """What two squares share, in parts of what they cover together (IoU).

    Example:
        >>> overlap((0, 0, 4), (2, 0, 4))
        0.3333333333333333
    """
    across, down = (
        max(0, min(one[axis] + one[2], other[axis] + other[2]) - max(one[axis], other[axis])) for axis in (0, 1)
    )
    shared = across * down
    return shared / (one[2] ** 2 + other[2] ** 2 - shared)
