import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from twinlatent.data.folder import read_folder, read_image
from twinlatent.errors import TwinlatentError

SIZE = 6
RAMP = np.linspace(0, 255, SIZE * SIZE).astype(np.uint8).reshape(SIZE, SIZE)


def saved(path: Path, array: np.ndarray, **options: object) -> Path:
    Image.fromarray(array).save(path, **options)
    return path


def classes(root: Path, **counts: int) -> Path:
    """Folders of flat images; the k-th image of a class is of grey value k."""
    for name, count in counts.items():
        (root / name).mkdir(parents=True)
        for k in range(count):
            saved(root / name / f"{k}.png", np.full((SIZE, SIZE), k, np.uint8))
    return root


@pytest.mark.parametrize("ending", ["png", "bmp", "gif", "tif", "pgm", "webp"])
def test_lossless_grey_of_the_right_size_is_kept_exactly(tmp_path, ending: str) -> None:
    path = saved(tmp_path / f"a.{ending}", RAMP, **({"lossless": True} if ending == "webp" else {}))
    image = read_image(path, SIZE)
    assert image.dtype == np.float32
    np.testing.assert_array_equal(image, RAMP.astype(np.float32) / 255)


def test_jpeg_is_read_nearly(tmp_path) -> None:
    image = read_image(saved(tmp_path / "a.jpg", RAMP, quality=95), SIZE)
    np.testing.assert_allclose(image, RAMP / 255, atol=0.03)


@pytest.mark.parametrize(
    ("colour", "grey"),
    [
        ((255, 0, 0), 0.299),
        ((0, 255, 0), 0.587),
        ((0, 0, 255), 0.114),
        ((255, 0, 0, 255), 0.299),
        ((255, 0, 0, 0), 1.0),
        ((0, 0, 0, 0), 1.0),
        ((0, 0, 0, 51), 0.8),
    ],
)
def test_colours_become_luma_and_transparency_shows_white(tmp_path, colour: tuple[int, ...], grey: float) -> None:
    path = saved(tmp_path / "a.png", np.full((SIZE, SIZE, len(colour)), colour, np.uint8))
    np.testing.assert_allclose(read_image(path, SIZE), grey, atol=1 / 255)


@pytest.mark.parametrize(
    ("mode", "ending"), [("1", "png"), ("P", "png"), ("LA", "png"), ("PA", "tif"), ("CMYK", "tif")]
)
def test_black_and_white_survive_other_modes(tmp_path, mode: str, ending: str) -> None:
    board = np.indices((SIZE, SIZE)).sum(0) % 2 * np.uint8(255)
    source = Image.fromarray(board.astype(np.uint8))
    image = source.convert("RGB").convert("CMYK") if mode == "CMYK" else source.convert("RGBA").convert(mode)
    try:
        image.save(tmp_path / f"a.{ending}")
    except OSError:
        image.convert("P").save(tmp_path / f"a.{ending}")
    np.testing.assert_allclose(read_image(tmp_path / f"a.{ending}", SIZE), board / 255, atol=1 / 255)


@pytest.mark.parametrize("ending", ["png", "tif", "pgm"])
def test_sixteen_bits_are_scaled_by_their_own_white(tmp_path, ending: str) -> None:
    deep = np.linspace(0, 65535, SIZE * SIZE).astype(np.uint16).reshape(SIZE, SIZE)
    image = read_image(saved(tmp_path / f"a.{ending}", deep), SIZE)
    np.testing.assert_allclose(image, deep / 65535, atol=1e-6)
    assert len(np.unique(image)) == SIZE * SIZE


def test_floats_are_taken_as_they_are_or_refused(tmp_path) -> None:
    values = (RAMP / 255).astype(np.float32)
    np.testing.assert_array_equal(read_image(saved(tmp_path / "a.tif", values), SIZE), values)
    for bad in (values * 2, values - 1, np.full_like(values, np.nan)):
        with pytest.raises(TwinlatentError, match=r"a\.tif: .*float32 values outside 0 to 1"):
            read_image(saved(tmp_path / "a.tif", bad), SIZE)


