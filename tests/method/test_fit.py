"""From images to a detector, end to end on real digits."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from twinlatent.data import LabelledImages, Split, split_calibration
from twinlatent.errors import TwinlatentError
from twinlatent.method import fit as fit_module
from twinlatent.method.adversaries.search import AdversarySettings
from twinlatent.method.detector import Detector, DetectorSettings
from twinlatent.method.fit import DETECTOR_FILE, SETTINGS_FILE, fit, fit_split
from twinlatent.method.game_state import GameSettings
from twinlatent.zoo import load

TINY = GameSettings(
    encoder="c(3,4) z(3,3)", decoder="d(64)", rounds=6, batch=4, checkpoint_every=2,
    adversary=AdversarySettings(steps=1, epsilon=0.1),
)  # fmt: skip
GOOD = (torch.full((30, 1, 8, 8), 0.5), torch.arange(30) % 3)


def same(a: Detector, b: Detector) -> bool:
    first, second = a.encoders.state_dict(), b.encoders.state_dict()
    return (
        all(torch.equal(value, second[name]) for name, value in first.items())
        and torch.equal(a.class_means, b.class_means)
        and all(torch.equal(x, y) for x, y in zip(a.calibration.scores, b.calibration.scores, strict=True))
    )


@pytest.fixture(scope="module")
def from_arrays(digits: Split) -> Detector:
    """The smoke preset, from numpy arrays."""
    data = digits.train
    return fit(data.images.numpy(), data.labels.numpy(), preset="smoke", calibration_share=0.25, progress=False)


def test_arrays_become_a_detector(from_arrays: Detector, digits: Split) -> None:
    verdict = from_arrays.detect(digits.test.images, fpr=0.1)
    assert verdict.label.shape == digits.test.labels.shape
    assert verdict.suspicion.isfinite().all()
    assert verdict.adversarial.double().mean() < 0.3
    assert from_arrays.class_names == tuple("0123456789")
    assert from_arrays.device == torch.device("cpu")


def test_the_hold_out_is_kept_from_training(from_arrays: Detector, digits: Split) -> None:
    images = from_arrays.card["data"]["images"]
    assert images["calibration"] == round(0.25 * len(digits.train))
    assert images["train"] == len(digits.train) - images["calibration"]
    assert images["test"] == 0
    assert len(from_arrays.benign["ratio"].labels) == images["calibration"]


def test_arrays_are_split_and_then_fitted_as_a_split(digits: Split) -> None:
    names = tuple("abcdefghij")
    settings = {"settings": TINY, "seed": 4, "progress": False, "detector": DetectorSettings(score="vulnerable")}
    direct = fit(
        digits.train.images, digits.train.labels, class_names=np.array(names), calibration_share=0.5, **settings
    )
    parts = split_calibration(digits.train, share=0.5, seed=4)
    by_hand = fit_split(Split("other", *parts, digits.test.subset(slice(0)), names), **settings)
    assert same(direct, by_hand)
    assert direct.card["data"]["fingerprint"] == by_hand.card["data"]["fingerprint"]
    assert direct.class_names == names
    assert direct.settings.score == "vulnerable"


def test_the_detector_has_no_part_in_the_test_images(digits: Split) -> None:
    other = Split("digits", digits.train, digits.calibration, digits.test.subset(slice(7)), digits.class_names)
    assert same(*(fit_split(split, settings=TINY, progress=False) for split in (digits, other)))


def test_training_ignores_calibration_images_and_calibration_does_not(digits: Split) -> None:
    fewer = Split("d", digits.train, digits.calibration.subset(slice(0, 250)), digits.test, digits.class_names)
    a, b = (fit_split(split, settings=TINY, progress=False) for split in (digits, fewer))
    assert torch.equal(a.class_means, b.class_means)
    assert not same(a, b)


# --- folders ------------------------------------------------------------------------------------------------------


def test_a_folder_keeps_everything(digits: Split, tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "run"
    made = fit_split(digits, settings=TINY, seed=3, folder=str(folder), progress=False)
    assert {path.name for path in folder.iterdir()} == {"state.safetensors", "log.jsonl", DETECTOR_FILE, SETTINGS_FILE}
    assert len((folder / "log.jsonl").read_text(encoding="utf-8").splitlines()) == TINY.rounds
    for loaded in (load(folder), load(folder / DETECTOR_FILE)):
        assert same(loaded, made)
        assert loaded.card == made.card
    card = json.loads((folder / SETTINGS_FILE).read_text(encoding="utf-8"))
    assert card == made.card
    assert card["training"] == TINY.model_dump()
    assert (card["seed"], card["rounds"]) == (3, TINY.rounds)
    assert card["data"] == {
        "name": "digits", "fingerprint": digits.fingerprint,
        "images": {part: len(images) for part, images in digits.parts.items()},
    }  # fmt: skip
    assert card["provenance"]["device"]


def test_an_earlier_training_is_not_overwritten(digits: Split, tmp_path: Path) -> None:
    fit_split(digits, settings=TINY, folder=tmp_path, progress=False)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(
        TwinlatentError, match=r"holds a training already; resume it \(--resume\), or give another folder"
    ) as caught:
        fit_split(digits, settings=TINY, seed=9, folder=tmp_path, progress=False)
    assert str(tmp_path) in str(caught.value)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_an_interrupted_training_is_resumed(digits: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fitted(folder: Path, resume: bool = False) -> Detector:
        return fit(*vars(digits.train).values(), settings=TINY, seed=2, folder=folder, resume=resume, progress=False)

    whole = fitted(tmp_path / "whole")

    def interrupted(*arguments: object, **named: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:  # after the game, before the detector is there
        patched.setattr(fit_module, "build_detector", interrupted)
        with pytest.raises(KeyboardInterrupt):
            fitted(tmp_path / "cut")
    assert not (tmp_path / "cut" / DETECTOR_FILE).exists()
    with pytest.raises(TwinlatentError, match="no file"):
        load(tmp_path / "cut")
    assert same(fitted(tmp_path / "cut", resume=True), whole)
    assert same(load(tmp_path / "cut"), whole)
    assert same(fitted(tmp_path / "whole", resume=True), whole), "resuming a finished training"


def test_resuming_needs_a_folder_with_a_training(digits: Split, tmp_path: Path) -> None:
    for folder in (None, tmp_path):
        with pytest.raises(TwinlatentError):
            fit_split(digits, settings=TINY, folder=folder, resume=True, progress=False)


# --- what cannot be fitted ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("images", "labels", "more", "complaint"),
    [
        (*GOOD, {"class_names": ("a", "b")}, "2 class names for 3 classes"),
        (*GOOD, {"class_names": "abc"}, "class_names is 'abc'; give a list of texts"),
        (*GOOD, {"class_names": np.arange(3)}, r"class_names is array\(.*; give a list of texts"),
        (*GOOD, {"class_names": np.array(["a", "b"])}, "2 class names for 3 classes"),
        (*GOOD, {"folder": b"x"}, "folder is b'x'; give a path as text or a Path"),
        (*GOOD, {"class_names": ("a", "b", "c", "d")}, "4 class names for 3 classes"),
        (GOOD[0], torch.zeros(30, dtype=torch.int64), {}, "at least 2 classes"),
        (GOOD[0], GOOD[1] * 2, {}, "class 1 has no images, though labels go up to 4"),
        (GOOD[0], torch.tensor([0] * 29 + [1]), {}, "class 1 has too few images"),
        (GOOD[0][:20], GOOD[1], {}, "20 images but 30 labels"),
        (GOOD[0] * 255, GOOD[1], {}, "divide by 255"),
        (GOOD[0] * torch.nan, GOOD[1], {}, "NaN"),
        (GOOD[0].to(torch.uint8), GOOD[1], {}, "uint8"),
        (GOOD[0][:, 0], GOOD[1], {}, "shape"),
        (GOOD[0][..., :7], GOOD[1], {}, "would pad the sides of 8×7 unlike"),
        (GOOD[0], GOOD[1] - 1, {}, "number the classes"),
        (GOOD[0], GOOD[1].float(), {}, "whole numbers"),
        (*GOOD, {"device": "nonsense"}, "device 'nonsense' cannot be used"),
        (*GOOD, {"device": "cuda:99"}, "device 'cuda:99' cannot be used"),
        (*GOOD, {"settings": None, "preset": "quick"}, "preset 'quick' is unknown"),
        (*GOOD, {"calibration_share": 1.0}, "share is 1.0"),
        (*GOOD, {"seed": -1}, "seed is -1"),
        (*GOOD, {"seed": 2**64}, "seed is"),
        (*GOOD, {"settings": TINY.model_copy(update={"encoder": "c(3,4) z(3,2)"})}, "needs a = b"),
        (*GOOD, {"settings": TINY.model_copy(update={"encoder": "c(3,4)"})}, "must end in z"),
        (*GOOD, {"settings": TINY.model_copy(update={"decoder": "d(49)"})}, "images have 64"),
    ],
)
def test_what_cannot_be_fitted_is_named(images, labels, more, complaint: str) -> None:
    with pytest.raises(TwinlatentError, match=complaint) as caught:
        fit(images, labels, **{"settings": TINY, "progress": False} | more)
    assert "\n" not in str(caught.value)


def test_a_seed_that_no_generator_takes_is_refused(digits: Split) -> None:
    with pytest.raises(TwinlatentError, match="seed"):
        fit_split(digits, settings=TINY, seed=2**64, progress=False)


def test_a_refused_training_leaves_no_folder(tmp_path: Path) -> None:
    with pytest.raises(TwinlatentError):
        fit(*GOOD, class_names=("a",), folder=tmp_path / "new", settings=TINY, progress=False)
    assert not (tmp_path / "new").exists()


def test_two_classes_are_enough() -> None:
    generator = np.random.default_rng(0)
    images = generator.random((40, 1, 8, 8)).astype(np.float32) / 2
    labels = np.arange(40) % 2
    images[labels == 1] += 0.5
    made = fit(images, labels, settings=TINY, calibration_share=0.5, progress=False)
    data = LabelledImages(torch.from_numpy(images), torch.from_numpy(labels))
    assert made.detect(data.images, 0.2).label.max() <= 1


def test_a_start_may_not_have_learnt_what_is_held_out(digits: Split) -> None:
    settings = GameSettings(encoder="c(3,4) d(8) | z(2,2)", decoder="", deal="one_batch", rounds=2, batch=8,
                            bound={"share": 1.0, "epsilon": 0.1}, ramp=0.5)  # fmt: skip
    begun = fit_split(digits, preset="certified", settings=settings, progress=False)
    went_on = fit_split(digits, preset="certified", settings=settings, start=begun, progress=False)
    assert went_on.card["start"]["fingerprint"] == begun.fingerprint
    assert (begun.trained_with, went_on.trained_with) == ("bound", "bound then bound")
    turned = Split(digits.name, digits.calibration, digits.train, digits.test, digits.class_names)
    with pytest.raises(TwinlatentError, match="the start was trained on calibration images of this division of digits"):
        fit_split(turned, preset="certified", settings=settings, start=begun, progress=False)


def test_a_dataset_of_colours_trains_what_its_arrays_do(tmp_path: Path) -> None:
    """And `detect` takes either, and the file keeps the shape."""
    images = torch.rand(40, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(40) % 2
    settings = TINY.model_copy(update={"decoder": "d(192)"})
    made = fit(TensorDataset(images, labels), settings=settings, folder=tmp_path / "run", progress=False)
    assert same(made, fit(images, labels, settings=settings, progress=False))
    again = load(tmp_path / "run" / DETECTOR_FILE)
    assert again.image_shape == (3, 8, 8)
    of_arrays = again.detect(images, 0.4)
    for source in (TensorDataset(images), DataLoader(TensorDataset(images, labels), batch_size=7)):
        assert torch.equal(again.detect(source, 0.4).suspicion, of_arrays.suspicion)
