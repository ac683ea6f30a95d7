"""Data sets of one's own photographs, from folders and boxes to what `load` gives."""

import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from twinlatent.data import limits, load, preparation, prepare, reading
from twinlatent.data.fingerprints import TOLERANCE, distances, fingerprints
from twinlatent.data.photos import Piece, take
from twinlatent.data.pictures import Look
from twinlatent.data.prepared import read_prepared
from twinlatent.errors import TwinlatentError


@pytest.fixture
def photos(tmp_path: Path, picture, cache: Path) -> Path:
    """Five different photographs of cats and six of dogs."""
    for k in range(11):
        picture(tmp_path / "photos" / ("cat" if k < 5 else "dog") / f"{k:02}.png", k)
    return tmp_path / "photos"


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def told(photos: Path, **options: object) -> tuple[preparation.PreparedSet, list[str]]:
    lines: list[str] = []
    return prepare("pets", photos, progress=False, say=lines.append, **options), lines


def test_photographs_become_a_set(photos: Path, cache: Path) -> None:
    made, lines = told(photos, size=20)
    assert made == preparation.PreparedSet(cache / "prepared" / "pets.npz", 20, {"cat": 5, "dog": 6})
    assert lines == []
    assert files(cache) == ["prepared/pets.npz"]
    held = read_prepared(made.path)
    assert held.sources == tuple(f"{'cat' if k < 5 else 'dog'}/{k:02}.png" for k in range(11))
    for image, source in zip(held.images, held.sources, strict=True):
        np.testing.assert_array_equal(image, take(Piece(photos / source), 20).image)
    assert held.made_with["squares"] == "largest centred"
    split = load("pets", seed=2)
    assert [part.labels.tolist().count(1) for part in split.parts.values()] == [3, 1, 1, 1]
    assert [len(part) for part in split.parts.values()] == [6, 2, 2, 1]


def test_photographs_keep_their_colours_if_asked_to(photos: Path, cache: Path) -> None:
    tinted = np.random.default_rng(0).integers(0, 256, (9, 9, 3)).astype(np.uint8)
    Image.fromarray(tinted).resize((60, 60), Image.Resampling.BICUBIC).save(photos / "cat" / "tinted.png")
    grey = told(photos, size=20)[0].path
    grey.rename(grey.with_name("grey.npz"))
    made, lines = told(photos, size=20, channels=3, background="black")
    assert (made.channels, lines) == (3, [])
    held = read_prepared(made.path)
    assert held.images.shape == (12, 20, 20, 3)
    assert (held.made_with["channels"], held.made_with["background"]) == (3, "black")
    luma = held.images @ np.array([0.299, 0.587, 0.114])
    np.testing.assert_allclose(luma, read_prepared(grey.with_name("grey.npz")).images, atol=1)
    assert held.images[held.sources.index("cat/tinted.png")].std(-1).max() > 20
    with pytest.raises(TwinlatentError, match="cats-dogs is grey, on white; leave channels and background out"):
        prepare("cats-dogs", photos, channels=3)


def test_the_centre_is_cut_out_of_a_wide_photograph(photos: Path) -> None:
    wide = np.zeros((30, 90), np.uint8)
    wide[:, 30:60] = np.random.default_rng(0).integers(50, 255, (30, 30))
    Image.fromarray(wide).save(photos / "cat" / "wide.png")
    made, _ = told(photos, size=30)
    held = read_prepared(made.path)
    np.testing.assert_array_equal(held.images[held.sources.index("cat/wide.png")], wide[:, 30:60])


def test_what_is_no_photograph_is_skipped_in_a_line_each(photos: Path) -> None:
    (photos / "cat" / "notes.txt").write_text("later")
    frames = [Image.new("L", (9, 9), value) for value in (0, 99)]
    frames[0].save(photos / "dog" / "film.gif", save_all=True, append_images=frames[1:])
    cut = photos / "dog" / "10.png"
    cut.write_bytes(cut.read_bytes()[:200])
    made, lines = told(photos)
    assert lines[0] == f"skipped {photos / 'cat' / 'notes.txt'}: is not an image"
    assert lines[1].startswith(f"skipped {cut}: cannot be read as an image (")
    assert lines[2] == f"skipped {photos / 'dog' / 'film.gif'}: is animated, or holds several pictures"
    assert len(lines) == 3
    assert made.counts == {"cat": 5, "dog": 5}
    assert read_prepared(made.path).made_with["skipped"] == 3


