import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from twinlatent.data.pictures import Look, read_image
from twinlatent.errors import TwinlatentError

SIZE = 6
RAMP = np.linspace(0, 255, SIZE * SIZE).astype(np.uint8).reshape(SIZE, SIZE)


def saved(path: Path, array: np.ndarray, **options: object) -> Path:
    Image.fromarray(array).save(path, **options)
    return path


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
    for bad in (values * 2, values - 0.5, np.full_like(values, np.nan)):
        with pytest.raises(TwinlatentError, match=r"a\.tif: has grey values from"):
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
        ("a.png", lambda content: b"these are no pixels", "is not an image; give PNG, JPEG or the like"),
        ("a.png", lambda content: b"", "is empty"),
        ("a.png", lambda content: content[:60], "cannot be read as an image"),
        ("a.png", lambda content: content[:50] + bytes(10) + content[60:], "cannot be read as an image"),
        ("a.jpg", lambda content: content[: len(content) // 2], "cannot be read as an image"),
        ("a.tif", lambda content: content[:20] + b"\xff" * 9, "is a TIFF or raw photograph"),
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


# --- pictures that Pillow hands out otherwise than their formats mean them ------------------------------------------

SLOPE = np.arange(SIZE * SIZE).reshape(SIZE, SIZE) / (SIZE * SIZE - 1)  # from black to white


def tiff(path: Path, values: np.ndarray, photometric: int, bits: int = 0, sample_format: int = 1, **more: int) -> Path:
    """Write an uncompressed TIFF of one value a pixel; `more` are tags by their names below."""
    order = values.dtype.str[0] if values.dtype.itemsize > 1 else "<"
    data, bits = values.tobytes(), bits or 8 * values.dtype.itemsize
    tags = {256: SIZE, 257: SIZE, 258: bits, 259: 1, 262: photometric, 277: 1, 278: SIZE, 279: len(data)}
    tags |= {339: sample_format} | {{"dng": 50706}[name]: value for name, value in more.items()}
    tags[273] = 8 + 2 + 12 * (len(tags) + 1) + 4
    entries = b"".join(struct.pack(f"{order}HHII", tag, 4, 1, value) for tag, value in sorted(tags.items()))
    start = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}IH", 8, len(tags))
    path.write_bytes(start + entries + bytes(4) + data)
    return path


def packed(values: np.ndarray, bits: int) -> np.ndarray:
    """Values as rows of so many bits each, filled up to bytes."""
    each = (values.astype(np.uint32)[..., None] >> np.arange(bits)[::-1]) & 1
    return np.packbits(each.reshape(len(values), -1).astype(np.uint8), axis=1)


@pytest.mark.parametrize("photometric", [0, 1])
@pytest.mark.parametrize("kind", [1, 2, 4, "u1", "<u2", "<f4", ">f4", 12, ">u2"])
def test_white_and_black_of_a_tiff_are_where_its_file_says(tmp_path, photometric: int, kind) -> None:
    if photometric == 0 and kind in (12, ">u2"):  # Pillow reads none of these
        with pytest.raises(TwinlatentError, match="of a kind that cannot be read; save it as a PNG"):
            read_image(tiff(tmp_path / "a.tif", packed(SLOPE, 16).view("<u2").astype(">u2"), 0), SIZE)
        return
    bits = kind if isinstance(kind, int) else 8 * int(kind[-1])
    floating = isinstance(kind, str) and kind[-2] == "f"
    white = 1 if floating else 2**bits - 1
    shown = SLOPE if floating else np.round(SLOPE * white)
    stored = shown if photometric else white - shown
    array = packed(stored, bits) if isinstance(kind, int) else stored.astype(kind)
    image = read_image(tiff(tmp_path / "a.tif", array, photometric, bits, 3 if floating else 1), SIZE)
    np.testing.assert_allclose(image, shown / white, atol=1e-6)


@pytest.mark.parametrize(
    ("kind", "sample_format", "brightest", "seen"),
    [
        ("<i4", 2, 1, 1), ("<i4", 2, 255, 1), (">i4", 2, 255, 1), ("<i4", 2, 65535, 1), ("<u4", 1, 255, 1),
        ("<i4", 2, 510, None), ("<i4", 2, 8192, 8192 / 65535), ("<i4", 2, 65536, None), ("<i4", 2, -9, None),
        ("<i4", 2, 2, None), ("<u4", 1, 2**32 - 1, None), ("<i2", 2, 32767, None), ("i1", 2, 127, None),
        ("<u2", 1, 255, None), ("<f4", 3, 255, None), ("<f4", 3, 1 / 255, None), ("u1", 1, 1, None),
    ],
)  # fmt: skip
def test_values_whose_white_is_not_known_are_refused(tmp_path, kind, sample_format, brightest, seen) -> None:
    """Whole numbers of 32 bits, as Pillow writes them, are taken by the first of 1, 255 and 65535 that holds all."""
    path = tiff(tmp_path / "a.tif", (np.round(SLOPE) * brightest).astype(kind), 1, 0, sample_format)
    if seen is None:
        with pytest.raises(TwinlatentError, match=r"a\.tif: .*; (save it as a PNG of 8 or|rescale it so that)"):
            read_image(path, SIZE)
    else:
        np.testing.assert_allclose(read_image(path, SIZE), np.round(SLOPE) * seen, atol=1e-6)


@pytest.mark.parametrize("ending", ["png", "tif"])
@pytest.mark.parametrize("brightest", [1023, 4095, 8191])
def test_deep_values_of_another_white_are_refused(tmp_path, ending: str, brightest: int) -> None:
    path = saved(tmp_path / f"a.{ending}", np.round(SLOPE * brightest).astype(np.uint16))
    with pytest.raises(TwinlatentError, match=f"value is {brightest}, with 65535 for white; rescale it so that white"):
        read_image(path, SIZE)


@pytest.mark.parametrize("channels", [3, 4])
def test_deep_colours_of_another_white_are_refused(tmp_path, channels: int) -> None:
    layers = np.round(np.stack([SLOPE] * channels, 2) * 4095).astype(">u2")
    layers[..., 3:] = 65535
    with pytest.raises(TwinlatentError, match="is far too dark: its largest value is 15, with 255 for white"):
        read_image(png(tmp_path / "a.png", 16, 2 if channels == 3 else 6, layers), SIZE)


def test_a_dark_photograph_of_eight_bits_is_a_picture(tmp_path) -> None:
    dark = np.round(SLOPE * 12).astype(np.uint8)
    np.testing.assert_allclose(read_image(saved(tmp_path / "a.png", dark), SIZE), dark / 255, atol=1e-6)


def test_a_picture_of_one_dark_shade_is_no_mistake(tmp_path) -> None:
    assert read_image(saved(tmp_path / "a.png", np.full((SIZE, SIZE), 1, np.uint8)), SIZE).max() == np.float32(1 / 255)


def png(path: Path, bits: int, colour: int, rows: np.ndarray, transparent: bytes = b"") -> Path:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", SIZE, SIZE, bits, colour, 0, 0, 0))
    head += chunk(b"tRNS", transparent) if transparent else b""
    data = chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows)))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + head + data + chunk(b"IEND", b""))
    return path


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
@pytest.mark.parametrize("of_white", [0, 1 / 3, 1])
def test_a_transparent_grey_is_shown_on_white(tmp_path, bits: int, of_white: float) -> None:
    white = 2**bits - 1
    values, clear = np.round(SLOPE * white), round(of_white * white)
    rows = values.astype(">u2") if bits == 16 else packed(values, bits)
    image = read_image(png(tmp_path / "a.png", bits, 0, rows, struct.pack(">H", clear)), SIZE)
    np.testing.assert_allclose(image, np.where(values == clear, 1, values / white), atol=1e-6)


