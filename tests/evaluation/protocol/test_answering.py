"""Simpler answers than `Outputs` become `Outputs`; what is no answer is refused in a line that mends it."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import twinlatent as tl
from twinlatent.data import Split
from twinlatent.errors import TwinlatentError
from twinlatent.evaluation.protocol.foreign import detector_of
from twinlatent.method.verdicts import PARTS

torch.manual_seed(0)
WEIGHTS = torch.randn(64, 10)


def logits_of(images: Tensor) -> Tensor:
    return images.flatten(1) @ WEIGHTS


def one_of(images: Tensor) -> Tensor:
    """A suspicion an image."""
    return images.mean((1, 2, 3))


def every_of(images: Tensor) -> Tensor:
    """The same for each class."""
    return one_of(images)[:, None].expand(-1, 10)


def whole(images: Tensor) -> tl.Outputs:
    return tl.Outputs(logits_of(images), every_of(images))


ALIKE = [
    (logits_of, one_of),
    [logits_of, every_of],
    (logits_of, lambda images: one_of(images)[:, None]),
    lambda images: tl.Outputs(logits_of(images), one_of(images)),
    lambda images: tl.Outputs(logits_of(images), one_of(images)[:, None]),
]


@pytest.mark.parametrize("model", ALIKE, ids=["pair", "list", "column", "outputs", "outputs column"])
def test_simpler_forms_are_calibrated_detected_and_attacked_like_outputs(model, digits: Split) -> None:
    images, labels = digits.test.images[:20], digits.test.labels[:20]
    with detector_of(whole, digits, "a") as wanted, detector_of(model, digits, "a") as detector:
        one, two = wanted.detect(images), detector.detect(images)
        assert all(torch.equal(getattr(one, part), getattr(two, part)) for part in PARTS)
        goal = tl.criteria.Misclassified() & tl.criteria.Undetected(wanted.bounds(0.05), 0.05)
        found = [tl.attacks.pgd(one, images, labels, epsilon=0.2, step_size=0.05, steps=3, criterion=goal)
                 for one in (wanted, detector)]  # fmt: skip
        assert torch.equal(found[0].images, found[1].images)


def test_a_pair_of_modules_is_frozen_counted_and_told_apart(digits: Split) -> None:
    def layers(out: int) -> nn.Sequential:
        return nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(64, out))

    logits, suspicion, said = layers(10), layers(1), list[str]()
    with detector_of((logits, suspicion), digits, say=said.append) as detector:
        assert not logits[1].training
        assert not suspicion[1].training
        assert not any(p.requires_grad for p in (*logits.parameters(), *suspicion.parameters()))
        assert (detector.method, detector.network) == ("Sequential and Sequential",) * 2
        assert detector.parameters == 650 + 65
        first = detector.fingerprint
    assert logits[1].training
    assert suspicion[1].training
    assert len(said) == 1, "both were in training mode"
    with detector_of((logits, layers(1)), digits, say=[].append) as detector:
        assert detector.fingerprint != first


def answering(change: Callable[[tl.Outputs], object]) -> Callable[[Tensor], object]:
    def model(images: Tensor) -> object:
        return change(whole(images))

    return model


RETURN = r"return twinlatent\.Outputs\(logits, suspicion\)"
REFUSED = [
    (answering(lambda o: o.logits), f"a Tensor, which lacks a suspicion; {RETURN}, or give a pair .*, or --rejecting$"),
    (answering(lambda o: (o.logits, o.suspicion[:, 0])), rf"a tuple of 2 \(\(8, 10\), \(8,\)\); {RETURN}$"),
    (answering(lambda o: [o.logits, None]), r"a list of 2 \(\(8, 10\), NoneType\); return"),
    (answering(lambda o: {"logits": o.logits}), "answers images with a dict; return"),
    (answering(lambda o: tl.Outputs(o.logits.tolist(), o.suspicion)), "logits are a list"),
    (answering(lambda o: tl.Outputs(o.logits, None)), "suspicion is a NoneType; give a tensor"),
    (answering(lambda o: tl.Outputs(o.logits, o.suspicion > 0.3)), "suspicion is true or false, .* give the score"),
    (answering(lambda o: tl.Outputs(o.logits, o.suspicion.detach().numpy())), r"NumPy array.* attacks\.bpda; with sui"),
    ((logits_of, lambda x: one_of(x) > 0.3), "suspicion is true or false"),
    ((logits_of, whole), "suspicion is a Outputs"),
    ((logits_of,), r"a tuple of 1 \(function\); a pair is two functions: images → logits, images → suspicion"),
    ((logits_of, 3), r"a tuple of 2 \(function, int\); a pair"),
    ("mine.py:build", "is a str, which answers no images; give what it names, imported"),
    (7, "is a int, which answers no images; give a module, a function or a pair"),
    (nn.Identity, r"is the class Identity; give an object of it, Identity\(\.\.\.\)"),
    (lambda path: nn.Linear(64, 10), "with a Linear, a model itself; what makes a model needs no argument"),
]


@pytest.mark.parametrize(("model", "line"), REFUSED, ids=[line[:24] for _, line in REFUSED])
def test_what_is_no_answer_is_refused_in_one_line(model, line: str, digits: Split) -> None:
    with pytest.raises(TwinlatentError, match=line) as refused, detector_of(model, digits):
        pass
    assert "\n" not in str(refused.value)
