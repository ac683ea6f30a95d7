"""Which pieces are left out; photographs are made-up names here, and fingerprints numbers far apart unless said."""

from pathlib import Path

import numpy as np
import pytest

from twinlatent.data.boxes import Labelled
from twinlatent.data.photos import CutPiece, Piece
from twinlatent.data.selection import OVERLAP, called, left_out, overlap

IMAGE = np.zeros((4, 4), np.uint8)


def reasons(*rows: tuple[str, tuple[int, int, int], str], prints: list[int] | None = None) -> dict[int, str]:
    """Of rows (photograph, square, class); a photograph's digest is its name up to a dash."""
    pieces = [Labelled(Piece(Path(file), (x, y, side, side)), name) for file, (x, y, side), name in rows]
    taken = [CutPiece(IMAGE, file.split("-")[0], square) for file, square, _ in rows]
    apart = [0x1111111111111111 * number for number in range(len(rows))]
    return left_out(pieces, taken, np.array(prints or apart, np.uint64))


@pytest.mark.parametrize(
    ("one", "other", "share"),
    [
        ((0, 0, 4), (0, 0, 4), 1),
        ((0, 0, 4), (4, 0, 4), 0),
        ((0, 0, 4), (9, 9, 4), 0),
        ((0, 0, 4), (2, 2, 4), 4 / 28),
        ((0, 0, 10), (2, 3, 5), 25 / 100),
        ((5, 5, 2), (4, 6, 2), 1 / 7),
    ],
)
def test_overlaps_done_by_hand(one, other, share: float) -> None:
    assert overlap(one, other) == overlap(other, one) == pytest.approx(share)


def test_of_boxes_that_overlap_in_a_photograph_the_first_stays() -> None:
    assert reasons(
        ("a", (0, 0, 100), "cat"),
        ("a", (1, 0, 100), "cat"),
        ("b", (1, 0, 100), "cat"),  # another photograph
        ("a", (200, 0, 100), "cat"),  # another animal
        ("a", (0, 2, 100), "dog"),
    ) == {1: "overlaps box (0, 0, 100, 100)", 4: "overlaps box (0, 0, 100, 100), of class cat"}


def test_only_those_that_stay_push_others_out() -> None:
    """Each overlaps the one before by a third, and the one before that not at all."""
    row = [("a", (50 * k, 0, 100), "cat") for k in range(5)]
    assert overlap(row[0][1], row[1][1]) > OVERLAP
    assert sorted(reasons(*row)) == [1, 3]


def test_a_little_overlap_is_allowed() -> None:
    assert overlap((0, 0, 100), (55, 0, 100)) == pytest.approx(0.29, abs=0.001)
    assert reasons(("a", (0, 0, 100), "cat"), ("a", (55, 0, 100), "cat")) == {}


def test_a_box_listed_twice_is_called_so() -> None:
    rows = [("a", (0, 0, 9), "cat"), ("a", (0, 0, 9), "cat"), ("b", (0, 0, 9), "cat"), ("b", (0, 0, 9), "dog")]
    far = 0xFFFFFFFF
    assert reasons(*rows, prints=[0, 0, far, far]) == {
        1: "is listed twice",
        2: "is listed twice, of class dog",
        3: "is listed twice, of class cat",
    }


def test_what_shows_the_same_is_named_with_its_box() -> None:
    rows = [("a", (0, 0, 9), "cat"), ("a", (50, 0, 9), "cat"), ("b", (7, 0, 9), "cat")]
    assert reasons(*rows, prints=[0, 0, 0]) == dict.fromkeys((1, 2), "shows the same as a, box (0, 0, 9, 9)")
    assert called(Piece(Path("a"))) == "a"


def test_of_copies_of_a_photograph_one_stays_with_its_boxes() -> None:
    rows = [("a", (0, 0, 9), "cat"), ("a-copy", (90, 0, 9), "cat"), ("a", (50, 0, 9), "cat")]
    assert reasons(*rows) == {1: "is a copy of a"}
