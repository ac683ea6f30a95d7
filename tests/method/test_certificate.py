"""Certificates: no point of a ball does what they rule out, and they rule out much; every rule, score and encoder."""

import math
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor

import twinlatent as tl
from twinlatent.data import Split
from twinlatent.errors import TwinlatentError
from twinlatent.method import certificate as module
from twinlatent.method.benign import BenignTable
from twinlatent.method.bounds import FLOAT32, ball, bound_latents, in_float64
from twinlatent.method.certificate import Certificate, Undecided, bound_outputs, certify, certify_rates
from twinlatent.method.class_vaes import ClassEncoders
from twinlatent.method.detector import Detector
from twinlatent.method.plans import plan

ENCODERS = (
    "c(3,8) z(4,4)",
    "c(3,8) mp(2) | z(3,2)",
    *(pytest.param(layers, marks=pytest.mark.slow) for layers in ("c(3,8) | z(4,4)", "c(3,8)-bn-relu z(4,4)")),
)
RULES, SCORES = ("nearest_mean", "density", "ratio"), ("vulnerable", "joint", "ratio")
ROUNDING = 5e-3
"""More than the rounding of most suspicions here."""
FEW = slice(40)
RADII = (0.0, 0.01, 0.02, 0.03, 0.05, 0.08, 0.12)


@pytest.fixture(scope="module", params=ENCODERS)
def detector(request: pytest.FixtureRequest, hardened: Callable[[str], Detector]) -> Detector:
    return hardened(request.param)


def every_setting(detector: Detector) -> Iterator[Detector]:
    for rule in RULES:
        for score in SCORES:
            yield detector.using(label_rule=rule, score=score)


def every_rule_and_score(detector: Detector) -> Iterator[Detector]:
    """Each once, where what is asked is the same of every pair."""
    for rule, score in zip(RULES, SCORES, strict=True):
        yield detector.using(label_rule=rule, score=score)


def broken(detector: Detector, points: Tensor, labels: Tensor, fpr: float = 0.05) -> Tensor:
    """Points that are misclassified and not flagged, bool (n,)."""
    verdict = detector.detect(points, fpr)
    return (verdict.label != labels) & ~verdict.adversarial


def attacked(detector: Detector, images: Tensor, labels: Tensor, epsilon: float, steps: int = 12) -> Tensor:
    """What PGD makes of each image for each wrong class, raising that class's log-ratio, (wrong classes · n, ...)."""
    found = []
    for shift in range(1, detector.classes):
        target, x = (labels + shift) % detector.classes, images.clone()
        for step in range(steps):
            x.requires_grad_()
            outputs = detector.using(label_rule="ratio", score="ratio").outputs(x)
            outputs.logits.gather(1, target[:, None]).sum().backward()
            assert x.grad is not None
            size = 2.5 * epsilon / steps * (1 - step / steps) + epsilon / steps
            x = (x.detach() + size * x.grad.sign()).clamp(images - epsilon, images + epsilon).clamp(0, 1)
        found.append(x)
    return torch.cat(found)


# --- what a certificate rules out does not happen ---------------------------------------------------------------------


def test_no_attack_succeeds_where_a_certificate_holds(detector: Detector, digits: Split) -> None:
    images, labels = digits.test.images[FEW], digits.test.labels[FEW]
    for epsilon in (0.02, 0.05):
        points = attacked(detector, images, labels, epsilon)
        for one in every_setting(detector):
            found = certify(one, images, labels, epsilon)
            won = broken(one, points, labels.repeat(detector.classes - 1)).view(-1, len(images)).any(0)
            assert not (won & found.holds).any()
            assert found.holds.double().mean() > (0.1 if epsilon < 0.03 else 0.0)


@pytest.mark.slow
def test_no_random_point_succeeds_where_a_certificate_holds(
    detector: Detector, digits: Split, generator: torch.Generator
) -> None:
    """10,000 points of a ball, half of them corners: of one for which it just holds, and of a smaller one."""
    images, labels = digits.test.images[FEW], digits.test.labels[FEW]
    held = torch.stack([certify(detector, images, labels, epsilon).holds for epsilon in RADII])
    last = int(held.any(1).sum()) - 1
    assert RADII[last] >= 0.05
    for number in (2, last):
        place = int(held[number].nonzero()[0, 0])
        image, label = images[place][None], labels[place][None]
        noise = torch.rand(10_000, *image.shape[1:], generator=generator) * 2 - 1
        noise[::2] = noise[::2].sign()
        points = (image + RADII[number] * noise).clamp(0, 1)
        decided = 0
        for one in every_setting(detector):
            if certify(one, image, label, RADII[number]).holds:
                decided += 1
                assert not broken(one, points, label.expand(len(points))).any()
        assert decided


