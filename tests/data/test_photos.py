import hashlib
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from twinlatent.data.folder import files_below
from twinlatent.data.photos import Piece, by_name, take
from twinlatent.data.pictures import Look
from twinlatent.errors import TwinlatentError

WIDE = np.arange(6 * 10, dtype=np.uint8).reshape(6, 10) * 4  # 10 wide, 6 high


@pytest.fixture
def wide(tmp_path: Path) -> Path:
    Image.fromarray(WIDE).save(tmp_path / "wide.png")
    return tmp_path / "wide.png"


@pytest.mark.parametrize(
    ("box", "left", "top", "side"),
    [
        (None, 2, 0, 6),
        ((1, 2, 3, 3), 1, 2, 3),
        ((0, 0, 10, 6), 2, 0, 6),
        ((8, 0, 2, 4), 6, 0, 4),  # wants to stick out at the right
        ((0, 5, 4, 1), 0, 2, 4),  # at the bottom
        ((-3, -3, 5, 5), 0, 0, 2),  # only what lies inside counts
        ((4, 1, 2, 3), 3, 1, 3),
    ],
)
def test_the_square_is_around_the_box_and_in_the_photograph(wide: Path, box, left: int, top: int, side: int) -> None:
    taken = take(Piece(wide, box), side)
    np.testing.assert_array_equal(taken.image, WIDE[top : top + side, left : left + side])
    assert (taken.digest, taken.fault) == (hashlib.sha256(wide.read_bytes()).hexdigest(), "")


@pytest.mark.parametrize("box", [(10, 0, 3, 3), (0, 6, 3, 3), (-4, 0, 4, 4)])
def test_a_box_outside_is_a_fault(wide: Path, box) -> None:
    assert take(Piece(wide, box), 4).fault == f"has 10x6 pixels, and its box {box} lies outside"


def test_the_luma_of_a_jpeg_is_taken_as_it_is(tmp_path: Path) -> None:
    """Greyed after decoding, colours that were stored coarsely would give other values."""
    colours = np.random.default_rng(0).choice([0, 255], (64, 64, 3)).astype(np.uint8)
    Image.fromarray(colours).save(tmp_path / "a.jpg", quality=90)
    with Image.open(tmp_path / "a.jpg") as image:
        from_colours = np.asarray(image.convert("L"))
    with Image.open(tmp_path / "a.jpg") as image:
        image.draft("L", (64, 64))
        luma = np.asarray(image)
    taken = take(Piece(tmp_path / "a.jpg"), 64).image
    np.testing.assert_array_equal(taken, luma)
    assert (taken != from_colours).mean() > 0.1


def test_exif_turns_the_photograph_before_the_box_is_cut(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # shown turned clockwise
    Image.fromarray(WIDE).save(tmp_path / "a.png", exif=exif)
    upright = np.rot90(WIDE, -1)
    taken = take(Piece(tmp_path / "a.png", (1, 4, 5, 5), (6, 10)), 5)
    np.testing.assert_array_equal(taken.image, upright[4:9, 1:6])


def test_sixteen_bits_become_eight(tmp_path: Path) -> None:
    deep = (np.arange(36, dtype=np.uint16).reshape(6, 6) * 257 * 7).astype(np.uint16)
    Image.fromarray(deep).save(tmp_path / "a.png")
    np.testing.assert_array_equal(take(Piece(tmp_path / "a.png"), 6).image, np.arange(36).reshape(6, 6) * 7)


def test_phones_write_several_views_into_a_jpeg(tmp_path: Path) -> None:
    views = [Image.new("RGB", (20, 20), (v, v, v)) for v in (40, 200)]
    views[0].save(tmp_path / "a.jpg", format="MPO", save_all=True, append_images=views[1:])
    with Image.open(tmp_path / "a.jpg") as written:
        assert (written.format, written.n_frames) == ("MPO", 2)
    assert take(Piece(tmp_path / "a.jpg"), 4).image.tolist() == [[40] * 4] * 4


def animation(path: Path) -> None:
    frames = [Image.new("L", (8, 8), value) for value in (0, 99)]
    frames[0].save(path, save_all=True, append_images=frames[1:])


def bomb(path: Path) -> None:
    """A few bytes that claim to be 60,000 by 60,000 pixels."""
    header = b"IHDR" + struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
    chunk = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk + b"\0\0\0\0IDAT")


