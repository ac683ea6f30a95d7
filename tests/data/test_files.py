"""Files of images: what is in them is read, or a line says what they are."""

import gzip
import io
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.numpy import save_file

from twinlatent.data import arrays, limits
from twinlatent.data.files import read_images
from twinlatent.errors import TwinlatentError

SHAPE = (1, 6, 5)
VALUES = np.linspace(0, 1, 2 * 6 * 5, dtype=np.float32).reshape(2, 1, 6, 5)
BYTES = np.round(VALUES * 255).astype(np.uint8)
INKS = (VALUES > 0.5).astype(np.uint8)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def saved(name: str, array: NDArray) -> Path:
    with Path(name).open("wb") as file:
        np.save(file, array)
    return Path(name)


def test_no_files_are_refused() -> None:
    with pytest.raises(TwinlatentError, match="no files of images are given; give at least one"):
        read_images([], SHAPE)


def refusal(*files: str | Path) -> str:
    with pytest.raises(TwinlatentError) as error:
        read_images([Path(file) for file in files], SHAPE)
    assert str(error.value).isprintable()
    assert len(str(error.value)) < 200
    return str(error.value)


# --- arrays ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stored", "meant"),
    [
        (VALUES, VALUES),
        (VALUES[:, 0], VALUES),
        (VALUES[:, 0, :, :, None], VALUES),
        (VALUES[0], VALUES[:1]),
        (VALUES[0, 0], VALUES[:1]),
        (VALUES[0, 0, :, :, None], VALUES[:1]),
        (np.asfortranarray(VALUES), VALUES),
        (VALUES.astype(">f8"), VALUES),
        (VALUES.astype(np.float16), VALUES.astype(np.float16).astype(np.float32)),
        (BYTES, BYTES / 255),
        (np.asfortranarray(BYTES[:, 0]), BYTES / 255),
        (BYTES[:, 0, :, :, None], BYTES / 255),
        (INKS, INKS),
        (INKS.astype(bool), INKS),
        (np.zeros_like(BYTES), np.zeros_like(VALUES)),
        (np.ones_like(BYTES), np.full_like(VALUES, 1 / 255)),  # as a PNG of it
        (BYTES // 7, BYTES // 7 / 255),
    ],
)
def test_arrays_are_read_as_what_they_are(stored: NDArray, meant: NDArray) -> None:
    names, images = read_images([saved("a.npy", stored)], SHAPE)
    assert names == [f"a.npy[{k}]" for k in range(len(meant))]
    assert images.dtype == torch.float32
    np.testing.assert_allclose(images.numpy(), meant, atol=1e-7)


@pytest.mark.parametrize(
    ("stored", "fault"),
    [
        (BYTES.astype(np.int64), "images are int64 from 0 to 255; save 0 to 255 as uint8"),
        (BYTES.astype(">u2") * 257, "images are uint16 from 0 to 65535; save 0 to 255 as uint8, or divide by white"),
        (BYTES.astype(np.float32), "images reach from 0 to 255, outside [0, 1]; divide by 255"),
        (BYTES // 100, "images are uint8 from 0 to 2, far too dark; scale them to 0..1 floats or 0..255 uint8"),
        (BYTES // 15, "images are uint8 from 0 to 17, far too dark"),
        (BYTES // 9 + 1, "images are uint8 from 1 to 29, far too dark"),
        (VALUES / 255, "no image is brighter than 0.003922; rescale them so that white is 1"),
        (VALUES * np.nan, "contain NaN"),
        (VALUES.astype(np.complex64), "images are complex64, not floating"),
        (VALUES[:0], "give at least one image"),
        (VALUES.reshape(2, 30), "has shape (2, 30); the detector takes (n, 1, 6, 5)"),
        (VALUES.swapaxes(2, 3), "has shape (2, 1, 5, 6)"),
        (np.repeat(VALUES, 3, 1), "has shape (2, 3, 6, 5)"),
        (np.repeat(VALUES[:, 0, :, :, None], 3, 3), "has shape (2, 6, 5, 3)"),
        (np.zeros((6, 5), [("a", "f4")]), "give numbers"),
        (np.full((6, 5), None), "holds Python objects, which are never loaded"),
    ],
)
def test_arrays_that_could_mean_several_things_are_refused(stored: NDArray, fault: str) -> None:
    with Path("a.npy").open("wb") as file:
        np.save(file, stored, allow_pickle=True)
    assert fault in refusal("a.npy")


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda whole: whole[:-3], "it should hold 240 bytes of values and holds 237"),
        (lambda whole: whole + whole, "is damaged: it should hold 240 bytes"),  # two arrays saved into one file
        (lambda whole: whole.replace(b"(2, 1", b"(10**9, 1"), "is no array file, or damaged"),
        (lambda whole: whole.replace(b"(2, 1, 6, 5)", b"(99999999, 6, 5)", 1)[: len(whole)], "damaged"),
        (lambda whole: whole[:9], "is no array file, or damaged"),
    ],
)
def test_a_header_is_not_believed(change: Callable[[bytes], bytes], fault: str) -> None:
    path = saved("a.npy", VALUES)
    path.write_bytes(change(path.read_bytes()))
    assert fault in refusal(path)


