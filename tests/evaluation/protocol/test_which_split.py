"""Data are told by their contents, classes by their names: what a detector may be judged on."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from twinlatent.attacks.budgets import Budget
from twinlatent.data import LabelledImages, Split, load
from twinlatent.errors import TwinlatentError
from twinlatent.evaluation.black_box.detection import evaluate_blackbox
from twinlatent.evaluation.black_box.substitutes import Substitute, substitute_network
from twinlatent.evaluation.protocol.settings import WhiteBoxSettings
from twinlatent.evaluation.protocol.which_split import fitted, split_of
from twinlatent.evaluation.settings import EvaluationSettings
from twinlatent.evaluation.white_box.suite import attack_detector
from twinlatent.evaluation.whole import evaluate_all
from twinlatent.method.class_vaes import ClassEncoders
from twinlatent.method.detector import Detector, build_detector
from twinlatent.method.plans import plan
from twinlatent.provenance import provenance
from twinlatent.recipes import recipe_of

NAMES = ("zero", "one", "two")


def unseen(detector: Detector) -> Detector:
    """The detector as a file of an earlier version has it."""
    d = detector
    return Detector(d.encoders, d.class_means, d.benign, d.class_names, d.settings, d.card)


def carded(detector: Detector, **data: object) -> Detector:
    """The detector with another card of its data."""
    card = {**detector.card, "data": {**detector.card["data"], **data}}
    return Detector(
        detector.encoders, detector.class_means, detector.benign, detector.class_names, card=card, seen=detector.seen
    )


def reversed_classes(split: Split) -> Split:
    """The same images, the classes in the other order, called otherwise but for the digit."""
    last = split.classes - 1
    parts = (LabelledImages(part.images, last - part.labels) for part in (split.train, split.calibration, split.test))
    return Split("reversed", *parts, tuple(reversed(split.class_names)))


def write(folder: Path, split: Split, names: dict[str, int], first: int, count: int) -> None:
    """A folder a class with `count` pictures of its digit, from the `first` of all of that digit on."""
    images = torch.cat([split.train.images, split.calibration.images, split.test.images])
    labels = torch.cat([split.train.labels, split.calibration.labels, split.test.labels])
    for name, digit in names.items():
        (folder / name).mkdir(parents=True)
        for k, image in enumerate(images[labels == digit][first : first + count, 0]):
            Image.fromarray(image.mul(255).round().byte().numpy()).save(folder / name / f"{k:03}.png")


@pytest.fixture(scope="module")
def photos(digits: Split, tmp_path_factory) -> Path:
    """A folder of three classes; read only."""
    folder = tmp_path_factory.mktemp("here") / "photos"
    write(folder, digits, {"zero": 0, "one": 1, "two": 2}, 0, 30)
    return folder


@pytest.fixture(scope="module")
def of_photos(photos: Path) -> Detector:
    """Made with the photos as a training makes it, but for learning anything."""
    split = load(f"folder:{photos}", size=8, progress=False)
    encoders = ClassEncoders(plan("c(3,4) z(2,2)", split.image_shape, "encoder"), split.classes)
    data = {"name": split.short_name, "fingerprint": split.fingerprint}
    return build_detector(encoders, split.train, split.calibration, split.class_names, card={"seed": 0, "data": data})


def no_line(line: str) -> None:
    pytest.fail(line)


# --- classes by name ------------------------------------------------------------------------------------------------


def test_classes_in_another_order_give_the_same_numbers(trained_detector: Detector, digits: Split) -> None:
    """Matched by position the reversed digits have accuracy 0 and lose every image to no attack at all."""
    attacked = WhiteBoxSettings(suite="quick", steps=1, images=20, epsilon=0)
    accuracies, wins = [], []
    for split in (digits, reversed_classes(digits)):
        substitute = Substitute(
            "f_p", substitute_network(split, recipe_of(split).substitute_settings("f_p")), provenance()
        )
        run = evaluate_blackbox(trained_detector, split, budgets=(Budget("fgsm", 0.1),), images=2,
                                substitutes=[substitute], progress=False)  # fmt: skip
        accuracies += [record.value for record in run.records if record.metric == "accuracy"]
        for drawn in (None, split.test.subset(slice(20))):
            found = attack_detector(trained_detector, split, attacked, drawn=drawn, only=["none"], progress=False)
            wins.append((found.benign.labels.tolist(), found.wins["worst"].tolist()))
    assert accuracies[0] == accuracies[1] > 0.8
    assert wins[:2] == wins[2:]
    assert sum(wins[0][1]) < 10


def test_classes_of_the_same_number_and_shape_are_not_the_same_classes(trained_detector, digits: Split) -> None:
    letters = replace(digits, class_names=("0", *"abcdefghi"))
    for check in (fitted, evaluate_blackbox):
        with pytest.raises(TwinlatentError, match=r"0, a, b, .* not 0, 1, 2, .*: 'a' is unknown and '1' missing; name"):
            check(trained_detector, letters)


@pytest.mark.parametrize("names", [("Zero", "one", "two"), ("TWO", "ZERO", "One")])
def test_a_class_is_known_in_any_case(names: tuple[str, ...], digits: Split, of_photos: Detector, tmp_path) -> None:
    write(tmp_path / "new", digits, {name: NAMES.index(name.lower()) for name in names}, 100, 9)
    split = split_of(of_photos, f"folder:{tmp_path / 'new'}", progress=False, say=no_line)
    assert split.class_names == of_photos.class_names
    plain = shutil.copytree(tmp_path / "new", tmp_path / "plain")
    for name in names:
        (plain / name).rename(plain / f"_{name}")
        (plain / f"_{name}").rename(plain / name.lower())
    whole, expected = (sorted(pairs(it)) for it in (split, load(f"folder:{plain}", size=8, progress=False)))
    assert whole == expected


def pairs(split: Split) -> list[tuple[bytes, str]]:
    """All images with the name of their class."""
    parts = split.parts.values()
    return [(image.numpy().tobytes(), split.class_names[label]) for part in parts
            for image, label in zip(part.images, part.labels.tolist(), strict=True)]  # fmt: skip


# --- images by contents ---------------------------------------------------------------------------------------------


def test_its_own_data_are_taken_as_they_are(trained_detector: Detector, digits: Split) -> None:
    assert fitted(trained_detector, digits, say=no_line) is digits
    assert split_of(trained_detector, progress=False, say=no_line).fingerprint == digits.fingerprint


def test_data_that_moved_are_the_same_data(photos: Path, of_photos: Detector, tmp_path: Path) -> None:
    moved = shutil.copytree(photos, tmp_path / "holiday")
    for form in (f"folder:{photos}", f"folder:{moved}"):
        split = split_of(of_photos, form, progress=False, say=no_line)
        assert split.fingerprint == of_photos.card["data"]["fingerprint"]


@pytest.mark.parametrize("change", ["one more", "renamed files", "another seed"])
def test_training_images_do_not_become_test_images(change: str, photos: Path, of_photos: Detector, tmp_path) -> None:
    copy, detector = shutil.copytree(photos, tmp_path / "photos"), of_photos
    if change == "one more":
        shutil.copy(photos / "one" / "000.png", copy / "one" / "zzz.png")
    elif change == "renamed files":
        for path in sorted((copy / "one").iterdir()):
            path.rename(path.with_name(f"{hash(path.name) % 10**9}.png"))
    else:
        detector = carded(of_photos)
        detector.card["seed"] = 1
    with pytest.raises(
        TwinlatentError, match=r"made with \d+ of the 18 test images of .*photos \(\d+ in training, \d+ "
    ):
        split_of(detector, f"folder:{copy}", progress=False)


def test_any_split_is_looked_at_whoever_made_it(trained_detector: Detector, digits: Split, tmp_path: Path) -> None:
    mixed = Split("mine", digits.test, digits.calibration, digits.train, digits.class_names)
    thresholds = replace(digits, test=digits.calibration)
    attacks = WhiteBoxSettings(suite="quick", steps=1, images=2)
    for call in (
        lambda: fitted(trained_detector, mixed),
        lambda: evaluate_blackbox(trained_detector, mixed, images=2),
        lambda: attack_detector(trained_detector, mixed, attacks, progress=False),
        lambda: evaluate_all(trained_detector, mixed, EvaluationSettings(suite="none"), progress=False),
    ):
        with pytest.raises(TwinlatentError, match=r"980 of the 980 test images of mine \(980 in training, 0 for its"):
            call()
    with pytest.raises(TwinlatentError, match=r"360 of the 360 test images of digits \(0 in training, 360 for its"):
        fitted(trained_detector, thresholds)


def test_a_few_are_left_out_and_that_is_said(trained_detector: Detector, digits: Split) -> None:
    both = LabelledImages(*(torch.cat([getattr(digits.train, field)[:3], getattr(digits.test, field)])
                            for field in ("images", "labels")))  # fmt: skip
    lines: list[str] = []
    left = fitted(trained_detector, replace(digits, test=both), say=lines.append)
    assert lines == ["the detector was made with 3 of the 362 test images of digits (3 in training, 0 for its "
                     "thresholds); they are left out"]  # fmt: skip
    assert torch.equal(left.test.images, digits.test.images)
    assert torch.equal(left.test.labels, digits.test.labels)
    assert fitted(trained_detector, left, say=no_line) is left
    with pytest.warns(UserWarning, match="they are left out"):
        fitted(trained_detector, replace(digits, test=both))


def test_what_is_twice_in_its_own_data_is_left_out_however_much_it_is(digits: Split, of_photos: Detector) -> None:
    """A folder with the same picture under two names can always be evaluated on what is left."""
    twice = Split("own", digits.train, digits.calibration, digits.test.subset(slice(10)), digits.class_names)
    twice = replace(twice, test=LabelledImages(*(torch.cat([getattr(twice.test, f), getattr(digits.train, f)[:40]])
                                                 for f in ("images", "labels"))))  # fmt: skip
    encoders = ClassEncoders(plan("c(3,4) z(2,2)", twice.image_shape, "encoder"), 10)
    card = {"data": {"name": "own", "fingerprint": twice.fingerprint}}
    made = build_detector(encoders, twice.train, twice.calibration, twice.class_names, card=card)
    lines: list[str] = []
    assert len(fitted(made, twice, say=lines.append).test) == 10
    assert "40 of the 50" in lines[0]


def test_other_images_of_the_name_are_judged_if_none_was_seen(photos: Path, of_photos, digits, tmp_path) -> None:
    write(tmp_path / "photos", digits, {"zero": 0, "one": 1, "two": 2}, 60, 10)
    split = split_of(of_photos, f"folder:{tmp_path / 'photos'}", progress=False, say=no_line)
    assert (split.short_name, len(split.test)) == (of_photos.card["data"]["name"], 6)


def test_another_size_is_refused_by_what_the_detector_takes(digits: Split) -> None:
    encoders = ClassEncoders(plan("c(3,4) z(2,2)", (1, 9, 9), "encoder"), 10)
    nines = LabelledImages(torch.zeros(10, 1, 9, 9), torch.arange(10))
    made = build_detector(encoders, nines, nines, digits.class_names)
    with pytest.raises(TwinlatentError, match=r"takes \(1, 9, 9\) images of 10 classes; digits has \(1, 8, 8\) of 10"):
        split_of(made, "digits", progress=False, say=no_line)


# --- files of earlier versions --------------------------------------------------------------------------------------


def test_an_old_file_is_checked_by_its_data_where_they_are(trained_detector: Detector, digits: Split) -> None:
    old = unseen(trained_detector)
    assert fitted(old, digits, say=no_line) is digits
    with pytest.raises(TwinlatentError, match="980 of the 980 test images"):
        fitted(old, replace(digits, test=digits.train))


def test_an_old_file_without_its_data_is_judged_with_a_line(
    photos: Path, of_photos: Detector, digits, tmp_path
) -> None:
    old, lines = unseen(of_photos), []
    write(tmp_path / "new", digits, {"zero": 0, "one": 1, "two": 2}, 60, 10)
    assert split_of(old, f"folder:{photos}", progress=False, say=no_line).fingerprint
    assert len(split_of(old, f"folder:{tmp_path / 'new'}", progress=False, say=lines.append).test) == 6
    (line,) = lines
    assert line.startswith(
        f"folder:{tmp_path / 'new'}: whether the detector was trained on some of these images cannot"
    )
    renamed = (tmp_path / "new").rename(tmp_path / "photos")
    with pytest.raises(TwinlatentError, match=r"photos holds other images than in training, so .* of another name"):
        split_of(old, f"folder:{renamed}", progress=False, say=no_line)


def test_the_data_it_was_trained_on_must_be_there_to_be_meant(trained_detector: Detector, of_photos: Detector) -> None:
    with pytest.raises(
        TwinlatentError, match=r"^digits holds other images .* name the data set to judge it on these: d"
    ):
        split_of(carded(trained_detector, fingerprint="0"), progress=False)
    with pytest.raises(TwinlatentError, match="'folder:photos'; say where these images are, as folder:PATH"):
        split_of(of_photos, progress=False)