def test_what_shows_the_same_stays_once(photos: Path, picture) -> None:
    first = photos / "cat" / "00.png"
    shutil.copyfile(first, photos / "cat" / "zz copy.png")
    picture(photos / "cat" / "zz saved.jpg", 0, quality=70)
    picture(photos / "cat" / "zz smaller.png", 0, width=60, height=40)
    made, lines = told(photos)
    assert lines == [f"left out {photos / 'cat' / name}: shows the same as {first}"
                     for name in ("zz copy.png", "zz saved.jpg", "zz smaller.png")]  # fmt: skip
    assert made.counts == {"cat": 5, "dog": 6}


def test_what_is_of_two_classes_goes_entirely(photos: Path, picture) -> None:
    other = picture(photos / "dog" / "a cat.jpg", 0)
    first = photos / "cat" / "00.png"
    made, lines = told(photos)
    assert lines == [
        f"left out {first}: shows the same as {other}, of class dog",
        f"left out {other}: shows the same as {first}, of class cat",
    ]
    assert made.counts == {"cat": 4, "dog": 6}


@pytest.mark.parametrize("seed", range(3))
def test_no_two_parts_share_a_picture(photos: Path, picture, seed: int) -> None:
    for k in range(11):
        picture(photos / ("cat" if k < 5 else "dog") / f"again {k}.jpg", k, width=120, height=80, quality=60)
    told(photos)
    split = load("pets", seed=seed)
    prints = [fingerprints(part.images[:, 0].numpy() * 255) for part in (split.train, split.calibration, split.test)]
    for a, b in ((0, 1), (0, 2), (1, 2)):
        assert distances(prints[a], prints[b]).min() > TOLERANCE


def test_real_photographs_with_boxes(raw_sample: Path, cache: Path) -> None:
    made, lines = told(raw_sample, boxes=raw_sample / "boxes.csv")
    assert (made.counts, made.size, lines) == ({"0": 10, "1": 10}, 64, [])
    assert load("pets").image_shape == (1, 64, 64)


def test_two_boxes_in_a_photograph_are_two_images_but_a_copy_of_it_is_none(photos: Path, tmp_path: Path) -> None:
    shutil.copyfile(photos / "dog" / "10.png", photos / "dog" / "copy.png")
    rows = [f"{k:02}.png,{x},0,40" for k in range(11) for x in (0, 45)] + ["copy.png,20,10,40", "gone.png,0,0,9"]
    table = tmp_path / "boxes.csv"
    table.write_text("\n".join(["file,crop_x,crop_y,crop_side", *rows]))
    made, lines = told(photos, boxes=table)
    assert made.counts == {"cat": 10, "dog": 12}
    assert lines == [
        f"skipped gone.png: 0 files below {photos} are called so",
        f"left out {photos / 'dog' / 'copy.png'}, box (20, 10, 40, 40): is a copy of {photos / 'dog' / '10.png'}",
    ]
    assert read_prepared(made.path).made_with["squares"] == "boxes.csv"


