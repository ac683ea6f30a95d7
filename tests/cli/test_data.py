"""`twinlatent data`: data sets are listed, fetched, made of photographs, and shown."""

import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import twinlatent as tl
from twinlatent.data import reading


def test_data_sets_are_listed_with_what_they_are(ok: Callable) -> None:
    listed = ok("data", "list").text
    for name in (*tl.data.names(), "folder:PATH"):
        assert f" {name} " in listed
    assert "comes with scikit-learn" in listed
    assert "to be fetched" in listed


def test_a_data_set_is_shown(ok: Callable) -> None:
    done = ok("data", "show", "digits", "--out", "sub/sheet.png", "--no-progress")
    assert (
        done.text
        == "sub/sheet.png: 980 train, 360 calibration, 359 test, 98 selection images of shape (1, 8, 8), 10 classes"
    )
    with Image.open("sub/sheet.png") as sheet:
        assert sheet.format == "PNG"
        assert min(sheet.size) > 100


def test_there_is_nothing_to_fetch_for_digits(ok: Callable) -> None:
    assert ok("data", "fetch", "digits").out == ""


def test_fetching_says_where_the_files_are(ok: Callable, monkeypatch) -> None:
    asked = []

    def fetch(name: str, *, progress: bool) -> list[Path]:
        asked.append((name, progress))
        return [Path("here/a.gz"), Path("here/b.gz")]

    monkeypatch.setattr(tl.data, "fetch", fetch)
    assert ok("data", "fetch", "mnist", "--no-progress").out == "here/a.gz\nhere/b.gz\n"
    assert asked == [("mnist", False)]


def test_a_long_path_stays_in_one_piece(ok: Callable, monkeypatch) -> None:
    path = Path("/".join(["a-folder-with-a-long-name"] * 9))
    monkeypatch.setattr(tl.data, "fetch", lambda name, *, progress: [path])
    assert ok("data", "fetch", "mnist").out == f"{path}\n"


def test_a_path_with_brackets_is_shown_as_it_is(ok: Callable) -> None:
    assert "sheet [red].png: 980 train" in ok("data", "show", "digits", "--out", "sheet [red].png").text


# --- photographs ----------------------------------------------------------------------------------------------------


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Thirty smooth random pictures each of cats, which are dark below, and of dogs, which are dark above."""
    generator = np.random.default_rng(0)
    slope = np.linspace(0, 160, 9)[:, None]
    for name, shade in (("cat", -slope), ("dog", slope - 160)):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for k in range(30):
            coarse = (generator.integers(160, 256, (9, 9)) + shade).astype(np.uint8)
            picture = Image.fromarray(coarse).resize((60, 40), Image.Resampling.BICUBIC)
            picture.save(tmp_path / "photos" / name / f"{k:02}.png")
    return tmp_path / "photos"


def test_photographs_become_a_set_like_any_other(photos: Path, ok: Callable, tmp_path: Path) -> None:
    file = tmp_path / "cache" / "twinlatent" / "prepared" / "pets.npz"
    done = ok("data", "prepare", "pets", "--photos", photos, "--size", 12, "--no-progress")
    assert done.out == f"{file}: 60 images of shape (1, 12, 12): 30 cat, 30 dog\n"
    listed = "".join(ok("data", "list").out.split())
    assert "pets│photographsofyours,60images,12x12,2classes│" in listed
    assert (
        "33 train, 12 calibration, 12 test, 3 selection images of shape (1, 12, 12), 2 classes"
        in ok("data", "show", "pets").text
    )
    run = tmp_path / "run"
    assert "3 selection images" in ok("train", "pets", "--preset", "smoke", "--out", run, "--no-progress").text
    assert tl.load(run).card["data"]["name"] == "pets"
    assert "success" in ok("attack", run, "--suite", "quick", "--steps", 1, "--images", 2, "--fpr", 0.1,
                           "--save", "a.npz", "--no-progress").text  # fmt: skip


def test_a_folder_in_colour_is_trained_on_and_judged(
    photos: Path, ok: Callable, program: Callable, tmp_path: Path
) -> None:
    for number, path in enumerate(sorted(photos.rglob("*.png"))):
        grey = np.asarray(Image.open(path))
        Image.fromarray(np.stack([grey, 255 - grey, grey, np.full_like(grey, 250)], -1)).save(path)
        assert number < 60
    look = ("--size", 8, "--channels", 3, "--background", "black")
    shown = ok("data", "show", f"folder:{photos}", *look, "--no-progress").text
    assert "images of shape (3, 8, 8), 2 classes" in shown
    run, few = tmp_path / "run", ("--threads", 1, "--no-progress")
    ok("train", f"folder:{photos}", *look, "--preset", "smoke", "--set", "rounds=20", "--out", run, *few)
    assert tl.load(run).image_shape == (3, 8, 8)
    assert "benign" in ok("detect", run, photos / "cat", "--background", "black", "--fpr", 0.1).text
    attack = ("attack", run, f"folder:{photos}", "--suite", "quick", "--steps", 1, "--images", 2, "--fpr", 0.1)
    assert "success" in ok(*attack, "--background", "black", "--save", "a.npz", *few).text
    with np.load("a.npz") as arrays:
        assert arrays["worst"].shape == (2, 3, 8, 8)
    assert "benign" in ok("detect", run, "a.npz", "--fpr", 0.1).text
    refusal = program("detect", run, photos / "cat", "--fpr", 0.1, "--background", "blakc").refusal
    assert "background 'blakc' is no colour" in refusal
    assert "channels is 3, but digits has 1" in program("train", "digits", "--channels", 3, "--out", "x").refusal


def test_what_is_skipped_is_told_aside(photos: Path, program: Callable) -> None:
    (photos / "cat" / "notes.txt").write_text("later")
    Image.open(photos / "dog" / "00.png").save(photos / "dog" / "zz.bmp")
    done = program("data", "prepare", "pets", "--photos", photos, "--no-progress", "--out", "mine")
    assert done.status == 0
    assert done.out == "mine/prepared/pets.npz: 60 images of shape (1, 64, 64): 30 cat, 30 dog\n"
    assert done.err.splitlines() == [
        f"skipped {photos / 'cat' / 'notes.txt'}: is not an image",
        f"left out {photos / 'dog' / 'zz.bmp'}: shows the same as {photos / 'dog' / '00.png'}",
    ]


def test_a_file_in_the_place_of_a_folder_ends_in_one_line(photos: Path, program: Callable) -> None:
    file = photos / "cat" / "00.png"
    refusal = program("data", "prepare", "pets", "--photos", photos, "--out", file, "--no-progress").refusal
    assert f"{file}/prepared: cannot be written (Not a directory); mend that, or name another folder with" in refusal
    refusal = program("data", "prepare", "pets", "--photos", file, "--no-progress").refusal
    assert f"{file}: is a file, not a folder" in refusal


def test_ctrl_c_keeps_what_was_read(photos: Path, program: Callable, ok: Callable, monkeypatch) -> None:
    real, read = reading.take, []

    def take(piece, size: int, look):
        read.append(piece.path)
        if len(read) == 20:
            signal.raise_signal(signal.SIGINT)
        return real(piece, size, look)

    monkeypatch.setattr(reading, "take", take)
    words = ("data", "prepare", "pets", "--photos", photos, "--no-progress")
    done = program(*words)
    assert (done.status, done.out, done.err) == (130, "", "twinlatent: stopped; the same command resumes\n")
    ok(*words)
    assert len(read) == 60
