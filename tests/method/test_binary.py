"""The binary detector beside the encoders: it only adds, it is kept, it learns, and what is proved without it holds."""

import copy
from pathlib import Path

import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor
from torch.nn import functional as F

import twinlatent as tl
import twinlatent.method.binary as binary_module
from twinlatent.attacks import fgsm, mim, pgd
from twinlatent.data import LabelledImages, Split
from twinlatent.data.augmentation import Augmentation
from twinlatent.errors import TwinlatentError
from twinlatent.method.binary import BinarySettings, train_binary
from twinlatent.method.certificate import certify
from twinlatent.method.checkpoints import load_tensors, save_tensors
from twinlatent.method.detector import Detector, build_detector
from twinlatent.method.fit import fit_split
from twinlatent.method.game_state import GameSettings
from twinlatent.method.networks import build_classifier
from twinlatent.torch_state import CPU

LAYERS = "c(3,16) c(3,16,2) d(32)"
SCORES = ("vulnerable", "joint", "ratio")


def watched(detector: Detector, split: Split, share: float = 0.5) -> Detector:
    """The detector with a binary network of made-up weights beside it, which flags that share; calibrated anew."""
    encoders = copy.deepcopy(detector.encoders)
    with torch.random.fork_rng():
        torch.manual_seed(3)
        encoders.binary = build_classifier("c(3,4,2) d(8) sm(1)", split.image_shape)
    with torch.no_grad():
        for parameter in encoders.binary.layers[-1].parameters():
            parameter.mul_(20)
        encoders.binary.layers[-1].bias.sub_(encoders.binary(split.train.images).quantile(1 - share))
    return build_detector(encoders, split.train, split.calibration, split.class_names, detector.settings)


@pytest.fixture(scope="module")
def both(trained_detector: Detector, digits: Split) -> tuple[Detector, Detector]:
    """A detector without, and with one."""
    return trained_detector, watched(trained_detector, digits)


def added_to(detector: Detector, images: Tensor) -> Tensor:
    assert detector.encoders.binary is not None
    return F.relu(detector.encoders.binary(images)[:, 0])


@pytest.mark.parametrize("score", ["vulnerable", "ratio"])
def test_it_adds_its_positive_logit_to_the_suspicion_of_every_class_and_changes_no_label(score, both, digits) -> None:
    without, with_ = (detector.using(score=score) for detector in both)
    images = digits.test.images[:60]
    before, after, added = without.outputs(images), with_.outputs(images), added_to(with_, images)
    assert 5 < (added > 0).sum() < 55
    torch.testing.assert_close(after.suspicion, before.suspicion + added[:, None])
    assert torch.equal(after.logits, before.logits)


def test_no_score_falls_by_it(both, digits: Split) -> None:
    """The levels of `joint` are those of benign images, with it; at the same levels it only adds."""
    without, with_ = both
    scales = {rule: without.using(label_rule=rule).levels for rule in ("nearest_mean", "density", "ratio")}
    same = Detector(with_.encoders, with_.class_means, with_.benign, with_.class_names, with_.settings, scales=scales)
    for score in SCORES:
        before, after = (d.using(score=score).outputs(digits.test.images[:60]).suspicion for d in (without, same))
        assert (after >= before).all()
        assert (after > before).any()


def test_thresholds_are_those_of_the_sum(both, digits: Split) -> None:
    _, with_ = both
    calibration = digits.calibration.images
    flagged = with_.detect(calibration, 0.1).adversarial.double().mean()
    assert flagged == pytest.approx(0.1, abs=0.06)
    assert with_.calibration.thresholds(0.1).gt(both[0].calibration.thresholds(0.1)).any()


def test_its_gradient_reaches_the_images(both, digits: Split) -> None:
    _, with_ = both
    images = digits.test.images[:40].clone().requires_grad_()
    (whole,) = torch.autograd.grad(with_.outputs(images).suspicion_of_label.sum(), images)
    (of_encoders,) = torch.autograd.grad(both[0].outputs(images).suspicion_of_label.sum(), images)
    (own,) = torch.autograd.grad(added_to(with_, images).sum(), images)
    torch.testing.assert_close(whole, of_encoders + own, rtol=1e-4, atol=1e-4)
    assert own.abs().amax() > 0.1


