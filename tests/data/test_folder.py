import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from twinlatent.data import limits
from twinlatent.data.folder import read_folder
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
        ({}, ": 0 class folders, and at least two are needed; put the images of each class into a folder there"),
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


def test_what_systems_leave_is_no_image(tmp_path) -> None:
    classes(tmp_path, a=3, b=3)
    (tmp_path / "__MACOSX").mkdir()
    (tmp_path / "b" / "Thumbs.db").write_bytes(b"x")
    (tmp_path / "b" / "desktop.ini").write_bytes(b"x")
    assert read_folder(tmp_path, size=SIZE, progress=False)[1] == ("a", "b")


def test_linked_classes_and_images_are_read(tmp_path) -> None:
    root = classes(tmp_path / "root", b=3)
    (root / "a").symlink_to(classes(tmp_path / "elsewhere", other=3) / "other")
    (root / "b" / "9.png").symlink_to(root / "a" / "2.png")
    data, names = read_folder(root, size=SIZE, progress=False)
    assert names == ("a", "b")
    assert data.images[:, 0, 0, 0].mul(255).round().tolist() == [0, 1, 2, 0, 1, 2, 2]


def test_a_broken_link_to_a_class_is_named(tmp_path) -> None:
    (classes(tmp_path, a=3, b=3) / "c").symlink_to("nowhere")
    with pytest.raises(TwinlatentError, match="c: is a link to nowhere, which is not there"):
        read_folder(tmp_path, size=SIZE, progress=False)


def test_a_pipe_is_not_waited_for(tmp_path) -> None:
    os.mkfifo(classes(tmp_path, a=3, b=3) / "b" / "x.png")
    with pytest.raises(TwinlatentError, match=r"x\.png: is a pipe, no regular file"):
        read_folder(tmp_path, size=SIZE, progress=False)


def test_names_that_look_the_same_are_named(tmp_path) -> None:
    for name in ("\u00e9", "e\u0301"):
        classes(tmp_path, **{name: 3})
    with pytest.raises(TwinlatentError, match="two class folders are called '\u00e9'; join or rename them"):
        read_folder(tmp_path, size=SIZE, progress=False)


def test_more_than_fits_into_memory_is_refused(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "memory", lambda: 7000)
    read_folder(classes(tmp_path, a=3, b=3), size=9, progress=False)
    with pytest.raises(
        TwinlatentError, match=f"^{tmp_path}: 6 images of 121 pixels need 0 GB of memory, and there are 0"
    ):
        read_folder(tmp_path, size=11, progress=False)
