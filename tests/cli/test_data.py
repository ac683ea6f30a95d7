"""`twinlatent data`: data sets are listed, fetched and shown."""

from collections.abc import Callable
from pathlib import Path

from PIL import Image

import twinlatent as tl


def test_data_sets_are_listed_with_what_they_are(ok: Callable) -> None:
    listed = ok("data", "list").text
    for name in (*tl.data.names(), "folder:PATH"):
        assert f" {name} " in listed
    assert "comes with scikit-learn" in listed
    assert "to be fetched" in listed


def test_a_data_set_is_shown(ok: Callable) -> None:
    done = ok("data", "show", "digits", "--out", "sub/sheet.png", "--no-progress")
    assert done.text == "sub/sheet.png: 1078 train, 360 calibration, 359 test images of shape (1, 8, 8), 10 classes"
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
    assert "sheet [red].png: 1078 train" in ok("data", "show", "digits", "--out", "sheet [red].png").text