def test_boxes_that_nearly_coincide_are_one_image(tmp_path: Path, raw_sample: Path, cache: Path) -> None:
    """The real photographs, each with a second box a little beside the first; fingerprints let some of these pass."""
    first = (raw_sample / "boxes.csv").read_text().splitlines()
    header = first[0].split(",")
    rows = [dict(zip(header, line.split(","), strict=True)) for line in first[1:]]
    moved = [row | {"crop_x": str(int(row["crop_x"]) + max(2, int(row["crop_side"]) // 16))} for row in rows]
    table = tmp_path / "twice.csv"
    table.write_text("\n".join([first[0], *(",".join(row.values()) for row in rows + moved)]))
    made, lines = told(raw_sample, boxes=table)
    assert made.counts == {"0": 10, "1": 10}
    assert len(lines) == 20
    assert sum(": overlaps box (" in line for line in lines) > 5, "the fingerprints alone let these pass"
    _, lines = told(raw_sample, boxes=raw_sample / "boxes.csv", folder=tmp_path / "mine")
    assert lines == []


def test_a_box_listed_twice_is_called_so(photos: Path, tmp_path: Path) -> None:
    table = tmp_path / "boxes.csv"
    rows = [f"{k:02}.png,0,0,40" for k in range(11)]
    table.write_text("\n".join(["file,crop_x,crop_y,crop_side", *rows, rows[2]]))
    made, lines = told(photos, boxes=table)
    assert made.counts == {"cat": 5, "dog": 6}
    assert lines == [f"left out {photos / 'cat' / '02.png'}, box (0, 0, 40, 40): is listed twice"]


def test_classes_come_in_the_order_that_the_folder_itself_has(tmp_path: Path, picture, cache: Path) -> None:
    for k in range(16):
        picture(
            tmp_path / "photos" / ("2", "10", "x", "e\u0301")[k % 4] / f"{k}.png", k
        )  # NFD, as some systems write it
    own = load(f"folder:{tmp_path / 'photos'}", progress=False).class_names
    assert tuple(told(tmp_path / "photos")[0].counts) == own == ("10", "2", "x", "\u00e9")


def test_linked_folders_are_read(tmp_path: Path, picture, cache: Path) -> None:
    for k in range(9):
        picture(tmp_path / ("photos/cat", "photos/dog", "elsewhere/deep")[k % 3] / f"{k}.png", k)
    (tmp_path / "photos/cat/more").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "photos/dog/gone.png").symlink_to("nowhere.png")
    os.mkfifo(tmp_path / "photos/dog/pipe.png")
    (tmp_path / "photos/dog/Thumbs.db").write_bytes(b"x")
    made, said = told(tmp_path / "photos")
    assert made.counts == {"cat": 6, "dog": 3}
    assert [line.rpartition("/")[2] for line in said] == [
        "gone.png: is a link to nowhere.png, which is not there",
        "pipe.png: is a pipe, no regular file",
    ]


@pytest.mark.parametrize("to", [".", "..", "../cat", "../.."])
def test_a_link_that_leads_round_is_named(photos: Path, cache: Path, to: str) -> None:
    (photos / "cat" / "round").symlink_to(to)
    with pytest.raises(TwinlatentError, match=r"cat/round: is a link to .*, which holds it; take the link away"):
        told(photos)


def test_more_than_fits_into_memory_is_refused_before_it_is_read(photos: Path, cache: Path, monkeypatch) -> None:
    monkeypatch.setattr(limits, "memory", lambda: 10**6)
    monkeypatch.setattr(reading, "take", None)
    with pytest.raises(TwinlatentError, match=f"^{photos}: .* images of 262,144 pixels need .* GB of memory"):
        told(photos, size=512)


def test_a_folder_of_ones_own_to_write_to(photos: Path, tmp_path: Path, cache: Path, monkeypatch) -> None:
    made, _ = told(photos, folder=tmp_path / "mine")
    assert made.path == tmp_path / "mine" / "prepared" / "pets.npz"
    assert not cache.exists()
    monkeypatch.setenv("TWINLATENT_DATA", str(tmp_path / "mine"))
    assert len(load("pets").train) == 6
    with pytest.raises(TwinlatentError, match=r"mine/prepared/pets\.npz is there already; delete it, or choose"):
        told(photos)


def test_an_interrupted_preparation_goes_on_to_the_same_bytes(photos: Path, cache: Path, monkeypatch) -> None:
    made, _ = told(photos)
    whole = made.path.read_bytes()
    made.path.unlink()
    read = []

    def interrupted(piece: Piece, size: int, look: Look):
        read.append(piece.path)
        if len(read) == 4:
            signal.raise_signal(signal.SIGINT)
        return take(piece, size, look)

    monkeypatch.setattr(reading, "take", interrupted)
    with pytest.raises(KeyboardInterrupt):
        told(photos)
    assert files(cache) == ["prepared/pets.partial"]
    with pytest.raises(TwinlatentError, match=r"pets\.partial: was begun with other settings"):
        told(photos, size=20)
    assert told(photos)[0] == made
    assert made.path.read_bytes() == whole
    assert len(read) == 11
    assert files(cache) == ["prepared/pets.npz"]


@pytest.mark.parametrize(
    ("name", "options", "complaint"),
    [
        ("digits", {}, "'digits' is a data set of its own; choose another name"),
        ("Cats-Dogs", {}, "'Cats-Dogs' is a data set of its own"),
        ("../pets", {}, "'../pets' cannot name a data set"),
        ("pets", {"size": 3}, "size is 3; give 4 to 1024 pixels"),
        ("pets", {"size": 5000}, "size is 5000"),
        ("pets", {"boxes": "no.csv"}, r"no\.csv: no such file"),
        ("cats-dogs", {"size": 32}, "size is 32, but cats-dogs is 64x64; leave size out"),
        ("cats-dogs", {"boxes": "a.csv"}, r"boxes are a\.csv, but cats-dogs has squares of its own"),
        ("cats-dogs", {}, "2,028 of 2,028 photographs cannot be used"),
    ],
)
def test_bad_requests_leave_nothing_behind(photos: Path, cache: Path, name: str, options: dict, complaint: str) -> None:
    with pytest.raises(TwinlatentError, match=complaint) as error:
        prepare(name, photos, progress=False, **options)
    assert "\n" not in str(error.value)
    assert files(cache) == []


@pytest.mark.parametrize("name", ["pets", "cats-dogs"])
def test_a_place_that_cannot_be_written_is_named_first(photos: Path, tmp_path: Path, monkeypatch, name: str) -> None:
    monkeypatch.setattr(reading, "take", None)
    (tmp_path / "file").touch()
    place = tmp_path / "file" / ("prepared" if name == "pets" else "cat-dog-faces")
    with pytest.raises(TwinlatentError) as error:
        prepare(name, photos, folder=tmp_path / "file", progress=False)
    assert str(error.value) == (
        f"{place}: cannot be written (Not a directory); mend that, or name another folder with --out"
    )


def test_what_was_read_is_kept_where_the_set_is_refused(photos: Path, cache: Path, tmp_path: Path, monkeypatch) -> None:
    for k in (2, 3, 4):
        (photos / "cat" / f"{k:02}.png").rename(tmp_path / f"{k:02}.png")
    with pytest.raises(TwinlatentError, match="class 'cat' is left with 2 images"):
        told(photos)
    assert files(cache) == ["prepared/pets.partial"]
    for k in (2, 3, 4):
        (tmp_path / f"{k:02}.png").rename(photos / "cat" / f"{k:02}.png")
    read = []
    monkeypatch.setattr(
        reading, "take", lambda piece, size, look: read.append(piece.path.name) or take(piece, size, look)
    )
    assert told(photos)[0].counts == {"cat": 5, "dog": 6}
    assert read == ["02.png", "03.png", "04.png"]
    assert files(cache) == ["prepared/pets.npz"]


def test_too_few_are_refused(photos: Path, cache: Path) -> None:
    def refused(complaint: str) -> None:
        with pytest.raises(TwinlatentError, match=f"^{photos}: {complaint}"):
            told(photos)
        assert not (cache / "prepared" / "pets.npz").exists()

    for k in (0, 1):
        (photos / "cat" / f"{k:02}.png").unlink()
    (photos / "cat" / "02.png").write_text("no picture")
    refused("class 'cat' is left with 2 images; give at least 3 that can be read and differ")
    for path in photos.rglob("*.png"):
        path.write_text("no picture")
    refused("none of 9 photographs can be used")


def test_one_class_alone_is_refused(photos: Path, tmp_path: Path) -> None:
    table = tmp_path / "boxes.csv"
    table.write_text("file,crop_x,crop_y,crop_side,label\n" + "".join(f"{k:02}.png,0,0,40,pet\n" for k in range(11)))
    with pytest.raises(TwinlatentError, match="all photographs are of class 'pet'; give two or more classes"):
        told(photos, boxes=table)


def test_all_faces_are_made_where_all_photographs_are(tmp_path: Path, cache: Path, picture, monkeypatch) -> None:
    """`prepare` with the list cut down to twenty photographs of nothing."""
    from twinlatent.data.faces import Face, shades

    faces = []
    for k in range(20):
        path = picture(tmp_path / "photos" / f"{k}.jpg", k)
        image = take(Piece(path, (0, 0, 50, 50)), 64).image
        shade = tuple(shades(image[None])[0].tolist())
        faces.append(Face(path.name, k // 10, (90, 60), (0, 0, 50, 50), int(fingerprints(image[None])[0]), shade))
    monkeypatch.setattr(preparation, "listed_faces", lambda: tuple(faces))
    made = prepare("cats-dogs", tmp_path / "photos", progress=False)
    path = cache / "cat-dog-faces" / "faces64.npz"
    assert made == preparation.PreparedSet(path, 64, {"cat": 10, "dog": 10})
    path.write_text("mine")
    with pytest.raises(
        TwinlatentError, match=f"{path} is there already; delete it, or choose another folder to write to"
    ):
        prepare("cats-dogs", tmp_path / "photos", progress=False)
    assert path.read_text() == "mine"
    made = prepare("cats-dogs", tmp_path / "photos", folder=tmp_path / "mine", progress=False)
    assert made.path == tmp_path / "mine" / "cat-dog-faces" / "faces64.npz"