def test_an_archive_that_blows_up_is_refused_before(monkeypatch: pytest.MonkeyPatch) -> None:
    np.savez_compressed("a.npz", images=np.zeros((5000, *SHAPE[1:]), np.uint8))
    monkeypatch.setattr(limits, "memory", lambda: 10**6)
    monkeypatch.setattr(np.lib.format, "read_array", None)
    assert "5,000 images of 30 pixels need" in refusal("a.npz")


def test_the_memory_of_this_machine_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    assert limits.memory() > 10**8
    monkeypatch.delattr(os, "sysconf")  # as on other systems
    assert limits.memory() > 10**15


# --- archives -------------------------------------------------------------------------------------------------------


def test_the_file_of_an_attack_gives_its_worst_images() -> None:
    np.savez("adv.NPZ", benign=VALUES / 2, worst=VALUES, labels=np.arange(2), **{"pgd.images": VALUES / 3})
    Path("adv.NPZ.npz").rename("adv.npz")
    for file, name, meant in (
        ("adv.npz", "adv.npz:worst", VALUES),
        ("adv.npz:benign", "adv.npz:benign", VALUES / 2),
        ("adv.npz:pgd.images", "adv.npz:pgd.images", VALUES / 3),
    ):
        names, images = read_images([Path(file)], SHAPE)
        assert names == [f"{name}[0]", f"{name}[1]"]
        np.testing.assert_allclose(images.numpy(), meant, atol=1e-7)
    assert refusal("adv.npz:nosuch") == "adv.npz holds no array 'nosuch', but benign, worst, labels, pgd.images"
    assert refusal("no.npz:worst") == "no.npz: no such file; give one that is there"


def test_the_only_array_that_can_be_images_is_taken() -> None:
    np.savez("a.npz", x=BYTES[:, 0], y=np.arange(2))
    assert read_images([Path("a.npz")], SHAPE)[0] == ["a.npz:x[0]", "a.npz:x[1]"]
    np.savez("a.npz", images=BYTES[:, 0], y=np.arange(2))
    assert read_images([Path("a.npz")], SHAPE)[0] == ["a.npz[0]", "a.npz[1]"]


def test_of_several_some_are_named() -> None:
    np.savez("a.npz", y=np.arange(2), **{f"x{k}": VALUES for k in range(30)})
    assert refusal("a.npz") == "a.npz holds x0, x1, x2, x3 and 26 more; name one, as a.npz:x0"
    np.savez("a.npz")
    assert "a.npz holds nothing" in refusal("a.npz")
    assert arrays.listed(["a", "b"]) == "a, b"


# --- other files ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.NPY", "a.png", "a", "a.npz"])
def test_the_content_says_what_a_file_is(name: str) -> None:
    np.testing.assert_array_equal(read_images([saved(name, VALUES)], SHAPE)[1].numpy(), VALUES)
    with Path(name).open("wb") as file:
        np.savez(file, VALUES)
    np.testing.assert_array_equal(read_images([Path(name)], SHAPE)[1].numpy(), VALUES)
    with Path(name).open("wb") as file:
        Image.fromarray(BYTES[0, 0]).save(file, "png")
    if not name.endswith("npz"):
        return
    assert "is no array file, or damaged" in refusal(name)


@pytest.mark.parametrize("packed", [True, False])
def test_files_of_mnist_are_read(packed: bool) -> None:
    content = bytes((0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 6, 0, 0, 0, 5)) + BYTES.tobytes()
    Path("images-idx3-ubyte").write_bytes(gzip.compress(content) if packed else content)
    names, images = read_images([Path("images-idx3-ubyte")], SHAPE)
    assert names == ["images-idx3-ubyte[0]", "images-idx3-ubyte[1]"]
    np.testing.assert_allclose(images.numpy(), BYTES / 255, atol=1e-7)


