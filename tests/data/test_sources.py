import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

from twinlatent.data import LabelledImages, Split, fetch, known, load, sources, where
from twinlatent.data.downloads import DATA_VARIABLE
from twinlatent.data.idx import read_idx
from twinlatent.errors import TwinlatentError


def rows(data: LabelledImages) -> list[bytes]:
    """Each image with its label, as bytes, sorted: equal for equal sets of images."""
    labels = data.labels.numpy()
    return sorted(image.tobytes() + label.tobytes() for image, label in zip(data.images.numpy(), labels, strict=True))


def parts(split: Split) -> tuple[LabelledImages, ...]:
    return tuple(split.parts.values())


@pytest.fixture(scope="module")
def mnist(mnist_paths) -> Split:
    return load("mnist", fetch=False)


@pytest.fixture(scope="module")
def fashion(fashion_paths) -> Split:
    return load("fashion-mnist", fetch=False)


@pytest.fixture(scope="module")
def five(fashion_paths) -> Split:
    return load("fashion-mnist5", fetch=False)


@pytest.fixture
def own_folder(tmp_path: Path) -> Path:
    generator = np.random.default_rng(0)
    for name, count in (("cat", 10), ("dog", 20)):
        (tmp_path / name).mkdir()
        for k in range(count):
            pixels = generator.integers(0, 256, (40, 30), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / name / f"{k:02}.png")
    return tmp_path


def test_digits_are_those_of_scikit_learn_divided() -> None:
    split = load("digits")
    pixels, labels = load_digits(return_X_y=True)
    everything = LabelledImages(torch.tensor(pixels / 16).float().reshape(-1, 1, 8, 8), torch.tensor(labels))
    assert sorted(row for part in parts(split) for row in rows(part)) == rows(everything)
    assert [len(part) for part in parts(split)] == [980, 360, 359, 98]
    shares = [part.labels.bincount() / everything.labels.bincount() for part in parts(split)]
    for share, expected in zip(shares, (0.6 * 10 / 11, 0.2, 0.2, 0.6 / 11), strict=True):
        torch.testing.assert_close(share, torch.full((10,), expected), atol=0.01, rtol=0)


def test_digits_depend_on_the_seed_alone() -> None:
    first, other = load("digits"), load("digits", seed=1)
    torch.manual_seed(99)
    again = load("digits", seed=0, fetch=False, progress=False)
    assert first.fingerprint == again.fingerprint != other.fingerprint


@pytest.mark.parametrize(
    ("fixture", "classes", "train", "test"),
    [("mnist", 10, 60_000, 10_000), ("fashion", 10, 60_000, 10_000), ("five", 5, 30_000, 5_000)],
)
def test_one_image_in_twelve_is_held_out_for_calibration_and_for_selection(
    request, fixture: str, classes: int, train: int, test: int
) -> None:
    split = request.getfixturevalue(fixture)
    assert split.classes == classes
    assert [len(part) for part in parts(split)] == [train * 10 // 12, train // 12, test, train // 12]
    for part in parts(split):
        assert part.images.shape[1:] == split.image_shape == (1, 28, 28)
        assert (part.images.dtype, part.labels.dtype) == (torch.float32, torch.int64)
        assert [bound.item() for bound in part.images.aminmax()] == [0, 1]
    held_out = (split.calibration, split.selection, split.train)
    of_calibration, of_selection, of_train = (part.labels.bincount() / len(part) for part in held_out)
    torch.testing.assert_close(of_calibration, of_train, atol=3e-4, rtol=0)
    torch.testing.assert_close(of_selection, of_train, atol=3e-4, rtol=0)


def test_mnist_is_the_files_divided(mnist, mnist_paths) -> None:
    def from_files(images: Path, labels: Path) -> LabelledImages:
        pixels = torch.from_numpy(read_idx(images, 3) / np.float32(255)).unsqueeze(1)
        return LabelledImages(pixels, torch.from_numpy(read_idx(labels, 1).astype(np.int64)))

    test = from_files(*mnist_paths[2:])
    assert torch.equal(mnist.test.images, test.images)
    assert torch.equal(mnist.test.labels, test.labels)
    held_out = rows(mnist.calibration) + rows(mnist.selection)
    assert sorted(rows(mnist.train) + held_out) == rows(from_files(*mnist_paths[:2]))


def test_without_selection_mnist_is_what_it_was(mnist) -> None:
    before = load("mnist", fetch=False, selection=False)
    assert torch.equal(before.calibration.images, mnist.calibration.images)
    assert sorted(rows(mnist.train) + rows(mnist.selection)) == rows(before.train)
    assert before.fingerprint == "c436bafc882648c8ad56a3ec4756d696f53c0d9c0eab1775fa3acb75725351a5"


def test_the_five_are_coat_trouser_sandal_sneaker_bag(fashion, five) -> None:
    assert five.class_names == ("coat", "trouser", "sandal", "sneaker", "bag")
    for label, of_ten in enumerate((4, 1, 5, 7, 8)):
        assert fashion.class_names[of_ten] == five.class_names[label]
        ours, theirs = five.test.images[five.test.labels == label], fashion.test.images[fashion.test.labels == of_ten]
        assert torch.equal(ours, theirs)
    assert five.train.labels.bincount().tolist() == [5000] * 5
    assert five.calibration.labels.bincount().tolist() == five.selection.labels.bincount().tolist() == [500] * 5


def test_a_damaged_file_stops_loading(cache, mnist_paths, monkeypatch, tmp_path) -> None:
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path))
    (tmp_path / "mnist").mkdir()
    for path in mnist_paths:
        shutil.copyfile(path, tmp_path / "mnist" / path.name)
    with (tmp_path / "mnist" / "t10k-images-idx3-ubyte.gz").open("r+b") as file:
        file.truncate(1000)
    message = r"t10k-images-idx3-ubyte\.gz: is cut short, 1000 of 1648877 bytes"
    with pytest.raises(TwinlatentError, match=message):
        load("mnist")
    assert "is cut short" in where("mnist")
    assert not cache.exists()


