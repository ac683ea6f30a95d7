"""The detector on a small trained model: every answer against the formulas, from separate class networks."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from twinlatent.attacks import pgd
from twinlatent.data import LabelledImages, Split
from twinlatent.digest import digest
from twinlatent.errors import TwinlatentError
from twinlatent.method.calibrated import CHUNK
from twinlatent.method.class_vaes import ClassEncoders
from twinlatent.method.detector import Detector, DetectorSettings, build_detector
from twinlatent.method.plans import plan
from twinlatent.method.verdicts import PARTS, Verdict
from twinlatent.outputs import Outputs

RULES, SCORES = ("nearest_mean", "density", "ratio"), ("vulnerable", "joint", "ratio")
SETTINGS = [(rule, score) for rule in RULES for score in SCORES]


def log_normal(z: Tensor) -> Tensor:
    return torch.distributions.Normal(0.0, 1.0).log_prob(z).sum(-1)


def means_of(detector: Detector, images: Tensor) -> tuple[Tensor, Tensor]:
    """μ_r and μ_v of every class, (n, C, Z), by one separate network after another."""
    size = detector.encoders.robust_size
    out = [detector.encoders.networks.single(c).eval()(images).detach() for c in range(detector.classes)]
    stacked = torch.stack(out, 1)
    return stacked[..., :size], stacked[..., size : size + detector.encoders.vulnerable_size]


@pytest.fixture(scope="module")
def literal(trained_detector: Detector, digits: Split):
    """For any settings: (images → logits, suspicion, robust), and the benign labels and scores, from the formulas."""

    def answers(rule: str, score: str, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        mean_r, mean_v = means_of(trained_detector, images)
        robust, vulnerable = log_normal(mean_r), log_normal(mean_v)
        logits = {
            "nearest_mean": -((mean_r - trained_detector.class_means) ** 2).sum(-1),
            "density": robust,
            "ratio": robust - vulnerable,
        }[rule]
        if score == "joint":
            benign_r, benign_v, labels = levels(rule)
            rows = []
            for c in range(trained_detector.classes):
                own = labels == c
                high = (vulnerable[:, c] - benign_v[own].mean()) / benign_v[own].std(unbiased=False)
                low = (benign_r[own].mean() - robust[:, c]) / benign_r[own].std(unbiased=False)
                rows.append(torch.maximum(high, low))
            return logits, torch.stack(rows, 1), robust
        return logits, {"vulnerable": vulnerable, "ratio": vulnerable - robust}[score], robust

    def levels(rule: str) -> tuple[Tensor, Tensor, Tensor]:
        images = digits.calibration.images
        labels = answers(rule, "vulnerable", images)[0].argmax(1)
        mean_r, mean_v = means_of(trained_detector, images)
        rows = torch.arange(len(images))
        return log_normal(mean_r)[rows, labels], log_normal(mean_v)[rows, labels], labels

    answers.levels = levels
    return answers


# --- labels and scores --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("rule", "score"), SETTINGS)
def test_outputs_are_the_formulas(rule, score, trained_detector: Detector, digits: Split, literal) -> None:
    images = digits.test.images[:40]
    detector = trained_detector.using(label_rule=rule, score=score)
    outputs = detector(images)
    assert isinstance(outputs, Outputs)
    logits, suspicion, robust = literal(rule, score, images)
    torch.testing.assert_close(outputs.logits, logits, atol=2e-4, rtol=1e-4)
    told = literal.levels(rule)[2].bincount(minlength=10) > 2  # of the others `joint` has no level of their own
    assert told.sum() >= 5
    torch.testing.assert_close(outputs.suspicion[:, told], suspicion[:, told], atol=2e-3, rtol=1e-3)
    torch.testing.assert_close(outputs.robust, robust, atol=2e-4, rtol=1e-4)


@pytest.mark.parametrize(("rule", "score"), SETTINGS)
def test_a_verdict_is_the_formulas(rule, score, trained_detector: Detector, digits: Split, literal) -> None:
    images = digits.test.images[:60]
    verdict = trained_detector.using(label_rule=rule, score=score).detect(images, fpr=0.1)
    logits, suspicion, _ = literal(rule, score, images)
    labels = logits.argmax(1)
    assert verdict.label.tolist() == labels.tolist()
    mine = suspicion[torch.arange(60), labels]
    assert (literal.levels(rule)[2].bincount(minlength=10)[labels] > 2).all()
    torch.testing.assert_close(verdict.suspicion, mine, atol=2e-3, rtol=1e-3)
    calibration_logits, benign, _ = literal(rule, score, digits.calibration.images)
    benign_labels = calibration_logits.argmax(1)
    benign = benign[torch.arange(len(benign)), benign_labels]
    for i in range(60):
        own = benign[benign_labels == labels[i]]
        pool = own if len(own) >= 9 else benign  # enough for a rate of .1
        if (pool - mine[i]).abs().min() < 1e-3:
            continue  # too close to call for another order of additions
        p = (1 + (pool >= mine[i]).sum().item()) / (len(pool) + 1)
        assert verdict.p_value[i].item() == pytest.approx(p, abs=1e-6)
        assert verdict.adversarial[i].item() == (p <= 0.1)


def test_class_means_are_those_of_the_training_images(trained_detector: Detector, digits: Split) -> None:
    mean_r, _ = means_of(trained_detector, digits.train.images)
    expected = torch.stack([mean_r[digits.train.labels == c, c].mean(0) for c in range(10)])
    torch.testing.assert_close(trained_detector.class_means, expected, atol=1e-4, rtol=1e-4)


def test_the_default_settings_are_used(trained_detector: Detector, digits: Split) -> None:
    x, settings = digits.test.images[:5], DetectorSettings()
    named = trained_detector.using(label_rule=settings.label_rule, score=settings.score)
    assert torch.equal(trained_detector(x).suspicion, named(x).suspicion)
    changed = trained_detector.using(score="vulnerable")
    assert changed.settings == DetectorSettings(label_rule=settings.label_rule, score="vulnerable")
    assert trained_detector.settings == settings


def test_together_all_classes_share_a_threshold(trained_detector: Detector, digits: Split, tmp_path: Path) -> None:
    together = trained_detector.using(thresholds="together")
    levels, own = (each.calibration.thresholds(0.05) for each in (together, trained_detector))
    assert len(levels.unique()) == 1 < len(own.unique())
    flagged, apart = (each.detect(digits.calibration.images, 0.05) for each in (together, trained_detector))
    assert torch.equal(flagged.suspicion, apart.suspicion)
    assert not torch.equal(flagged.adversarial, apart.adversarial)
    assert torch.equal(flagged.adversarial, flagged.p_value <= 0.05)
    assert torch.equal(together.bounds(0.05).thresholds[0.05], levels)
    together.save(tmp_path / "d.safetensors")
    assert torch.equal(Detector.load(tmp_path / "d.safetensors").calibration.thresholds(0.05), levels)
    assert together.using(score="joint").calibration.together


def test_a_detector_with_thresholds_of_its_classes_is_known_by_what_it_was_before(trained_detector: Detector) -> None:
    """Work that was begun with a file of before there was a choice goes on."""
    before = type("DetectorSettings", (), {"__repr__": lambda _: "DetectorSettings(label_rule='ratio', score='ratio')"})
    assert (trained_detector.label_rule, trained_detector.score) == ("ratio", "ratio")
    parts = (before(), trained_detector.encoders, trained_detector.class_means, trained_detector.benign)
    assert trained_detector.fingerprint == digest(list(parts))
    assert trained_detector.using(thresholds="together").fingerprint != trained_detector.fingerprint


@pytest.mark.parametrize("wrong", [{"label_rule": "best"}, {"score": "high"}, {"thresholds": "one"}])
def test_unknown_rules_and_scores_are_refused(trained_detector: Detector, wrong: dict[str, str]) -> None:
    with pytest.raises(TwinlatentError, match=f"setting {next(iter(wrong))} = .*choose from"):
        trained_detector.using(**wrong)
    with pytest.raises(ValueError, match="validation error"):
        DetectorSettings(**wrong)


# --- bounds and operating points ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("rule", "score"), SETTINGS)
def test_bounds_are_benign_levels(rule, score, trained_detector: Detector, digits: Split, literal) -> None:
    detector = trained_detector.using(label_rule=rule, score=score)
    bounds = detector.bounds(0.05, 0.1)
    robust, _, labels = literal.levels(rule)
    suspicion = literal(rule, score, digits.calibration.images)[1][torch.arange(len(labels)), labels]
    for c in range(10):
        own = labels == c if (labels == c).any() else torch.ones_like(labels, dtype=torch.bool)
        assert bounds.robust_mean[c].item() == pytest.approx(robust[own].mean().item(), rel=1e-3)
        assert bounds.suspicion_mean[c].item() == pytest.approx(suspicion[own].mean().item(), rel=1e-3, abs=1e-3)
    assert set(bounds.thresholds) == {0.05, 0.1}
    assert torch.equal(bounds.thresholds[0.1], detector.calibration.thresholds(0.1))
    assert (bounds.thresholds[0.1] <= bounds.thresholds[0.05]).all()


@pytest.mark.parametrize(("rule", "score"), SETTINGS)
@pytest.mark.parametrize("fpr", [0.05, 0.1, 0.3])
def test_benign_images_are_flagged_at_about_the_rate(
    rule, score, fpr, trained_detector: Detector, digits: Split
) -> None:
    detector = trained_detector.using(label_rule=rule, score=score)
    verdict = detector.detect(digits.calibration.images, fpr)
    for c in range(10):
        own = verdict.label == c
        count = int(own.sum())
        if fpr * (count + 1) < 1:
            continue
        allowed = math.floor(fpr * (count + 1) + 1e-9) - 1  # the k-th largest of n is the threshold and not above it
        assert int(verdict.adversarial[own].sum()) == allowed
    test = detector.detect(digits.test.images, fpr).adversarial.double().mean().item()
    assert test <= fpr + 4 * math.sqrt(fpr * (1 - fpr) / len(digits.test))


def test_calibration_images_score_as_they_did(trained_detector: Detector, digits: Split) -> None:
    for score in SCORES:
        detector = trained_detector.using(score=score)
        verdict = detector.detect(digits.calibration.images, 0.1)
        for c in range(10):
            assert verdict.suspicion[verdict.label == c].sort().values.equal(detector.calibration.scores[c])


@pytest.mark.parametrize("fpr", [0.0, 1.0, float("nan"), 1e-9])
def test_rates_that_cannot_be_told_are_refused(trained_detector: Detector, digits: Split, fpr: float) -> None:
    with pytest.raises(TwinlatentError, match="fpr"):
        trained_detector.detect(digits.test.images[:1], fpr)


def test_a_flag_is_a_p_value_within_the_rate(trained_detector: Detector, digits: Split, generator) -> None:
    images = torch.cat([digits.test.images, torch.rand(100, 1, 8, 8, generator=generator)])
    before = torch.zeros(len(images), dtype=torch.bool)
    for fpr in (0.01, 0.05, 0.1, 0.5):
        verdict = trained_detector.detect(images, fpr)
        assert torch.equal(verdict.adversarial, verdict.p_value <= fpr)
        assert (verdict.adversarial | ~before).all(), "flagged at a smaller rate and not at this one"
        before = verdict.adversarial


# --- detect: any images, one verdict each -------------------------------------------------------------------------


def same(a: Verdict, b: Verdict, index: Tensor | slice = slice(None)) -> bool:
    return all(torch.equal(getattr(a, name)[index], getattr(b, name)) for name in PARTS)


@pytest.mark.parametrize("count", [1, 3, CHUNK, CHUNK + 1, 70])
def test_a_verdict_does_not_depend_on_the_batch(count: int, trained_detector: Detector, digits: Split) -> None:
    images = digits.test.images[:200]
    whole = trained_detector.detect(images)
    for start in range(0, 200 - count, 29):
        rows = slice(start, start + count)
        assert same(whole, trained_detector.detect(images[rows]), rows)


def test_nor_on_the_order(trained_detector: Detector, digits: Split, generator) -> None:
    images = digits.test.images[:200]
    order = torch.randperm(200, generator=generator)
    assert same(trained_detector.detect(images), trained_detector.detect(images[order]), order)


def test_nor_do_larger_images(real_images, generator) -> None:
    encoders = ClassEncoders(plan("3(c(4,16)) z(8,8)", (1, 28, 28), "encoder"), 10, generator)
    images = real_images(75, 28)
    data = LabelledImages(images, torch.arange(75) % 10)
    detector = build_detector(encoders, data, data, tuple("0123456789"))
    whole, order = detector.detect(images, 0.1), torch.randperm(75, generator=generator)
    assert same(whole, detector.detect(images[order], 0.1), order)
    for rows in (slice(0, 1), slice(7, 10), slice(40, 75)):
        assert same(whole, detector.detect(images[rows], 0.1), rows)


@pytest.mark.parametrize("empty", [torch.zeros(0, 1, 8, 8), np.zeros((0, 1, 8, 8), np.float32)])
def test_no_images_get_no_verdict(empty, trained_detector: Detector) -> None:
    verdict = trained_detector.detect(empty)
    kinds = {"label": torch.int64, "adversarial": torch.bool, "suspicion": torch.float32, "p_value": torch.float32}
    for name, dtype in kinds.items():
        value = getattr(verdict, name)
        assert value.shape == (0,)
        assert value.dtype == dtype


def test_every_image_gets_a_verdict(trained_detector: Detector, digits: Split, generator) -> None:
    images = torch.cat(
        [
            *(torch.full((1, 1, 8, 8), value) for value in (0.0, 1.0, 0.5, 1e-40)),
            torch.rand(20, 1, 8, 8, generator=generator),
            torch.rand(20, 1, 8, 8, generator=generator).round(),
            digits.test.images[:3],
        ]
    )
    for rule, score in SETTINGS:
        verdict = trained_detector.using(label_rule=rule, score=score).detect(images)
        assert verdict.suspicion.isfinite().all()
        assert ((verdict.p_value > 0) & (verdict.p_value <= 1)).all()
        assert ((verdict.label >= 0) & (verdict.label < 10)).all()


@pytest.mark.parametrize("kind", ["float64", "array", "fortran", "strided", "gradient", "half"])
def test_kinds_of_images(kind: str, trained_detector: Detector, digits: Split) -> None:
    images = digits.test.images[:5]
    given = {
        "float64": lambda: images.double(),
        "array": lambda: images.numpy(),
        "fortran": lambda: np.asfortranarray(images.numpy().astype(np.float64)),
        "strided": lambda: digits.test.images[:9][::2],
        "gradient": lambda: images.clone().requires_grad_(),
        "half": lambda: images.half(),  # 16ths: nothing is lost
    }[kind]()
    plain = digits.test.images[:9][::2].clone() if kind == "strided" else images
    verdict = trained_detector.detect(given)
    assert same(verdict, trained_detector.detect(plain))
    assert not verdict.suspicion.requires_grad


GOOD = torch.full((2, 1, 8, 8), 0.5)


@pytest.mark.parametrize(
    ("images", "complaint"),
    [
        (GOOD * torch.nan, "NaN"),
        (GOOD * torch.inf, "NaN or infinity"),
        (GOOD + 1, r"outside \[0, 1\]"),
        (GOOD - 1, r"outside \[0, 1\]"),
        (GOOD * 255, "divide by 255"),
        (GOOD.to(torch.uint8), "uint8"),
        (GOOD[0], "shape"),
        (GOOD[:, 0], "shape"),
        (GOOD.expand(2, 3, 8, 8), "shape"),
        (GOOD[..., :7], "expected"),
        (torch.zeros(0, 1, 7, 8), "shape"),
        (GOOD.tolist(), "list"),
        (None, "NoneType"),
    ],
)
def test_other_images_are_refused(images: object, complaint: str, trained_detector: Detector) -> None:
    with pytest.raises(TwinlatentError, match=complaint):
        trained_detector.detect(images)


# --- what is attacked ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("rule", "score"), SETTINGS)
def test_outputs_are_differentiable(rule, score, trained_detector: Detector, digits: Split) -> None:
    detector = trained_detector.using(label_rule=rule, score=score)
    x = digits.test.images[:6].clone().requires_grad_()
    outputs = detector(x)
    for answer in (outputs.logits, outputs.suspicion_of_label, outputs.robust):
        (gradient,) = torch.autograd.grad(answer.square().sum(), x, retain_graph=True)
        assert gradient.isfinite().all()
        assert (gradient.flatten(1).abs().sum(1) > 0).all()


def test_an_attack_changes_what_the_detector_says(trained_detector: Detector, digits: Split) -> None:
    images, labels = digits.test.images[:64], digits.test.labels[:64]
    result = pgd(trained_detector, images, labels, epsilon=0.2, steps=10, step_size=0.05)
    assert result.success.sum() > (trained_detector(images).labels != labels).sum()
    assert not any(parameter.requires_grad for parameter in trained_detector.encoders.parameters())


# --- other ways to have one ---------------------------------------------------------------------------------------


def test_a_copy_on_a_device_is_the_same_and_separate(trained_detector: Detector, digits: Split) -> None:
    images = digits.test.images[:10]
    copy = trained_detector.to("cpu")
    assert copy.device == torch.device("cpu")
    assert same(trained_detector.detect(images), copy.detect(images))
    before = trained_detector(images).logits
    for parameter in copy.encoders.parameters():
        parameter.data.zero_()
    assert torch.equal(trained_detector(images).logits, before)


def test_building_freezes_the_encoders(digits: Split, generator) -> None:
    encoders = ClassEncoders(plan("c(3,4)-bn-relu z(3,2)", (1, 8, 8), "encoder"), 10, generator)
    statistics = encoders.networks.get_buffer("1_running_mean").clone()
    detector = build_detector(encoders, digits.train, digits.calibration, digits.class_names)
    assert not encoders.training
    assert not any(parameter.requires_grad for parameter in encoders.parameters())
    assert torch.equal(encoders.networks.get_buffer("1_running_mean"), statistics)
    assert detector.detect(digits.test.images[:3], 0.3).label.shape == (3,)
    assert detector.card == {}


def test_calibration_images_are_needed(digits: Split, generator) -> None:
    encoders = ClassEncoders(plan("c(3,4) z(3,2)", (1, 8, 8), "encoder"), 10, generator)
    with pytest.raises(TwinlatentError, match="0 calibration images"):
        build_detector(encoders, digits.train, digits.calibration.subset(slice(0)), digits.class_names)


def made_with(detector: Detector, split: Split) -> bool:
    """Whether it knows the images that it was made with, and no others."""
    assert detector.seen is not None
    parts = (split.train, split.calibration, split.test)
    shares = [[some.double().mean().item() for some in detector.seen.among(part.images)] for part in parts]
    return shares == [[1, 0], [0, 1], [0, 0]]
