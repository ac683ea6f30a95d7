"""What goes between machines arrives as it was, and nothing goes twice."""

from pathlib import Path

import pytest
import torch

from twinlatent.claims import claimed
from twinlatent.data import Split
from twinlatent.digest import digest
from twinlatent.files import replacing, write_text
from twinlatent.method.detector import Detector
from twinlatent.running.carried import LARGE, Changes, File, Packed, files_of


def test_a_file_goes_to_the_same_place_elsewhere(tmp_path: Path) -> None:
    here, there = {"a": tmp_path / "a"}, {"a": tmp_path / "b"}
    write_text(here["a"] / "x" / "1.txt", "one")
    file = File.read("a", here["a"] / "x" / "1.txt", here)
    file.write(there)
    assert (there["a"] / "x" / "1.txt").read_text() == "one"
    assert file.path(there) == tmp_path / "b" / "x" / "1.txt"


def test_locks_temporary_files_and_folders_are_nobodys(tmp_path: Path) -> None:
    write_text(tmp_path / "x" / "1.txt", "one")
    with claimed(tmp_path / "x"), replacing(tmp_path / "x" / "2.txt"):
        assert len(list((tmp_path / "x").iterdir())) == 3
        found = list(files_of({"a": ("**/*", "x/*")}, {"a": tmp_path}))
    assert found == [("a", tmp_path / "x" / "1.txt")]


def test_only_what_has_changed_is_taken_and_what_is_told_comes_last(tmp_path: Path) -> None:
    places = {"a": tmp_path}
    write_text(tmp_path / "old.txt", "old")
    changes = Changes({"a": ("*.txt",)}, places)
    assert changes.take() == []
    for name in ("b", "a", "z"):
        write_text(tmp_path / f"{name}.txt", name)
    write_text(tmp_path / "other.json", "{}")
    assert [file.name for file in changes.take(tmp_path / "b.txt")] == ["a.txt", "z.txt", "b.txt"]
    write_text(tmp_path / "old.txt", "new")
    assert [(file.name, file.content) for file in changes.take()] == [("old.txt", b"new")]
    assert changes.take() == []


def test_objects_arrive_and_their_large_tensors_go_beside_once(trained_detector: Detector, digits: Split) -> None:
    packed = Packed.of((trained_detector, digits, digits.train.images))
    beside = [array.nbytes for array in packed.arrays]
    assert min(beside) >= LARGE
    assert beside.count(digits.train.images.nbytes) == 1
    detector, split, images = packed.unpacked()
    assert images is split.train.images, "one tensor stays one"
    assert digest(split) == digest(digits)
    assert split.fingerprint == digits.fingerprint
    assert detector.fingerprint == trained_detector.fingerprint
    some = digits.test.images[:9]
    assert torch.equal(detector(some).suspicion, trained_detector(some).suspicion)


@pytest.mark.parametrize(
    "odd",
    [
        torch.zeros(LARGE),
        torch.zeros(LARGE, requires_grad=True),
        torch.nn.Parameter(torch.ones(LARGE)),
        torch.zeros(LARGE, dtype=torch.bfloat16),
        torch.arange(LARGE).reshape(10, -1).T,
        torch.zeros(3),
    ],
    ids=lambda tensor: f"{tensor.dtype}-{tensor.requires_grad}",
)
def test_tensors_of_any_kind_stay_what_they_are(odd: torch.Tensor) -> None:
    found = Packed.of({"odd": odd}).unpacked()["odd"]
    assert (type(found), found.dtype, found.requires_grad) == (type(odd), odd.dtype, odd.requires_grad)
    assert torch.equal(found, odd)


def test_the_memory_of_a_store_is_shared_though_it_cannot_be_written_to() -> None:
    packed = Packed.of(torch.ones(LARGE))
    packed.arrays[0].flags.writeable = False
    assert packed.unpacked().numpy().ctypes.data == packed.arrays[0].ctypes.data
