"""Shipped detectors by name, and detectors by path."""

import tomllib
from pathlib import Path

import pytest
import torch

import twinlatent as tl
from twinlatent import zoo
from twinlatent.data import Split
from twinlatent.errors import TwinlatentError
from twinlatent.method.detector import Detector

EXPERIMENTS = Path(__file__).resolve().parent.parent / "experiments"


@pytest.fixture
def shelf(tmp_path: Path, trained_detector: Detector, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A zoo with two detectors, in an empty working directory."""
    folder = tmp_path / "zoo"
    for name in ("b-digits", "a-digits"):
        trained_detector.save(folder / f"{name}.safetensors")
        (folder / f"{name}.md").write_text(f"# {name}\nε\n", encoding="utf-8")
    (folder / "notes.txt").write_text("no detector", encoding="utf-8")
    monkeypatch.setattr(zoo, "FOLDER", folder)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return folder


def test_names_and_cards(shelf: Path) -> None:
    assert zoo.names() == ("a-digits", "b-digits")
    assert zoo.card("b-digits") == zoo.card("zoo:b-digits") == "# b-digits\nε\n"


def test_the_listing_says_what_loading_would() -> None:
    """Of the detectors that ship, and without reading their weights."""
    rows = zoo.listing()
    assert [row.name for row in rows] == list(zoo.names())
    for row in rows:
        loaded = zoo.load(row.name)
        assert (row.data, row.classes) == (loaded.card["data"]["name"], loaded.classes)
        assert row.trained_with == loaded.trained_with


def test_one_network_may_have_two_names(shelf: Path) -> None:
    (shelf / "c-digits.alias").write_text("a-digits\n", encoding="utf-8")
    assert zoo.names() == ("a-digits", "b-digits", "c-digits")
    assert [row.name for row in zoo.listing()] == ["a-digits", "b-digits", "c-digits"]
    assert zoo.card("zoo:c-digits") == zoo.card("a-digits")
    assert zoo.load("c-digits").fingerprint == zoo.load("a-digits").fingerprint


@pytest.mark.parametrize("how", ["name", "name with zoo", "file", "text of a file", "folder"])
def test_ways_to_name_a_detector(how: str, shelf: Path, trained_detector: Detector, digits: Split) -> None:
    folder = Path("trained")
    trained_detector.save(folder / "detector.safetensors")
    given = {
        "name": "a-digits",
        "file": shelf / "b-digits.safetensors",
        "text of a file": str(folder / "detector.safetensors"),
        "folder": folder,
        "name with zoo": "zoo:a-digits",
    }[how]
    loaded = zoo.load(given)
    images = digits.test.images[:20]
    assert torch.equal(loaded.detect(images).suspicion, trained_detector.detect(images).suspicion)


@pytest.mark.parametrize("function", [zoo.load, zoo.card])
def test_unknown_names_are_told_what_is_known(function, shelf: Path) -> None:
    with pytest.raises(TwinlatentError) as caught:
        function("c-digits")
    assert "'c-digits'" in str(caught.value)
    assert "(shipped: a-digits, b-digits)" in str(caught.value)
    for path in shelf.iterdir():
        path.unlink()
    with pytest.raises(TwinlatentError, match=r"\(shipped: none\)"):
        function("a-digits")


@pytest.mark.parametrize("function", [zoo.load, zoo.card])
@pytest.mark.parametrize("name", sorted(zoo.RETIRED))
def test_what_is_shipped_no_more_is_told_how_it_is_trained(function, name: str, tmp_path: Path, monkeypatch) -> None:
    """With the first command of its file of experiments/; a training of that name is found."""
    steps = tomllib.loads((EXPERIMENTS / f"{name}.toml").read_text(encoding="utf-8"))["steps"]
    monkeypatch.chdir(tmp_path)
    for said in (name, f"{zoo.ZOO}{name}"):
        with pytest.raises(TwinlatentError) as caught:
            function(said)
        line = f"'{name}' is shipped no more since version 0.2.0; train it anew: {steps[0]['command']}"
        assert str(caught.value) == line
    assert name not in zoo.names()
    Path(name).mkdir()
    assert zoo.locate(name) == Path(name, "detector.safetensors")


def test_a_folder_without_a_detector_is_refused(shelf: Path) -> None:
    with pytest.raises(TwinlatentError, match=r"detector\.safetensors is no file"):
        zoo.load(shelf)


def test_a_file_that_is_no_detector_is_refused(shelf: Path) -> None:
    with pytest.raises(TwinlatentError, match=r"notes\.txt"):
        zoo.load(shelf / "notes.txt")


def test_a_folder_that_happens_to_have_the_name_does_not_hide_a_shipped_detector(shelf: Path) -> None:
    Path("a-digits").mkdir()
    assert zoo.load("a-digits").classes == 10


@pytest.mark.parametrize("here", ["training", "file", "unfinished", "unfinished part"])
def test_a_name_that_means_two_detectors_is_refused(here: str, shelf: Path, trained_detector: Detector, digits) -> None:
    place = Path("a-digits") / {"file": "", "training": "detector.safetensors", "unfinished": "state.safetensors",
                                "unfinished part": "classifier/state.safetensors"}[here]  # fmt: skip
    other = trained_detector.using(score="joint")
    other.save(place)
    with pytest.raises(
        TwinlatentError, match=r"is a shipped detector, and one of yours .* zoo:a-digits or \./a-digits$"
    ):
        zoo.load("a-digits")
    assert zoo.load("zoo:a-digits").score == trained_detector.score
    if not here.startswith("unfinished"):
        for path in ("./a-digits", Path("a-digits"), Path("a-digits").resolve()):
            assert zoo.load(path).score == "joint"


@pytest.mark.parametrize("name", ["A-Digits", "a-digit", "zoo:a_digits", "./a-digits", Path("a-digits")])
def test_a_name_that_is_nearly_right_is_told_the_right_one(name: str | Path, shelf: Path) -> None:
    with pytest.raises(TwinlatentError, match=r"; did you mean zoo:a-digits\? \(shipped: a-digits, b-digits\)"):
        zoo.load(name)


def test_what_is_shipped_can_be_loaded_and_has_a_card() -> None:
    for name in zoo.names():
        assert zoo.locate(f"{zoo.ZOO}{name}").stat().st_size < 1e7
        detector = zoo.load(name)
        assert detector.detect(torch.zeros(1, *detector.image_shape)).label.shape == (1,)
        assert detector.card["data"]["fingerprint"]
        assert zoo.card(name).startswith("#")


def test_what_earlier_versions_made_is_loaded_and_saved_as_it_is(tmp_path: Path) -> None:
    detector = zoo.load("mnist-mim")
    assert detector.card["provenance"]["versions"]["twinlatent"] == "0.1.0" != tl.__version__
    detector.save(tmp_path / "again.safetensors")
    again = zoo.load(tmp_path / "again.safetensors")
    assert (again.card, again.fingerprint) == (detector.card, detector.fingerprint)


@pytest.mark.parametrize("function", [zoo.load, Detector.load])
@pytest.mark.parametrize("given", [None, b"x", 3])
def test_what_is_no_path_is_refused(function, given: object) -> None:
    with pytest.raises(TwinlatentError, match="; give a path as text or a Path"):
        function(given)