@pytest.mark.parametrize(("bits", "alpha"), [(8, 1), (16, 1), (8, 0.4), (16, 0.4)])
@pytest.mark.parametrize("channels", [2, 4])
def test_alpha_lets_white_through(tmp_path, bits: int, alpha: float, channels: int) -> None:
    layers = [SLOPE] * (channels - 1) + [np.full_like(SLOPE, alpha)]
    rows = np.round(np.stack(layers, 2) * (2**bits - 1)).astype(f">u{bits // 8}")
    image = read_image(png(tmp_path / "a.png", bits, channels + 2, rows), SIZE)
    np.testing.assert_allclose(image, SLOPE * alpha + 1 - alpha, atol=1.5 / 255)


def test_one_transparent_colour_of_16_bits_is_refused(tmp_path) -> None:
    rows = np.round(np.stack([SLOPE] * 3, 2) * 65535).astype(">u2")
    with pytest.raises(TwinlatentError, match="has a transparent colour of 16 bits; save it as"):
        read_image(png(tmp_path / "a.png", 16, 2, rows, struct.pack(">HHH", *rows[3, 3])), SIZE)


@pytest.mark.parametrize("white", [1, 15, 255, 1023, 4095, 65535])
@pytest.mark.parametrize("magic", ["P2", "P5"])
def test_the_white_of_a_pgm_is_its_own(tmp_path, white: int, magic: str) -> None:
    values = np.round(SLOPE * white).astype(int)
    raw = values.astype(">u2" if white > 255 else "u1").tobytes()
    body = raw if magic == "P5" else " ".join(map(str, values.ravel())).encode()
    (tmp_path / "a.pgm").write_bytes(f"{magic} {SIZE} {SIZE} {white}\n".encode() + body)
    np.testing.assert_allclose(read_image(tmp_path / "a.pgm", SIZE), values / white, atol=0.5 / 255)