def test_missing_files_are_named(cache) -> None:
    with pytest.raises(TwinlatentError, match=r"^mnist/train-images-idx3-ubyte\.gz is not in .*fetch=True"):
        load("mnist", fetch=False)


def test_a_folder_is_divided(own_folder) -> None:
    split = load(f"folder:{own_folder}", progress=False)
    assert split.name == f"folder:{own_folder}"
    assert split.class_names == ("cat", "dog")
    assert split.image_shape == (1, 28, 28)
    assert [part.labels.bincount().tolist() for part in parts(split)] == [[5, 11], [2, 4], [2, 4], [1, 1]]
    assert len({row for part in parts(split) for row in rows(part)}) == 30
    assert split.fingerprint == load(split.name, progress=False).fingerprint
    assert split.fingerprint != load(split.name, seed=1, progress=False).fingerprint


def test_a_folder_takes_any_size(own_folder) -> None:
    assert load(f"folder:{own_folder}", size=9, progress=False).image_shape == (1, 9, 9)


def test_a_folder_keeps_its_colours_if_asked_to(own_folder) -> None:
    generator = np.random.default_rng(1)
    for name in ("cat", "dog"):
        Image.fromarray(generator.integers(0, 256, (28, 28, 3), dtype=np.uint8)).save(own_folder / name / "colour.png")
    grey, colour = (
        load(f"folder:{own_folder}", progress=False),
        load(f"folder:{own_folder}", channels=3, progress=False),
    )
    assert (grey.image_shape, colour.image_shape) == ((1, 28, 28), (3, 28, 28))
    for of_grey, of_colour in zip(parts(grey), parts(colour), strict=True):
        luma = torch.einsum("nchw,c->nhw", of_colour.images, torch.tensor([0.299, 0.587, 0.114]))
        torch.testing.assert_close(of_grey.images[:, 0], luma, atol=1 / 255, rtol=0)
    assert sum(bool((image.std(0) > 0.1).any()) for part in parts(colour) for image in part.images) == 2


@pytest.mark.parametrize(
    ("name", "options", "complaint"),
    [
        ("digits", {"channels": 3}, "channels is 3, but digits has 1; leave channels out"),
        ("digits", {"background": "black"}, "background is 'black', but digits has no transparent parts; leave it out"),
        ("folder:.", {"channels": 2}, "channels is 2; give 1 for grey or 3 for colour"),
        ("folder:.", {"background": "blakc"}, "background 'blakc' is no colour"),
        (".", {}, "no data set is called '[.]'; write folder:[.] for the folder"),
        ("minst", {}, "no data set is called 'minst'; did you mean mnist[?] Known are digits, .* and folder:PATH"),
        ("", {}, "no data set is called ''; known are digits"),
        ("digits", {"size": 28}, "size is 28, but digits is 8x8; leave size out"),
        ("digits", {"seed": -1}, "seed is -1"),
        ("folder:", {}, "'folder:' names no folder; write folder:PATH"),
        ("folder:/no/such/place", {}, "/no/such/place: no such folder"),
        ("folder:.", {"size": 100_000}, "size is 100000; give 4 to 1024 pixels"),
        ("folder:.", {"size": 0}, "size is 0; give 4 to 1024 pixels"),
    ],
)
def test_bad_requests_are_refused_in_one_line(name: str, options: dict, complaint: str) -> None:
    with pytest.raises(TwinlatentError, match=complaint) as error:
        load(name, **options)
    assert "\n" not in str(error.value)


def test_a_sets_own_size_may_be_said() -> None:
    assert load("digits", size=8).image_shape == (1, 8, 8)


def test_the_table_describes_what_is_loaded() -> None:
    split = load("digits")
    row = sources.SOURCES["digits"]
    assert (row.class_names, (1, row.size, row.size)) == (split.class_names, split.image_shape)
    assert list(sources.SOURCES) == list(known.KNOWN)


def test_digits_need_no_fetching(cache) -> None:
    assert fetch("digits") == []
    assert not cache.exists()


def test_fetch_finds_what_is_there(mnist_paths) -> None:
    assert fetch("mnist", progress=False) == mnist_paths


def test_fetch_without_a_network_leaves_nothing(cache, monkeypatch) -> None:
    offline = dataclasses.replace(known.MNIST, mirrors=("http://127.0.0.1:9/",))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setitem(known.KNOWN, "mnist", dataclasses.replace(known.KNOWN["mnist"], collection=offline))
    with pytest.raises(TwinlatentError, match=r"mnist/train-images-idx3-ubyte\.gz .*no connection"):
        fetch("mnist", progress=False)
    assert [path for path in cache.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("function", [load, fetch])
def test_a_name_that_is_no_text_is_refused(function) -> None:
    with pytest.raises(TwinlatentError, match="name is None; give a text"):
        function(None)
