"""Which detectors are served, and what they are called."""

from pathlib import Path

import pytest

from twinlatent.errors import TwinlatentError
from twinlatent.guards.guarded import Guarded
from twinlatent.method.detector import Detector
from twinlatent.serve.models import Wanted, load_models, wanted


@pytest.mark.parametrize(
    ("text", "name", "model"),
    [
        ("mnist-mim", "mnist-mim", "mnist-mim"),
        ("zoo:mnist-mim", "mnist-mim", "zoo:mnist-mim"),
        ("runs/photos/", "photos", "runs/photos/"),
        ("a/b.safetensors", "b", "a/b.safetensors"),
        ("photos=runs/lr=0.1", "photos", "runs/lr=0.1"),
    ],
)
def test_names(text: str, name: str, model: str) -> None:
    assert wanted(text) == Wanted(name, model)


@pytest.mark.parametrize("text", ["runs/my photos", "..", "/", "a?b", "é", "./runs/lr=0.1"])
def test_names_that_do_not_fit_into_an_address(text: str) -> None:
    with pytest.raises(TwinlatentError, match=r"cannot be part of an address; name it, as NAME="):
        wanted(text)


def test_a_detector_and_a_guard_are_loaded_together(
    detector_file: Path, guarded: tuple[Path, str, Guarded], trained_detector: Detector
) -> None:
    path, _, made = guarded
    found = load_models([str(detector_file), f"guard={path}"], made.classifier.given)
    assert list(found) == ["digits", "guard"]
    assert found["digits"].fingerprint == trained_detector.fingerprint
    assert found["guard"].fingerprint == made.fingerprint


def test_what_cannot_be_loaded_is_said(detector_file: Path, guarded: tuple[Path, str, Guarded]) -> None:
    with pytest.raises(TwinlatentError, match="name at least one"):
        load_models([])
    with pytest.raises(TwinlatentError, match="give the classifier"):
        load_models([f"guard={guarded[0]}"])
    with pytest.raises(TwinlatentError, match="a classifier is given, and a guards none"):
        load_models([f"a={detector_file}"], guarded[2].classifier.given)
    with pytest.raises(TwinlatentError, match="two models are called a"):
        load_models([f"a={detector_file}", f"a={detector_file}"])