@pytest.mark.parametrize("ending", ["png", "tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_deep_images_are_turned_as_others_are(tmp_path, ending: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    seen = [
        read_image(saved(tmp_path / f"{values.dtype}.{ending}", values, exif=exif), SIZE)
        for values in (RAMP, RAMP.astype(np.uint16) * 257)
    ]
    np.testing.assert_allclose(*seen, atol=1e-6)


# --- what is no picture ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "is a HEIC photograph; convert it to PNG or JPEG"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", "is a HEIC photograph; convert"),
        (b"\0\0\0\x18ftypcrx \0\0\0\1crx isom", "is a raw photograph; convert"),
        (b"\0\0\0\x18ftypmp42\0\0\0\0isommp42", "is a video; save its pictures"),
        (b"FUJIFILMCCD-RAW 0201", "is a raw photograph"),
        (b"%PDF-1.7", "is a PDF document; convert"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 6 6\n%%EndComments\n", "is a PostScript document; convert"),
        (b'<?xml version="1.0"?>\n<svg width="6">', "is an SVG drawing; convert"),
        (b"<!DOCTYPE html><html>", "is a web page; download the file itself"),
        (b"version https://git-lfs.github.com/spec/v1\n", "is a placeholder of Git LFS; fetch"),
        (b"\x89HDF\r\n\x1a\n", "is an HDF5 file; save its images as an array"),
        (b"\x80\x04\x95", "is a pickle, which is never loaded; save"),
        (bytes(128) + b"DICM", "is a DICOM picture; convert"),
        (b"7z\xbc\xaf\x27\x1c", "is an archive; unpack it"),
        (b"II*\0\x10\0\0\0CR\2\0", "is a TIFF or raw photograph"),
    ],
)
def test_what_it_is_is_said_by_its_bytes(tmp_path, content: bytes, named: str) -> None:
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(TwinlatentError, match=f"^{tmp_path}/a.png: {named}") as error:
        read_image(tmp_path / "a.png", SIZE)
    assert "remove" not in str(error.value)


def test_a_preview_is_not_taken_for_the_photograph(tmp_path) -> None:
    with pytest.raises(TwinlatentError, match="is a raw photograph, or begins with a preview"):
        read_image(tiff(tmp_path / "a.dng", RAMP, 1, dng=0x01040000), SIZE)


def test_only_regular_files_are_opened(tmp_path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "dead").symlink_to("nowhere")
    (tmp_path / "round").symlink_to("round")
    for name, fault in (
        ("pipe", "is a pipe, no regular file"),
        ("dead", "is a link to nowhere, which is not there"),
        ("round", "cannot be read"),
        (".", "is a folder, not a file"),
        ("no.png", "no such file"),
        ("n" * 300, "cannot be read"),
        ("a\0b", "cannot be read"),
        ("/dev/null", "is a device, no regular file"),
    ):
        with pytest.raises(TwinlatentError, match=fault) as error:
            read_image(tmp_path / name, SIZE)
        assert str(error.value).isprintable()


# --- colour ---------------------------------------------------------------------------------------------------------

COLOURS = np.stack([RAMP, RAMP[::-1], RAMP.T], -1)
COLOUR = Look(3)


@pytest.mark.parametrize("ending", ["png", "bmp", "tif", "ppm", "webp"])
def test_lossless_colours_are_kept_exactly(tmp_path, ending: str) -> None:
    path = saved(tmp_path / f"a.{ending}", COLOURS, **({"lossless": True} if ending == "webp" else {}))
    np.testing.assert_array_equal(read_image(path, SIZE, COLOUR), COLOURS.astype(np.float32) / 255)


@pytest.mark.parametrize("ending", ["png", "gif", "tif", "pgm"])
def test_a_grey_picture_has_three_equal_colours(tmp_path, ending: str) -> None:
    image = read_image(saved(tmp_path / f"a.{ending}", RAMP), SIZE, COLOUR)
    np.testing.assert_array_equal(image, np.stack([RAMP.astype(np.float32) / 255] * 3, -1))


