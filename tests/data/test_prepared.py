import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from twinlatent.data import describe, fetch, load, names, where
from twinlatent.data.downloads import DATA_VARIABLE
from twinlatent.data.prepared import Prepared, read_prepared, write_prepared
from twinlatent.data.prepared_files import find, path_of
from twinlatent.errors import TwinlatentError

COUNTS = {"cat": 10, "dog": 15}


@pytest.fixture
def pets() -> Prepared:
    images = np.random.default_rng(0).integers(0, 256, (25, 12, 12)).astype(np.uint8)
    labels = np.repeat(np.arange(2), list(COUNTS.values()))
    sources = tuple(f"{'cat' if k < 10 else 'dog'}/{k}.jpg" for k in range(25))
    return Prepared(images, labels, tuple(COUNTS), sources, {"size": 12, "counts": COUNTS})


def test_what_is_written_is_read(tmp_path: Path, pets: Prepared) -> None:
    write_prepared(tmp_path / "pets.npz", pets)
    read = read_prepared(tmp_path / "pets.npz")
    for field in dataclasses.fields(Prepared):
        first, second = getattr(pets, field.name), getattr(read, field.name)
        assert np.array_equal(first, second) if isinstance(first, np.ndarray) else first == second


def test_a_prepared_set_is_one_like_any_other(cache: Path, pets: Prepared) -> None:
    path = path_of("pets")
    assert path == cache / "prepared" / "pets.npz"
    write_prepared(path, pets)
    split = load("pets", seed=3)
    assert (split.name, split.class_names, split.image_shape) == ("pets", ("cat", "dog"), (1, 12, 12))
    parts = split.parts.values()
    assert [part.labels.bincount().tolist() for part in parts] == [[6, 8], [2, 3], [2, 3], [0, 1]]
    everything = torch.cat([part.images for part in parts]).mul(255).round().byte()
    assert sorted(image.numpy().tobytes() for image in everything) == sorted(image.tobytes() for image in pets.images)
    assert split.fingerprint == load("pets", seed=3, size=12).fingerprint != load("pets").fingerprint
    assert names()[-1] == "pets"
    assert describe("pets") == "photographs of yours, 25 images, 12x12, 2 classes"
    assert where("pets") == str(path)
    assert fetch("pets") == []
    with pytest.raises(TwinlatentError, match="size is 28, but pets is 12x12; leave size out"):
        load("pets", size=28)
    with pytest.raises(TwinlatentError, match="no data set is called 'pet'; did you mean pets"):
        load("pet")


def test_a_prepared_set_keeps_its_colours(cache: Path, pets: Prepared) -> None:
    images = np.random.default_rng(1).integers(0, 256, (25, 12, 12, 3)).astype(np.uint8)
    made_with = {**pets.made_with, "channels": 3}
    write_prepared(path_of("pets"), dataclasses.replace(pets, images=images, made_with=made_with))
    split = load("pets", channels=3)
    assert split.image_shape == (3, 12, 12)
    everything = torch.cat([part.images for part in split.parts.values()]).movedim(1, -1).mul(255).round().byte()
    assert sorted(image.numpy().tobytes() for image in everything) == sorted(image.tobytes() for image in images)
    assert describe("pets") == "photographs of yours, 25 images, 12x12 in colour, 2 classes"
    with pytest.raises(TwinlatentError, match="channels is 1, but pets has 3; leave channels out"):
        load("pets", channels=1)


def test_the_data_folder_comes_before_the_cache(cache: Path, pets: Prepared, tmp_path: Path, monkeypatch) -> None:
    write_prepared(path_of("pets"), pets)
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path / "mine"))
    assert find("pets") == cache / "prepared" / "pets.npz"
    write_prepared(path_of("pets", tmp_path / "mine"), pets)
    assert find("pets") == tmp_path / "mine" / "prepared" / "pets.npz"
    assert names().count("pets") == 1
    assert where("pets") == f"{find('pets')}, which hides {cache / 'prepared' / 'pets.npz'}"


def test_a_file_that_would_hide_a_built_in_set_is_not_seen(cache: Path, pets: Prepared) -> None:
    write_prepared(path_of("digits"), pets)
    assert load("digits").image_shape == (1, 8, 8)
    assert names().count("digits") == 1


def changed(pets: Prepared, **fields: object) -> Prepared:
    return dataclasses.replace(pets, **fields)


@pytest.mark.parametrize(
    "change",
    [
        lambda pets: changed(pets, images=pets.images.astype(np.float32)),
        lambda pets: changed(pets, images=pets.images[:, None]),
        lambda pets: changed(pets, images=pets.images[:-1]),
        lambda pets: changed(pets, labels=pets.labels + 1),
        lambda pets: changed(pets, labels=pets.labels.astype(float)),
        lambda pets: changed(pets, class_names=("a", "b", "c")),
        lambda pets: changed(pets, sources=()),
        lambda pets: changed(pets, made_with={}),
    ],
)
def test_what_does_not_fit_together_is_refused(cache: Path, pets: Prepared, change) -> None:
    write_prepared(path_of("pets"), change(pets))
    with pytest.raises(TwinlatentError, match=r"pets\.npz: is no prepared data set, or damaged"):
        load("pets")


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04 and then nothing"])
def test_a_damaged_file_is_named_and_does_not_hide_the_others(cache: Path, content: bytes) -> None:
    path_of("pets").parent.mkdir(parents=True)
    path_of("pets").write_bytes(content)
    with pytest.raises(TwinlatentError, match=r"pets\.npz: is no prepared data set"):
        load("pets")
    assert "is no prepared data set" in describe("pets")
    assert "pets" in names()