def half(path: Path) -> None:
    Image.fromarray(np.kron(WIDE, np.ones((9, 9), np.uint8))).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize(
    ("name", "make", "fault"),
    [
        ("a.gif", animation, "is animated, or holds several pictures"),
        ("a.tif", animation, "is animated, or holds several pictures"),
        ("a.webp", animation, "is animated, or holds several pictures"),
        ("a.png", bomb, "has too many pixels to be opened safely"),
        ("a.jpg", half, "cannot be read as an image (image file is truncated"),
        ("a.png", half, "cannot be read as an image ("),
        ("a.txt", lambda path: path.write_text("hello"), "is not an image"),
        ("a.jpg", lambda path: path.write_bytes(b""), "is empty"),
        ("a.jpg", lambda path: None, "no such file"),
        ("a.jpg", lambda path: path.mkdir(), "is a folder, not a file"),
    ],
)
def test_what_cannot_be_taken_says_why(tmp_path: Path, name: str, make, fault: str) -> None:
    make(tmp_path / name)
    taken = take(Piece(tmp_path / name), 4)
    assert (taken.image, taken.digest) == (None, "")
    assert taken.fault.startswith(fault)
    assert "\n" not in taken.fault


def test_another_size_than_expected_is_a_fault(wide: Path) -> None:
    assert take(Piece(wide, None, (10, 7)), 4).fault == "is 10x6 pixels, not 10x7"
    assert take(Piece(wide, None, (10, 6)), 4).fault == ""


def test_files_are_found_anywhere_below_but_not_hidden_ones(tmp_path: Path) -> None:
    for name in ("b/x.jpg", "a/deep/x.jpg", "a/y.jpg", ".git/x.jpg", "a/.x.jpg", "z.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = [path.relative_to(tmp_path).as_posix() for path in files_below(tmp_path, "")]
    assert found == ["a/deep/x.jpg", "a/y.jpg", "b/x.jpg", "z.jpg"]
    assert by_name(tmp_path, {"x.jpg", "q.jpg"}) == {
        "x.jpg": [tmp_path / "a/deep/x.jpg", tmp_path / "b/x.jpg"],
        "q.jpg": [],
    }
    with pytest.raises(TwinlatentError, match="nowhere: no such folder"):
        list(files_below(tmp_path / "nowhere", ""))


def test_a_photograph_far_below_its_white_is_skipped_with_a_reason(tmp_path: Path) -> None:
    values = np.linspace(0, 4095, 64).astype(np.uint16).reshape(8, 8)
    Image.fromarray(values).save(tmp_path / "a.png")
    taken = take(Piece(tmp_path / "a.png"), 4)
    assert (taken.image, taken.fault) == (None, "is far too dark: its largest value is 4095, with 65535 for white")


def test_colours_are_cut_as_grey_is(tmp_path: Path) -> None:
    colours = np.random.default_rng(0).integers(0, 256, (40, 60, 3)).astype(np.uint8)
    Image.fromarray(colours).save(tmp_path / "a.png")
    taken = take(Piece(tmp_path / "a.png", (10, 5, 24, 24)), 16, Look(3)).image
    assert taken.shape == (16, 16, 3)
    for colour in range(3):
        Image.fromarray(np.ascontiguousarray(colours[..., colour])).save(tmp_path / "b.png")
        alone = take(Piece(tmp_path / "b.png", (10, 5, 24, 24)), 16).image
        np.testing.assert_array_equal(taken[..., colour], alone)