def torch_file(**options: object) -> bytes:
    written = io.BytesIO()
    torch.save(torch.from_numpy(VALUES), written, **options)
    return written.getvalue()


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (torch_file(), "is a PyTorch file; save its tensor of images as an array: numpy.save('images.npy', "),
        (torch_file(_use_new_zipfile_serialization=False), "is a PyTorch file; save its tensor"),
        (pickle.dumps(VALUES), "is a pickle, which is never loaded; save"),
        (b"MATLAB 5.0 MAT-file, Platform: GLNXA64", "is a MATLAB file; save its images as an array"),
        (gzip.compress(b"hello", mtime=0), "is a gzip file; unpack it"),
        (b"hello", "is not an image; give PNG, JPEG or the like"),
        (b"", "is empty"),
    ],
)
def test_other_files_are_called_what_they_are(content: bytes, named: str) -> None:
    Path("a.pt").write_bytes(content)
    assert refusal("a.pt").startswith(f"a.pt: {named}")


def test_safetensors_and_zip_archives_are_called_so() -> None:
    save_file({"images": VALUES}, "a.safetensors")
    assert (
        refusal("a.safetensors") == "a.safetensors: is a safetensors file; save its images as an array with numpy.save"
    )
    with zipfile.ZipFile("a.zip", "w") as archive:
        archive.writestr("a.png", b"")
    assert refusal("a.zip") == "a.zip: is a zip archive; unpack it"


def test_a_folder_stands_for_the_images_in_it() -> None:
    for name in ("set/b.png", "set/a/2.png", "set/a/10.png"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(BYTES[1, 0]).save(name)
    Path("set/.DS_Store").touch()
    names, images = read_images([Path("set")], (1, 5, 5))
    assert names == ["set/a/10.png", "set/a/2.png", "set/b.png"]
    assert images.shape == (3, 1, 5, 5)
    Path("empty").mkdir()
    assert refusal("set/b.png", "empty") == "empty: is a folder without files; give images, or a folder of them"


def test_of_several_pictures_in_a_file_the_first_is_taken_and_said() -> None:
    frames = [Image.fromarray(image) for image in BYTES[:, 0]]
    frames[0].save("stack.tif", save_all=True, append_images=frames[1:])
    assert read_images([Path("stack.tif")], (1, 5, 5))[0] == ["stack.tif[first of 2]"]


def test_names_that_are_no_text_can_be_printed() -> None:
    name = os.fsdecode(b"a\nb\xff.png")
    Image.fromarray(BYTES[0, 0]).save("a.png")
    os.rename("a.png", name)
    assert read_images([Path(name)], (1, 5, 5))[0] == [r"a\nb\udcff.png"]
    Path(name).write_bytes(b"hello")
    refusal(name).encode()


# --- colour, and images that are not square -------------------------------------------------------------------------

OF_COLOUR = (3, 6, 5)
COLOURS = np.random.default_rng(5).random((2, *OF_COLOUR)).astype(np.float32)


@pytest.mark.parametrize(
    ("stored", "meant"),
    [
        (COLOURS, COLOURS),
        (np.moveaxis(COLOURS, 1, 3), COLOURS),
        (COLOURS[0], COLOURS[:1]),
        (np.moveaxis(COLOURS[0], 0, 2), COLOURS[:1]),
        (np.asfortranarray(COLOURS), COLOURS),
    ],
)
def test_coloured_arrays_are_read_with_their_channels_first_or_last(stored: NDArray, meant: NDArray) -> None:
    names, images = read_images([saved("a.npy", stored)], OF_COLOUR)
    assert names == [f"a.npy[{k}]" for k in range(len(meant))]
    np.testing.assert_array_equal(images.numpy(), meant)


def test_grey_arrays_are_no_coloured_ones() -> None:
    with pytest.raises(TwinlatentError, match=r"has shape \(2, 1, 6, 5\); the detector takes \(n, 3, 6, 5\)"):
        read_images([saved("a.npy", COLOURS[:, :1])], OF_COLOUR)


def test_pictures_have_the_channels_and_the_shape_that_are_asked_for() -> None:
    colours = np.random.default_rng(6).integers(0, 256, (6, 5, 3)).astype(np.uint8)
    Image.fromarray(colours).save("a.png")
    Image.fromarray(np.dstack([colours, np.zeros((6, 5), np.uint8)])).save("clear.png")
    np.testing.assert_array_equal(read_images([Path("a.png")], OF_COLOUR)[1][0].movedim(0, -1) * 255, colours)
    assert read_images([Path("a.png")], (1, 6, 5))[1].shape == (1, 1, 6, 5)
    assert read_images([Path("a.png")], (3, 4, 7))[1].shape == (1, 3, 4, 7)
    assert read_images([Path("clear.png")], OF_COLOUR, "#0f0")[1][0, :, 0, 0].tolist() == [0, 1, 0]
    with pytest.raises(TwinlatentError, match=r"a\.png is a picture, .* takes images of 4 channels; give arrays"):
        read_images([Path("a.png")], (4, 6, 5))
