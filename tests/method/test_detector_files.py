"""Files of detectors: what is in them, what comes back, what is refused."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from twinlatent.data import LabelledImages, Split
from twinlatent.errors import TwinlatentError
from twinlatent.method.benign import BenignTable
from twinlatent.method.checkpoints import load_tensors, save_tensors
from twinlatent.method.class_vaes import ClassEncoders
from twinlatent.method.detector import Detector, build_detector, rounded
from twinlatent.method.plans import plan
from twinlatent.method.verdicts import PARTS, Verdict

RULES, SCORES = ("nearest_mean", "density", "ratio"), ("vulnerable", "joint", "ratio")
SETTINGS = [(rule, score) for rule in RULES for score in SCORES]


def same(a: Verdict, b: Verdict, index: Tensor | slice = slice(None)) -> bool:
    return all(torch.equal(getattr(a, name)[index], getattr(b, name)) for name in PARTS)


def made_with(detector: Detector, split: Split) -> bool:
    """Whether it knows the images that it was made with, and no others."""
    assert detector.seen is not None
    parts = (split.train, split.calibration, split.test)
    shares = [[some.double().mean().item() for some in detector.seen.among(part.images)] for part in parts]
    return shares == [[1, 0], [0, 1], [0, 0]]


# --- files --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("rule", "score"), SETTINGS[::4])
def test_a_loaded_detector_is_the_same(rule, score, trained_detector: Detector, digits: Split, tmp_path: Path) -> None:
    detector = trained_detector.using(label_rule=rule, score=score)
    detector.save(tmp_path / "a.safetensors")
    loaded = Detector.load(tmp_path / "a.safetensors")
    images = digits.test.images[:50]
    assert same(detector.detect(images), loaded.detect(images))
    assert torch.equal(detector(images).logits, loaded(images).logits)
    assert (loaded.settings, loaded.card, tuple(loaded.class_names), loaded.image_shape) == (
        *(detector.settings, detector.card, detector.class_names, detector.image_shape),
    )
    for relative in (loaded, loaded.to("cpu"), loaded.using(score="joint"), loaded.with_score("ratio")):
        assert made_with(relative, digits)
    for other_rule, other_score in SETTINGS:  # what another rule needs is kept too
        other = loaded.using(label_rule=other_rule, score=other_score)
        expected = trained_detector.using(label_rule=other_rule, score=other_score)
        assert same(expected.detect(images), other.detect(images))
    loaded.save(tmp_path / "b.safetensors")
    first, second = (load_tensors(tmp_path / f"{name}.safetensors", "detector") for name in "ab")
    assert first[1] == second[1]
    assert all(torch.equal(value, second[0][name]) for name, value in first[0].items())


def test_loading_leaves_the_global_random_state_alone(trained_detector: Detector, tmp_path: Path) -> None:
    trained_detector.save(tmp_path / "a.safetensors")
    before = torch.get_rng_state()
    Detector.load(tmp_path / "a.safetensors")
    assert torch.equal(before, torch.get_rng_state())


def test_a_detector_for_mnist_is_a_small_file(real_images, generator, tmp_path: Path) -> None:
    encoders = ClassEncoders(plan("3(c(4,16)) z(8,8)", (1, 28, 28), "encoder"), 10, generator)
    few = LabelledImages(real_images(50, 28), torch.arange(50) % 10)
    small = build_detector(encoders, few, few, tuple("0123456789"))
    tables = {
        rule: BenignTable(*(values.repeat(100) for values in vars(table).values()))
        for rule, table in small.benign.items()
    }
    detector = Detector(small.encoders, small.class_means, tables, small.class_names)
    detector.save(tmp_path / "mnist.safetensors")
    assert (tmp_path / "mnist.safetensors").stat().st_size < 2e6
    assert len(Detector.load(tmp_path / "mnist.safetensors").benign["ratio"].labels) == 5000


def test_a_file_with_values_that_are_no_numbers_is_refused(trained_detector: Detector, tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    trained_detector.save(path)
    tensors, description = load_tensors(path, "detector")
    tensors["encoders.networks.0_weight"][1, 2] = torch.nan
    save_tensors(path, "detector", tensors, description)
    with pytest.raises(TwinlatentError, match=r"encoders\.networks\.0_weight"):
        Detector.load(path)


def test_what_is_no_number_is_flagged(trained_detector: Detector, digits: Split) -> None:
    broken = trained_detector.to("cpu")
    next(broken.encoders.parameters()).data.fill_(torch.nan)
    for score in SCORES:
        verdict = broken.using(score=score).detect(digits.test.images[:5], 0.1)
        assert verdict.adversarial.all()
        assert (verdict.p_value <= 0.1).all()


@pytest.mark.parametrize("missing", ["class_means", "benign.ratio.labels", "encoders.networks.0_weight"])
def test_a_file_that_lacks_something_is_refused(missing: str, trained_detector: Detector, tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    trained_detector.save(path)
    tensors, description = load_tensors(path, "detector")
    del tensors[missing]
    save_tensors(path, "detector", tensors, description)
    with pytest.raises(TwinlatentError, match="does not hold a detector of this version"):
        Detector.load(path)


@pytest.mark.parametrize(
    "change",
    [
        {"settings": {"label_rule": "guess", "score": "ratio"}},
        {"settings": {"label_rule": "ratio", "score": "ratio", "more": 1}},
        {"encoder": "c(3,7) z(8,8)"},
        {"encoder": "c(3,7 z(8,8)"},
        {"class_names": ["0", "1"]},
        {"image_shape": [1, 28, 28]},
    ],
)
def test_a_file_that_says_something_else_is_refused(change, trained_detector: Detector, tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    trained_detector.save(path)
    tensors, description = load_tensors(path, "detector")
    save_tensors(path, "detector", tensors, description | change)
    with pytest.raises(TwinlatentError):
        Detector.load(path)


def test_a_training_state_is_no_detector(tmp_path: Path) -> None:
    save_tensors(tmp_path / "a", "training state", {}, {})
    with pytest.raises(TwinlatentError, match="no detector file"):
        Detector.load(tmp_path / "a")


# --- encoders that share a trunk ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def with_trunk(digits: Split) -> Detector:
    plan_of = plan("c(3,8)-bn-relu c(3,8) | d(6) z(3,3)", (1, 8, 8), "encoder")
    encoders = ClassEncoders(plan_of, digits.classes, torch.Generator().manual_seed(0), "narrow")
    with torch.no_grad():  # statistics as training would leave them
        encoders.trunk.get_buffer("1_running_mean").uniform_(-0.1, 0.1, generator=torch.Generator().manual_seed(1))
    return build_detector(encoders, digits.train, digits.calibration, digits.class_names)


@pytest.mark.parametrize(("rule", "score"), SETTINGS[::4])
def test_a_file_with_a_trunk_answers_bit_for_bit(rule, score, with_trunk: Detector, digits, tmp_path: Path) -> None:
    detector = with_trunk.using(label_rule=rule, score=score)
    detector.save(tmp_path / "a.safetensors")
    loaded = Detector.load(tmp_path / "a.safetensors")
    images = digits.test.images[:70]
    assert same(detector.detect(images), loaded.detect(images))
    assert torch.equal(detector(images).logits, loaded(images).logits)
    assert torch.equal(detector(images).latents, loaded(images).latents)
    assert (loaded.fingerprint, loaded.network) == (detector.fingerprint, "c(3,8)-bn-relu c(3,8) | d(6) z(3,3)")
    assert loaded.parameters == sum(value.numel() for value in detector.encoders.parameters())
    for start in (0, 1, 33):
        rows = slice(start, start + 20)
        assert same(loaded.detect(images), loaded.detect(images[rows]), rows)


def test_a_trunk_is_in_the_file_once(with_trunk: Detector, tmp_path: Path) -> None:
    with_trunk.save(tmp_path / "a.safetensors")
    tensors = load_tensors(tmp_path / "a.safetensors", "detector")[0]
    leading = {name.split(".")[1]: set() for name in tensors if name.startswith("encoders.")}
    for name, tensor in tensors.items():
        if name.startswith("encoders."):
            leading[name.split(".")[1]].add(len(tensor))
    assert leading == {"trunk": {1}, "networks": {with_trunk.classes}}


@pytest.mark.parametrize("change", ["c(3,8)-bn-relu c(3,8) d(6) z(3,3)", "c(3,8)-bn-relu | c(3,8) d(6) z(3,3)",
                                    "c(3,8)-bn-relu c(3,8) d(6) | z(3,3)"])  # fmt: skip
def test_a_file_whose_bar_stands_elsewhere_is_refused(change: str, with_trunk: Detector, tmp_path: Path) -> None:
    with_trunk.save(tmp_path / "a.safetensors")
    tensors, description = load_tensors(tmp_path / "a.safetensors", "detector")
    save_tensors(tmp_path / "a.safetensors", "detector", tensors, description | {"encoder": change})
    with pytest.raises(TwinlatentError, match="does not hold a detector of this version") as caught:
        Detector.load(tmp_path / "a.safetensors")
    assert "\n" not in str(caught.value)


def test_a_rounded_detector_is_stored_in_half_the_room_and_loses_nothing_more(
    trained_detector: Detector, digits: Split, tmp_path: Path
) -> None:
    before = {name: tensor.clone() for name, tensor in trained_detector.encoders.state_dict().items()}
    made = rounded(trained_detector, digits.train, digits.calibration)
    trained_detector.save(tmp_path / "whole.safetensors")
    made.save(tmp_path / "half.safetensors")
    saved = 2 * sum(tensor.numel() for tensor in before.values())
    sizes = [(tmp_path / f"{name}.safetensors").stat().st_size for name in ("whole", "half")]
    assert abs(sizes[0] - sizes[1] - saved) < 200
    loaded, images = Detector.load(tmp_path / "half.safetensors"), digits.test.images
    assert torch.equal(loaded.detect(images).suspicion, made.detect(images).suspicion)
    assert loaded.encoders.state_dict().keys() == before.keys()
    for name, tensor in loaded.encoders.state_dict().items():
        assert tensor.dtype == torch.float32
        assert torch.equal(tensor, before[name].half().float())
        assert torch.equal(trained_detector.encoders.state_dict()[name], before[name])
    assert torch.equal(made.detect(images).label, trained_detector.detect(images).label)
    again = build_detector(loaded.encoders, digits.train, digits.calibration, made.class_names, made.settings)
    assert all(torch.equal(again.benign[rule].vulnerable, made.benign[rule].vulnerable) for rule in RULES)
    assert made.card["weights"] == "float16"
    assert made_with(loaded, digits)