@pytest.mark.parametrize("ending", ["png", "tif", "pgm"])
def test_a_grey_picture_of_16_bits_keeps_them_in_colour(tmp_path, ending: str) -> None:
    deep = RAMP.astype(np.uint16) * 256 + 17
    image = read_image(saved(tmp_path / f"a.{ending}", deep), SIZE, COLOUR)
    np.testing.assert_array_equal(image, np.stack([deep.astype(np.float32) / 65535] * 3, -1))


def test_palette_and_cmyk_become_red_green_and_blue(tmp_path) -> None:
    two = np.where(np.indices((SIZE, SIZE)).sum(0)[..., None] % 2, (255, 0, 0), (0, 0, 255)).astype(np.uint8)
    Image.fromarray(two).quantize(2).save(tmp_path / "a.png")
    Image.fromarray(two).convert("CMYK").save(tmp_path / "a.tif")
    Image.fromarray(np.full((64, 64, 3), (255, 0, 0), np.uint8)).convert("CMYK").save(tmp_path / "a.jpg", quality=95)
    for name in ("a.png", "a.tif"):
        np.testing.assert_array_equal(read_image(tmp_path / name, SIZE, COLOUR), two / np.float32(255))
    np.testing.assert_allclose(read_image(tmp_path / "a.jpg", SIZE, COLOUR)[3, 3], (1, 0, 0), atol=0.02)


@pytest.mark.parametrize(
    ("background", "red", "grey"),
    [
        ("white", (1, 0.5, 0.5), 0.6495),
        ("#00f", (0.5, 0, 0.5), 0.2065),
        ("black", (0.5, 0, 0), 0.1495),
    ],
)
def test_transparent_parts_are_shown_on_the_background(tmp_path, background: str, red, grey: float) -> None:
    half_red = np.full((SIZE, SIZE, 4), (255, 0, 0, 128), np.uint8)
    path = saved(tmp_path / "a.png", half_red)
    np.testing.assert_allclose(read_image(path, SIZE, Look(3, background))[0, 0], red, atol=1 / 255)
    np.testing.assert_allclose(read_image(path, SIZE, Look(1, background)), grey, atol=1.1 / 255)


@pytest.mark.parametrize("bits", [8, 16])
def test_a_transparent_grey_is_shown_on_the_background_in_colour(tmp_path, bits: int) -> None:
    values = (RAMP.astype(np.uint16) * 257 if bits == 16 else RAMP).copy()
    clear = int(values[0, 0])
    Image.fromarray(values).save(tmp_path / "a.png", transparency=clear)
    image = read_image(tmp_path / "a.png", SIZE, Look(3, "red"))
    assert image[0, 0].tolist() == [1, 0, 0]
    np.testing.assert_array_equal(image[1:], np.stack([RAMP[1:].astype(np.float32) / 255] * 3, -1))
    assert read_image(tmp_path / "a.png", SIZE, Look(1, "black"))[0, 0] == 0


@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_colours_are_turned_upright(tmp_path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(COLOURS).save(tmp_path / "a.png", exif=exif)
    turned = {3: np.rot90(COLOURS, 2), 6: np.rot90(COLOURS, -1), 8: np.rot90(COLOURS)}[orientation]
    np.testing.assert_array_equal(read_image(tmp_path / "a.png", SIZE, COLOUR), turned / np.float32(255))


def test_colours_are_resized_one_by_one(tmp_path) -> None:
    together = read_image(saved(tmp_path / "a.png", COLOURS), 4, COLOUR)
    for colour in range(3):
        alone = read_image(saved(tmp_path / "b.png", np.ascontiguousarray(COLOURS[..., colour])), 4)
        np.testing.assert_array_equal(together[..., colour], alone)


@pytest.mark.parametrize(
    ("channels", "background", "complaint"),
    [
        (2, "white", "channels is 2; give 1 for grey or 3 for colour"),
        (4, "white", "channels is 4; give 1"),
        (1, "whit", "background 'whit' is no colour; give a name such as white, or #rrggbb"),
        (3, "#ff000080", "background '#ff000080' is no colour"),
        (3, 7, "background is 7; give a text"),
    ],
)
def test_no_channels_and_no_colours_are_named(channels: int, background: str, complaint: str) -> None:
    with pytest.raises(TwinlatentError, match=complaint):
        Look(channels, background)