def test_bounds_of_too_small_a_ball_are_found_out(
    hardened: Callable[[str], Detector], digits: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The attack above is strong enough to tell a certificate from one with an error."""
    detector, images, labels = hardened(ENCODERS[0]), digits.test.images[FEW], digits.test.labels[FEW]
    points = attacked(detector, images, labels, 0.15)
    won = broken(detector, points, labels.repeat(9)).view(9, -1).any(0)
    assert not (won & certify(detector, images, labels, 0.15).holds).any()
    monkeypatch.setattr(module, "ball_in", lambda _, images, epsilon: ball(images, epsilon / 3))
    assert (won & certify(detector, images, labels, 0.15).holds).any()


def test_a_detector_with_a_known_answer(digits: Split) -> None:
    """Of s_1 = ½ mean(x)² and s_0 = 0 the certificate holds up to the radius at which x + ε is no longer flagged."""
    encoders = ClassEncoders(plan("z(1,1)", (1, 8, 8), "encoder"), 2)
    for parameter in encoders.parameters():
        parameter.data.zero_()
        if parameter.ndim == 3:
            parameter.data[1, 1] = 1 / 64  # μ_v of class 1
    suspicion = -0.6 * torch.arange(1, 101) / 100
    table = BenignTable(torch.arange(100) % 2, torch.zeros(100), suspicion)
    detector = Detector(encoders, torch.zeros(2, 1), dict.fromkeys(RULES, table), ("zero", "one"))
    level = detector.calibration.thresholds(0.05)[1].item()
    image, label = digits.test.images[:1] * 0.5, torch.tensor([0])
    radius = math.sqrt(-2 * level) - image.mean().item()
    assert 0.01 < radius < 0.5
    for epsilon, lost in ((radius - 1e-4, False), (radius + 1e-4, True)):
        assert bool(certify(detector, image, label, epsilon).holds) is not lost
        assert bool(broken(detector, image + epsilon, label)) is lost


# --- what it says -----------------------------------------------------------------------------------------------------


def test_without_a_radius_it_says_what_detect_says(detector: Detector, digits: Split) -> None:
    images, labels = digits.test.images[::3], digits.test.labels[::3]
    for one in every_setting(detector):
        found, lost = certify(one, images, labels, 0.0), broken(one, images, labels)
        clear = found.margin.abs() > ROUNDING
        assert clear.double().mean() > 0.9
        assert torch.equal(found.holds[clear], ~lost[clear])
        assert not (found.holds & lost).any()
        assert found.rate == pytest.approx(1 - found.holds.double().mean().item())
    assert lost.any(), "an image that is lost as it is would tell more"


def test_it_never_holds_again_at_a_larger_radius(detector: Detector, digits: Split, monkeypatch) -> None:
    monkeypatch.setattr(module, "STEPS", (0,))  # more of them only move margins up, each by itself
    images, labels = digits.test.images[FEW], digits.test.labels[FEW]
    for one in every_rule_and_score(detector):
        margins = torch.stack([certify(one, images, labels, epsilon).margin for epsilon in RADII[::2]])
        assert (margins.diff(dim=0) <= 0).all()
        assert (margins[0] > margins[-1]).any()


def test_thresholds_of_all_classes_together_are_those_that_count(detector: Detector, digits: Split) -> None:
    together = detector.using(thresholds="together")
    images, labels = digits.test.images[:60], digits.test.labels[:60]
    found = tl.certify(together, images, labels, 0.02, 0.1)
    said = together.detect(images, 0.1)
    assert not (found.holds & (said.label != labels) & ~said.adversarial).any()
    own = tl.certify(detector, images, labels, 0.02, 0.1)
    level = together.calibration.thresholds(0.1)[0].double() - detector.calibration.thresholds(0.1).double()
    assert not torch.equal(found.margin, own.margin)
    assert ((found.margin - own.margin).abs() <= level.abs().max() + 1e-9).all()


def test_it_holds_more_often_where_more_is_flagged(detector: Detector, digits: Split) -> None:
    images, labels = digits.test.images[FEW], digits.test.labels[FEW]
    for one in every_rule_and_score(detector):
        found = certify_rates(one, images, labels, 0.02, (0.01, 0.05, 0.2))
        holds = torch.stack([each.holds for each in found]).int()
        assert (holds.diff(dim=0) >= 0).all()
        assert [each.fpr for each in found] == [0.01, 0.05, 0.2]
        alone = certify(one, images, labels, 0.02, 0.05)
        torch.testing.assert_close(alone.margin, found[1].margin)


def test_an_image_counts_for_itself(hardened: Callable[[str], Detector], digits: Split, monkeypatch) -> None:
    detector, images, labels = hardened(ENCODERS[0]), digits.test.images[:30], digits.test.labels[:30]
    whole = certify(detector, images, labels, 0.03)
    monkeypatch.setattr(module, "CERTIFIED_AT_ONCE", 7)
    torch.testing.assert_close(certify(detector, images, labels, 0.03).margin, whole.margin)
    found = [certify(detector, images[i : i + 1], labels[i : i + 1], 0.03) for i in range(30)]
    torch.testing.assert_close(torch.cat([one.margin for one in found]), whole.margin)
    assert torch.equal(torch.cat([one.target for one in found]), whole.target)
    assert not (whole.target == labels).any()


def test_what_a_detector_computes_lies_within_its_bounds(detector: Detector, digits: Split) -> None:
    """In float32, alone and in a batch; without the margin for rounding some of it would not."""
    images, outside = digits.test.images[FEW], 0
    for one in every_setting(detector):
        encoders, point = in_float64(one.encoders), ball(images.double(), 0.0)
        found = bound_outputs(one, bound_latents(encoders, point, FLOAT32))
        exact = bound_outputs(one, bound_latents(encoders, point))
        for size in (1, 32):
            answers = [one.outputs(some) for some in images.split(size)]
            for name in ("logits", "suspicion"):
                said = torch.cat([getattr(answer, name) for answer in answers]).double()
                bound = getattr(found, name)
                assert ((bound.lower <= said) & (said <= bound.upper)).all()
                assert (bound.upper - bound.lower).median() <= ROUNDING
                outside += int((said != (getattr(exact, name).lower + getattr(exact, name).upper) / 2).sum())
    assert outside, "there would be no rounding to account for"


# --- what it refuses --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"epsilon": 1.1}, "epsilon is 1.1; in L∞ give at most 1, the whole box"),
        ({"norm": "l1"}, "norm 'l1' is unknown; choose linf or l2"),
        ({"epsilon": -0.1}, "epsilon is -0.1; give a number of at least 0, such as 0.3"),
        ({"epsilon": float("nan")}, "epsilon is nan; give a number of at least 0, such as 0.3"),
        ({"fpr": 1.0}, "fpr is 1.0; give a rate between 0 and 1, such as 0.05"),
        ({"fpr": 1e-4}, "fpr 0.0001 is finer than"),
        ({"labels": torch.tensor([3, 10])}, "label 10 is none of the detector's; it has classes 0 to 9"),
        ({"labels": torch.tensor([3, -1])}, "labels go down to -1; number the classes 0, 1, ..."),
        ({"labels": torch.tensor([3])}, "2 images but 1 labels; give one label an image"),
        ({"labels": None}, "labels are None; give the true class of each image"),
        ({"images": torch.zeros(2, 1, 9, 9)}, r"images are \(1, 9, 9\) each, \(1, 8, 8\) is expected"),
        ({"images": torch.full((2, 1, 8, 8), 2.0)}, r"images reach from 2 to 2, outside \[0, 1\]"),
    ],
)
def test_what_makes_no_sense_is_refused_in_a_line(change, said: str, trained_detector: Detector, digits: Split) -> None:
    asked = {"images": digits.test.images[:2], "labels": digits.test.labels[:2], "epsilon": 0.1, "fpr": 0.05}
    with pytest.raises(TwinlatentError, match=said) as refusal:
        certify(trained_detector, **(asked | change))
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("other", ["mnist-mim", torch.nn.Linear(2, 2), None])
def test_other_detectors_are_left_undecided(other: object, digits: Split) -> None:
    with pytest.raises(Undecided, match=r"no bound is known for a (str|Linear|NoneType); give a detector that"):
        certify(other, digits.test.images[:2], digits.test.labels[:2], 0.1)  # type: ignore[arg-type]


def test_it_is_public() -> None:
    assert (tl.certify, tl.Certificate, tl.Undecided) == (certify, Certificate, Undecided)
    assert issubclass(Undecided, TwinlatentError)


def test_certificates_in_l2_hold_too(hardened: Callable[[str], Detector], digits: Split) -> None:
    """No point of the ball does what they rule out, and they rule out more than those of the box around it."""
    detector = hardened("c(3,8) | z(4,4)")
    images, labels, epsilon = digits.test.images[FEW], digits.test.labels[FEW], 0.06
    found = certify(detector, images, labels, epsilon, norm="l2")
    assert found.norm == "l2"
    assert found.rate < certify(detector, images, labels, epsilon).rate
    for shift in range(1, detector.classes):
        x, target = images.clone(), (labels + shift) % detector.classes
        for _ in range(10):
            x.requires_grad_()
            (gradient,) = torch.autograd.grad(detector.outputs(x).logits.gather(1, target[:, None]).sum(), x)
            x = (images + epsilon * gradient / gradient.flatten(1).norm(dim=1)[:, None, None, None]).clamp(0, 1)
        assert not (broken(detector, x, labels) & found.holds).any()