def test_a_file_keeps_it_and_the_fingerprint_tells_it(both, digits: Split, tmp_path: Path) -> None:
    without, with_ = both
    with_.save(tmp_path / "a.safetensors")
    again = Detector.load(tmp_path / "a.safetensors")
    assert again.fingerprint == with_.fingerprint != without.fingerprint
    assert torch.equal(again.outputs(digits.test.images).suspicion, with_.outputs(digits.test.images).suspicion)
    assert again.network == with_.network == f"{without.network}, binary c(3,4,2) d(8) sm(1)"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("c(3,4,2) d(8) sm(2)", "its binary detector does not end in sm"),
        ("c(3,4,2) d(900000) sm(1)", "weights and more, and there are"),
        ("c(3,4,2) d(9) sm(1)", "size mismatch"),
        ("c(3,4,2) q(8) sm(1)", "q"),
    ],
)
def test_a_file_with_a_network_that_is_not_there_is_refused(text, reason, both, tmp_path: Path) -> None:
    tensors, description = both[1].contents()
    path = tmp_path / "a.safetensors"
    save_tensors(path, "detector", tensors, description | {"binary": text})
    assert load_tensors(path, "detector")[1]["binary"] == text
    with pytest.raises(TwinlatentError, match=reason):
        Detector.load(path)


def test_an_exported_one_answers_alike(both, digits: Split, tmp_path: Path) -> None:
    for name in ("onnx", "onnxruntime"):
        pytest.importorskip(name, reason="needs the extra export")
    images = digits.test.images[:100]
    for score in SCORES:
        detector = both[1].using(score=score)
        tl.to_onnx(detector, tmp_path / f"{score}.onnx", [0.1])
        wanted, found = detector.detect(images, 0.1), tl.OnnxDetector(tmp_path / f"{score}.onnx").detect(images, 0.1)
        torch.testing.assert_close(found.suspicion, wanted.suspicion, rtol=1e-4, atol=1e-4)
        assert torch.equal(found.label, wanted.label)
        assert torch.equal(found.adversarial, wanted.adversarial)


def test_a_proof_of_the_encoders_holds_and_no_attack_passes_it(hardened, digits: Split) -> None:
    """At the thresholds of the sum, which images of both kinds have; an attack knows the sum."""
    detector = watched(hardened("c(3,8) d(32) z(2,2)"), digits, share=0.05)
    images, labels = digits.test.images[:100], digits.test.labels[:100]
    certificate = certify(detector, images, labels, 0.03, 0.1)
    assert 10 < certificate.holds.sum() < 100
    attacked = pgd(detector, images, labels, epsilon=0.03, steps=20).images
    verdict = detector.detect(attacked, 0.1)
    assert not ((verdict.label != labels) & ~verdict.adversarial & certificate.holds).any()


# --- its training -------------------------------------------------------------------------------------------------


def small(**changes: object) -> BinarySettings:
    return BinarySettings(layers=LAYERS, surrogate="c(3,8) mp(2) d(32)", epsilon=0.4, **changes)