def test_the_first_frame_of_an_animation_is_taken(tmp_path) -> None:
    frames = [Image.fromarray(np.full((SIZE, SIZE), value, np.uint8)) for value in (50, 100, 200)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    with Image.open(tmp_path / "a.gif") as written:
        assert written.n_frames == 3
    np.testing.assert_allclose(read_image(tmp_path / "a.gif", SIZE), 50 / 255)


@pytest.mark.parametrize(("orientation", "turned"), [(1, RAMP), (3, RAMP[::-1, ::-1]), (6, np.rot90(RAMP, -1))])
def test_images_are_turned_upright(tmp_path, orientation: int, turned: np.ndarray) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(tmp_path / "a.png", RAMP, exif=exif)
    np.testing.assert_allclose(read_image(path, SIZE), turned / 255, atol=1e-6)


@pytest.mark.parametrize("shape", [(2 * SIZE, 2 * SIZE), (4 * SIZE, SIZE), (SIZE, 3 * SIZE), (3, 3), (1, 1)])
def test_any_shape_becomes_the_square_in_range(tmp_path, shape: tuple[int, int]) -> None:
    noise = np.random.default_rng(0).choice([0, 255], shape).astype(np.uint8)
    image = read_image(saved(tmp_path / "a.png", noise), SIZE)
    assert image.shape == (SIZE, SIZE)
    assert image.min() >= 0
    assert image.max() <= 1


def test_shrinking_averages(tmp_path) -> None:
    board = np.indices((20 * SIZE, 20 * SIZE)).sum(0) % 2 * 255
    image = read_image(saved(tmp_path / "a.png", board.astype(np.uint8)), SIZE)
    np.testing.assert_allclose(image, 0.5, atol=0.01)


def test_growing_a_flat_image_keeps_it_flat(tmp_path) -> None:
    image = read_image(saved(tmp_path / "a.png", np.full((3, 2), 77, np.uint8)), 50)
    np.testing.assert_allclose(image, 77 / 255, atol=1e-6)


def huge_png(path: Path, side: int) -> Path:
    """A few bytes that claim to be `side` by `side` pixels."""
    header = b"IHDR" + struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    chunk = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk + b"\0\0\0\0IDAT")
    return path


@pytest.mark.parametrize("side", [11_000, 60_000])  # Pillow warns of the one and refuses the other
def test_a_decompression_bomb_is_named(tmp_path, side: int) -> None:
    with pytest.raises(TwinlatentError, match=r"bomb\.png: has too many pixels"):
        read_image(huge_png(tmp_path / "bomb.png", side), SIZE)


@pytest.mark.parametrize(
    ("name", "change", "complaint"),
    [
        ("a.png", lambda content: b"these are no pixels", "is not an image; remove it"),
        ("a.png", lambda content: b"", "is not an image; remove it"),
        ("a.png", lambda content: content[:60], "cannot be read as an image"),
        ("a.png", lambda content: content[:50] + bytes(10) + content[60:], "cannot be read as an image"),
        ("a.jpg", lambda content: content[: len(content) // 2], "cannot be read as an image"),
        ("a.tif", lambda content: content[:20] + b"\xff" * 9, "an image"),
        ("a.gif", lambda content: content[: len(content) // 2], "cannot be read as an image"),
    ],
)
def test_a_damaged_image_is_named(tmp_path, name: str, change, complaint: str) -> None:
    path = saved(tmp_path / name, np.kron(RAMP, np.ones((9, 9), np.uint8)))
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(TwinlatentError, match=complaint) as error:
        read_image(path, SIZE)
    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value)


def test_folders_are_classes_in_sorted_order(tmp_path) -> None:
    root = classes(tmp_path, cat=3, ant=4, bee=5)
    saved(root / "ant" / ".hidden.png", RAMP)
    (root / ".git").mkdir()
    (root / "README").write_text("not a class")
    data, names = read_folder(root, size=SIZE, progress=False)
    assert names == ("ant", "bee", "cat")
    assert data.labels.tolist() == [0] * 4 + [1] * 5 + [2] * 3
    assert data.images.shape == (12, 1, SIZE, SIZE)
    values = data.images[:, 0, 0, 0].mul(255).round().long().tolist()
    assert values == [0, 1, 2, 3, 0, 1, 2, 3, 4, 0, 1, 2]


def test_progress_is_shown(tmp_path, capsys: pytest.CaptureFixture[str]) -> None:
    read_folder(classes(tmp_path, a=3, b=3), size=SIZE, progress=True)
    assert f"reading {tmp_path}: 6/6" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("counts", "complaint"),
    [
        ({}, ": 0 class folders; put the images of each class into a folder there"),
        ({"a": 4}, ": 1 class folders"),
        ({"a": 4, "b": 0}, "/b: 0 images; put at least 3 there"),
        ({"a": 2, "b": 4}, "/a: 2 images; put at least 3 there"),
    ],
)
def test_too_little_is_named(tmp_path, counts: dict[str, int], complaint: str) -> None:
    with pytest.raises(TwinlatentError, match=f"^{tmp_path}{complaint}"):
        read_folder(classes(tmp_path, **counts), size=SIZE, progress=False)


def test_a_missing_folder_is_named(tmp_path) -> None:
    with pytest.raises(TwinlatentError, match="nowhere: no such folder"):
        read_folder(tmp_path / "nowhere", size=SIZE, progress=False)


def test_a_folder_in_a_class_folder_is_named(tmp_path) -> None:
    (classes(tmp_path, a=3, b=3) / "b" / "more").mkdir()
    with pytest.raises(TwinlatentError, match="b/more: a folder inside a class folder"):
        read_folder(tmp_path, size=SIZE, progress=False)


def test_a_file_that_is_no_image_is_named(tmp_path) -> None:
    (classes(tmp_path, a=3, b=3) / "b" / "notes.txt").write_text("later")
    with pytest.raises(TwinlatentError, match=r"b/notes\.txt: is not an image"):
        read_folder(tmp_path, size=SIZE, progress=False)
