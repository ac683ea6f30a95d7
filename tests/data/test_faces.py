"""The faces of cats and dogs: the list that ships, the published file, and faces cut out of photographs anew."""

import dataclasses
import io
import re
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from twinlatent.data import describe, load, reading, where
from twinlatent.data.downloads import DATA_VARIABLE
from twinlatent.data.faces import SHADE_TOLERANCE, Face, holds_the_faces, listed_faces, misfits, rebuild_faces, shades
from twinlatent.data.fingerprints import TOLERANCE, distances, fingerprints
from twinlatent.data.photos import Piece, take
from twinlatent.data.pictures import Look
from twinlatent.errors import TwinlatentError


@pytest.fixture(scope="module")
def published(faces_path: Path) -> dict[str, np.ndarray]:
    with np.load(faces_path) as arrays:
        return dict(arrays)


@pytest.fixture(scope="module")
def sampled(raw_sample: Path) -> list[Face]:
    """The rows of the list whose photographs are in the sample."""
    there = {path.name for path in raw_sample.glob("*.jpg")}
    return [face for face in listed_faces() if face.file in there]


@pytest.fixture
def photos(tmp_path: Path, raw_sample: Path) -> Path:
    """The photographs of the sample, cats and dogs in folders of their own."""
    for path in raw_sample.glob("*.jpg"):
        folder = tmp_path / "photos" / "train" / path.name.split(".")[0]
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, folder / path.name)
    return tmp_path / "photos"


def as_bytes(**arrays: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


# --- the list -------------------------------------------------------------------------------------------------------


def test_the_list_is_balanced_and_its_squares_lie_in_the_photographs() -> None:
    faces = listed_faces()
    assert [sum(face.label == label for face in faces) for label in (0, 1)] == [1014, 1014]
    assert len({face.file for face in faces}) == 2028
    for face in faces:
        assert face.file.startswith(("cat.", "dog.")[face.label])
        (left, top, side, down), (width, height) = face.box, face.photo_size
        assert side == down >= 50
        assert 0 <= left <= width - side
        assert 0 <= top <= height - side


def test_no_two_faces_can_be_taken_for_each_other() -> None:
    listed = np.array([face.fingerprint for face in listed_faces()], np.uint64)
    apart = distances(listed, listed)[np.triu_indices(2028, 1)]
    assert apart.min() == 9 > 2 * TOLERANCE


def test_fingerprints_and_shades_are_those_of_the_published_faces(published) -> None:
    assert fingerprints(published["images"]).tolist() == [face.fingerprint for face in listed_faces()]
    listed = np.array([face.shade for face in listed_faces()])
    np.testing.assert_allclose(shades(published["images"]), listed, rtol=0, atol=0.0501)
    assert published["labels"].tolist() == [face.label for face in listed_faces()]


# --- the set --------------------------------------------------------------------------------------------------------


def test_the_faces_are_divided_once_and_for_all(published) -> None:
    split = load("cats-dogs", fetch=False)
    parts = split.parts.values()
    assert [part.labels.bincount().tolist() for part in parts] == [[603, 604], [150, 150], [200, 200], [61, 60]]
    assert (split.class_names, split.image_shape, split.train.images.dtype) == (
        ("cat", "dog"),
        (1, 64, 64),
        torch.float32,
    )
    pixels = torch.cat([part.images for part in parts]).mul(255).round().byte().numpy()
    assert sorted(image.tobytes() for image in pixels) == sorted(image.tobytes() for image in published["images"])
    assert split.fingerprint == load("cats-dogs", seed=5).fingerprint
    assert (
        load("cats-dogs", selection=False).fingerprint
        == "2aa84add5610b1a1f45501974a7588520408df5a8b7dfccbf773dc42a32f5947"
    )


def test_without_the_file_the_command_is_named(cache: Path) -> None:
    command = "twinlatent data prepare cats-dogs --photos DIR"
    with pytest.raises(TwinlatentError, match=rf"faces64\.npz is not in {cache}.*; run `{command}` or put it into"):
        load("cats-dogs")
    assert where("cats-dogs") == f"to be made: {command}"
    assert "research use only" in describe("cats-dogs")


def test_faces_of_another_decoder_are_accepted_and_others_are_not(
    published, cache: Path, tmp_path, monkeypatch
) -> None:
    images, labels = published["images"], published["labels"]
    noise = np.random.default_rng(0).integers(-1, 2, images.shape)
    noisy = (images + noise).clip(0, 255).astype(np.uint8)
    swapped = noisy.copy()
    swapped[[3, 4]] = swapped[[4, 3]]
    less_contrast = np.rint(images * 0.95 + images.mean((1, 2), keepdims=True) * 0.05)
    assert holds_the_faces(as_bytes(images=noisy, labels=labels))
    for wrong in (
        as_bytes(images=swapped, labels=labels),
        as_bytes(images=noisy, labels=1 - labels),
        as_bytes(images=noisy[:-1], labels=labels[:-1]),
        as_bytes(images=noisy / 255, labels=labels),
        as_bytes(images=images // 2, labels=labels),
        as_bytes(images=np.rint(images * 0.99).astype(np.uint8), labels=labels),
        as_bytes(images=less_contrast.astype(np.uint8), labels=labels),
        as_bytes(images=noisy),
        as_bytes(images=noisy, labels=labels)[:-100],
        b"hello",
        b"",
    ):
        assert not holds_the_faces(wrong)
    path = tmp_path / "mine" / "cat-dog-faces" / "faces64.npz"
    path.parent.mkdir(parents=True)
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path / "mine"))
    path.write_bytes(as_bytes(images=noisy, labels=labels))
    assert len(load("cats-dogs").train) == 1207
    path.write_bytes(as_bytes(images=swapped, labels=labels))
    with pytest.raises(TwinlatentError, match=r"faces64\.npz: is damaged"):
        load("cats-dogs")