@pytest.mark.slow
def test_it_tells_attacks_on_another_surrogate_and_bears_mild_changes(digits: Split) -> None:
    binary = train_binary(digits.train, 10, small(rounds=250), Augmentation(), seed=0, device=CPU, progress=False)
    judge = build_classifier("c(5,8) mp(2) d(24) sm(10)", digits.image_shape)
    optimiser = torch.optim.Adam(judge.parameters(), 1e-2)
    for _ in range(60):
        loss = F.cross_entropy(judge(digits.train.images), digits.train.labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    images, labels = digits.test.images[:200], digits.test.labels[:200]
    for attack in (fgsm, mim):
        attacked = attack(judge.requires_grad_(False), images, labels, epsilon=0.3).images
        said = torch.cat([binary(images), binary(attacked)])[:, 0]
        assert roc_auc_score([0] * 200 + [1] * 200, said) > 0.95
    assert (binary(images) > 0).double().mean() < 0.05
    assert (binary((0.9 * images + 0.03).clamp(0, 1)) > 0).double().mean() < 0.1


def test_same_seed_same_network_and_the_last_layer_has_the_weight(digits: Split) -> None:
    def trained(weight: float, seed: int = 1) -> list[Tensor]:
        settings = small(rounds=3, weight=weight)
        made = train_binary(digits.train, 10, settings, Augmentation(), seed=seed, device=CPU, progress=False)
        return [*made.parameters()]

    one, same, heavier, other = trained(1.0), trained(1.0), trained(3.0), trained(1.0, 2)
    assert all(torch.equal(a, b) for a, b in zip(one, same, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(one[:-2], heavier[:-2], strict=True))
    torch.testing.assert_close(heavier[-2:], [3 * value for value in one[-2:]])
    assert not torch.equal(one[0], other[0])


@pytest.mark.parametrize(("setting", "layers"), [("layers", "c(3,4) sm(2)"), ("surrogate", "d(8) z(2,2)")])
def test_layers_that_are_none_are_named(setting: str, layers: str, digits: Split) -> None:
    settings = small().model_copy(update={setting: layers})
    with pytest.raises(TwinlatentError, match=f"setting binary.{setting}, to which sm"):
        train_binary(digits.train, 10, settings, Augmentation(), seed=0, device=CPU, progress=False)


@pytest.fixture
def settings() -> GameSettings:
    return GameSettings(encoder="c(3,8) z(6,6)", decoder="d(24) d(64)", rounds=0, binary=small(rounds=5))


def test_no_rounds_leave_the_encoders_of_the_start(trained_detector, settings, digits: Split, tmp_path: Path) -> None:
    made = fit_split(digits, settings=settings, start=trained_detector, progress=False, folder=tmp_path / "run")
    assert made.encoders.binary is not None
    assert made.card["seconds"] == made.card["seconds_binary"] > 0
    assert made.card["start"]["seconds"] == trained_detector.card["seconds"]
    for name, value in trained_detector.encoders.state_dict().items():
        assert torch.equal(made.encoders.state_dict()[name], value)
    resumed = fit_split(digits, settings=settings, start=trained_detector, progress=False, folder=tmp_path / "run",
                        resume=True)  # fmt: skip
    assert resumed.fingerprint == made.fingerprint
    further = fit_split(digits, settings=settings, start=made, progress=False)  # its own is not taken over
    assert further.fingerprint == made.fingerprint
    assert further.card["start"] == made.card["start"]  # encoders of the same training


def test_several_surrogates_are_attacked_by_turns(digits: Split, monkeypatch) -> None:
    attacked, attack = [], binary_module._attacked

    def noted(surrogate, *rest):
        attacked.append(surrogate)
        return attack(surrogate, *rest)

    monkeypatch.setattr(binary_module, "_attacked", noted)
    settings = small(rounds=8).model_copy(update={"surrogate": "c(3,4,2) d(8); d(9)"})
    train_binary(digits.train, 10, settings, Augmentation(), seed=0, device=CPU, progress=False)
    first, second = attacked[0], attacked[3]
    assert attacked == 3 * [first] + 3 * [second] + 2 * [first]
    assert [len(network.layers) for network in (first, second)] == [6, 4]
    accuracies = [(n(digits.train.images).argmax(1) == digits.train.labels).double().mean() for n in (first, second)]
    assert min(accuracies) > 0.13  # of ten classes: both learn


def test_no_rounds_need_a_start(settings: GameSettings, digits: Split) -> None:
    with pytest.raises(TwinlatentError, match="rounds is 0, and there is nothing to start from; give a detector"):
        fit_split(digits, settings=settings, progress=False)


def test_a_class_without_images_is_named(three_digits: LabelledImages) -> None:
    with pytest.raises(TwinlatentError, match="class 3 has no training images"):
        train_binary(three_digits, 4, small(), Augmentation(), seed=0, device=CPU, progress=False)