# --- cut out anew ---------------------------------------------------------------------------------------------------


def test_faces_cut_out_anew_are_the_published_ones(photos: Path, sampled, published, tmp_path: Path) -> None:
    """The numbers of the docstring of `take`: with libjpeg-turbo all pixels are equal; other decoders stay close."""
    path = rebuild_faces(photos, tmp_path / "out" / "faces64.npz", sampled, progress=False)
    with np.load(path) as made:
        numbers = [listed_faces().index(face) for face in sampled]
        real = published["images"][numbers]
        assert made["labels"].tolist() == published["labels"][numbers].tolist()
        assert made["images"].dtype == published["images"].dtype
        differences = np.abs(made["images"].astype(int) - real)
    assert differences.max() <= 4
    assert differences.mean() < 0.05
    assert misfits(real, sampled).tolist() == [0] * 20
    assert [file.name for file in path.parent.iterdir()] == ["faces64.npz"]


def test_another_jpeg_of_the_photograph_will_do(photos: Path, sampled, tmp_path: Path) -> None:
    for path in photos.rglob("*.jpg"):
        with Image.open(path) as image:
            image.save(path, quality=50)
    assert rebuild_faces(photos, tmp_path / "faces64.npz", sampled, progress=False).is_file()


def refusal(photos: Path, sampled, path: Path) -> tuple[str, list[str]]:
    """The message, and the lines that were told; no set may be left behind."""
    lines: list[str] = []
    with pytest.raises(TwinlatentError) as error:
        rebuild_faces(photos, path, sampled, progress=False, say=lines.append)
    assert not path.exists()
    assert "\n" not in str(error.value)
    return str(error.value), lines


@pytest.fixture
def made(tmp_path: Path, picture) -> tuple[Path, list[Face]]:
    """Photographs of nothing, ten by name cats and ten dogs, and a list of faces in them."""
    faces = []
    for label, species in enumerate(("cat", "dog")):
        for k in range(10):
            path = picture(tmp_path / "photos" / species / f"{species}.{k}.jpg", 10 * label + k, quality=95)
            box = (k, 5, 50, 50)
            image = take(Piece(path, box), 64).image
            shade = tuple(shades(image[None])[0].round(1).tolist())
            faces.append(Face(path.name, label, (90, 60), box, int(fingerprints(image[None])[0]), shade))
    return tmp_path / "photos", faces


def test_missing_photographs_are_named_and_nothing_is_written(made, tmp_path: Path) -> None:
    photos, faces = made
    path = tmp_path / "out" / "faces64.npz"
    (photos / "cat" / "cat.2.jpg").unlink()
    assert refusal(photos, faces, path) == (
        f"{photos}: 1 of 20 photographs cannot be used (cat.2.jpg is missing); put those of Kaggle's dogs-vs-cats "
        "training set there",
        [],
    )
    shutil.rmtree(photos / "dog")
    message, lines = refusal(photos, faces, path)
    assert "11 of 20 photographs cannot be used (cat.2.jpg is missing, dog.0.jpg is missing, " in message
    assert " and 6 more)" in message
    assert len(lines) == 11
    assert lines[0] == "cat.2.jpg: is missing"
    shutil.rmtree(photos / "cat")
    message, lines = refusal(photos, faces, path)
    assert "20 of 20" in message
    assert lines == []
    shutil.rmtree(photos)
    assert "no such folder" in refusal(photos, faces, path)[0]


def test_photographs_that_show_something_else_are_named(made, picture, tmp_path: Path) -> None:
    photos, faces = made
    picture(photos / "cat" / "cat.2.jpg", 99)
    picture(photos / "cat" / "cat.5.jpg", 5, width=91)
    cut = photos / "cat" / "cat.9.jpg"
    cut.write_bytes(cut.read_bytes()[:700])
    message, _ = refusal(photos, faces, tmp_path / "out" / "faces64.npz")
    assert "3 of 20" in message
    assert re.search(r"cat\.2\.jpg shows something else \(\d\d of 64 bits differ\), ", message)
    assert "cat.5.jpg is 91x60 pixels, not 90x60, " in message
    assert "cat.9.jpg cannot be read as an image (image file is truncated" in message


def test_of_several_files_of_a_name_the_right_one_is_taken(made, picture, tmp_path: Path) -> None:
    photos, faces = made
    picture(photos / "another" / "cat.2.jpg", 99)
    with np.load(rebuild_faces(photos, tmp_path / "faces64.npz", faces, progress=False)) as arrays:
        assert arrays["images"].shape == (20, 64, 64)
        assert arrays["labels"].tolist() == [0] * 10 + [1] * 10
        assert misfits(arrays["images"], faces).tolist() == [0] * 20


@pytest.mark.parametrize(("flipped", "bits"), [(0b1111, 4), (0b11111, 5)])
def test_the_tolerance_is_kept_to_the_bit(made, tmp_path: Path, flipped: int, bits: int) -> None:
    photos, (first, *_) = made
    moved = [dataclasses.replace(first, fingerprint=first.fingerprint ^ flipped)]
    path = tmp_path / "out" / "faces64.npz"
    if bits <= TOLERANCE:
        assert rebuild_faces(photos, path, moved, progress=False) == path
    else:
        assert f"shows something else ({bits} of 64 bits differ)" in refusal(photos, moved, path)[0]


@pytest.mark.parametrize("which", ["mean", "deviation"])
@pytest.mark.parametrize("share", [0.9, 1.1])
def test_the_shade_is_kept_to_the_tolerance(made, tmp_path: Path, which: str, share: float) -> None:
    photos, (first, *_) = made
    mean, deviation = shades(take(Piece(photos / "cat" / first.file, first.box), 64).image[None])[0].tolist()
    off = share * SHADE_TOLERANCE
    shade = (mean + off, deviation) if which == "mean" else (mean, deviation - off)
    path, moved = tmp_path / "out" / "faces64.npz", [dataclasses.replace(first, shade=shade)]
    if share < 1:
        assert rebuild_faces(photos, path, moved, progress=False) == path
    else:
        complaint = f"cat.0.jpg has other grey values (mean {mean:.1f}, deviation {deviation:.1f}; not "
        assert complaint in refusal(photos, moved, path)[0]


def test_what_was_read_is_kept_where_a_photograph_is_wrong(made, picture, tmp_path: Path, monkeypatch) -> None:
    photos, faces = made
    path, right = tmp_path / "out" / "faces64.npz", (photos / "cat" / "cat.2.jpg").read_bytes()
    picture(photos / "cat" / "cat.2.jpg", 99)
    refusal(photos, faces, path)
    (photos / "cat" / "cat.2.jpg").write_bytes(right)
    read = []
    monkeypatch.setattr(
        reading, "take", lambda piece, size, look: read.append(piece.path.name) or take(piece, size, look)
    )
    rebuild_faces(photos, path, faces, progress=False)
    assert read == ["cat.2.jpg"]
    assert [file.name for file in path.parent.iterdir()] == ["faces64.npz"]


def test_an_interrupted_rebuilding_goes_on(made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photos, faces = made
    read = []

    def interrupted(piece: Piece, size: int, look: Look):
        read.append(piece.path.name)
        if len(read) == 7:
            signal.raise_signal(signal.SIGINT)
        return take(piece, size, look)

    monkeypatch.setattr(reading, "take", interrupted)
    path = tmp_path / "out" / "faces64.npz"
    with pytest.raises(KeyboardInterrupt):
        rebuild_faces(photos, path, faces, progress=False)
    assert not path.exists()
    rebuild_faces(photos, path, faces, progress=False)
    assert read == [face.file for face in faces]
    assert [file.name for file in path.parent.iterdir()] == ["faces64.npz"]
