"""A guarded classifier: its label, the suspicion of that label; kept in a file that knows its classifier again."""

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import twinlatent as tl
from twinlatent.data import Split
from twinlatent.errors import TwinlatentError
from twinlatent.guards.guarded import LOG_ODDS, Guarded
from twinlatent.method.detector import Detector


@pytest.fixture(params=[True, False], ids=["guard", "rejecting"])
def guarded(request, network: nn.Sequential, digits: Split, trained_detector: Detector) -> Guarded:
    return tl.guard(network, digits, trained_detector) if request.param else tl.rejecting(network, digits)


def test_the_label_is_the_classifier_s(guarded: Guarded, network: nn.Sequential, digits: Split) -> None:
    images = digits.test.images[:50]
    verdict = guarded.detect(images)
    network.eval()
    assert torch.equal(verdict.label, network(images).argmax(1))
    torch.testing.assert_close(guarded(images).logits, network(images))


def test_the_suspicion_is_that_of_the_classifier_s_label(
    network: nn.Sequential, digits: Split, trained_detector: Detector
) -> None:
    images, network = digits.test.images, network.eval()
    logits = network(images)
    label = logits.argmax(1)
    said = tl.guard(network, digits, trained_detector).detect(images)
    ours = trained_detector(images).suspicion.gather(1, label[:, None])[:, 0]
    torch.testing.assert_close(said.suspicion, ours)
    assert (trained_detector(images).labels != label).any(), "or nothing tells our label from the classifier's"
    odds = tl.rejecting(network, digits).detect(images).suspicion
    p = F.softmax(logits.double(), 1).gather(1, label[:, None])[:, 0]
    torch.testing.assert_close(odds.double(), ((1 - p) / p).log(), rtol=1e-3, atol=1e-4)


def test_benign_images_are_flagged_as_often_as_asked(guarded: Guarded, digits: Split) -> None:
    assert guarded.calibration_images == len(digits.calibration)
    flagged = guarded.detect(digits.calibration.images, 0.1).adversarial.double().mean()
    assert 0.02 < flagged <= 0.1, "its own calibration images"


def test_a_wrong_label_is_suspicious(guarded: Guarded, network: nn.Sequential, digits: Split) -> None:
    right = guarded.detect(digits.test.images)
    wrong = right.label != digits.test.labels
    assert right.suspicion[wrong].mean() > right.suspicion[~wrong].mean()


def test_attacks_follow_label_and_suspicion(guarded: Guarded, digits: Split) -> None:
    images = digits.test.images[:4].clone().requires_grad_()
    answers = guarded(images)
    for part in (answers.logits.sum(), answers.suspicion_of_label.sum()):
        assert torch.autograd.grad(part, images, retain_graph=True)[0].flatten(1).abs().sum(1).min() > 0
    benign, labels = digits.test.images[:20], digits.test.labels[:20]
    found = tl.attacks.pgd(guarded, benign, labels, epsilon=0.4, steps=10)
    assert found.success.double().mean() > 0.5


def test_it_is_kept_in_a_file_that_knows_its_classifier(
    guarded: Guarded, network: nn.Sequential, digits: Split, tmp_path: Path
) -> None:
    path, images = tmp_path / "guard.safetensors", digits.test.images[:40]
    guarded.save(path)
    before = guarded.detect(images)
    read = tl.load(path, classifier=network)
    assert isinstance(read, Guarded)
    after = read.detect(images)
    for part in ("label", "adversarial", "suspicion", "p_value"):
        assert torch.equal(getattr(before, part), getattr(after, part))
    assert (read.fingerprint, read.method, read.card) == (guarded.fingerprint, guarded.method, guarded.card)
    assert read.seen is not None
    assert read.seen.among(digits.calibration.images)[1].all()
    with pytest.raises(TwinlatentError, match="guards the classifier 'Sequential', which is not in it; give the class"):
        tl.load(path)
    with torch.no_grad():
        network[4].bias[0] += 0.1
    with pytest.raises(TwinlatentError, match=r"with other parameters \(digest \w{12}\) than the one given \(\w{12}\)"):
        tl.load(path, classifier=network)


def test_a_file_that_guards_nothing_takes_no_classifier(trained_detector: Detector, network, tmp_path: Path) -> None:
    trained_detector.save(tmp_path / "own.safetensors")
    with pytest.raises(TwinlatentError, match=r"own\.safetensors guards no classifier, it has its own"):
        tl.load(tmp_path / "own.safetensors", classifier=network)


def test_a_function_cannot_be_kept(digits: Split, network: nn.Sequential, tmp_path: Path) -> None:
    network.eval()
    guarded = tl.rejecting(lambda x: network(x), digits)
    with pytest.raises(TwinlatentError, match="is a function or has no parameters"):
        guarded.save(tmp_path / "a.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_file_is_refused(guarded: Guarded, network: nn.Sequential, tmp_path: Path) -> None:
    path = tmp_path / "guard.safetensors"
    guarded.save(path)
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    with pytest.raises(TwinlatentError, match="is damaged: its checksum"):
        tl.load(path, classifier=network)


def test_scores_are_those_of_what_guards_it(guarded: Guarded, digits: Split, trained_detector: Detector) -> None:
    images = digits.test.images[:10]
    if guarded.detector is None:
        assert guarded.scores == (LOG_ODDS,)
    else:
        assert guarded.scores == trained_detector.scores
        other = guarded.with_score("vulnerable")
        assert (other.score, other.fingerprint == guarded.fingerprint) == ("vulnerable", False)
        torch.testing.assert_close(other(images).suspicion, trained_detector.with_score("vulnerable")(images).suspicion)
        assert not torch.equal(other(images).suspicion, guarded(images).suspicion)
    assert guarded.scored(images).keys() == set(guarded.scores)
    with pytest.raises(TwinlatentError, match="score 'binary' is unknown"):
        guarded.with_score("binary")


def test_it_is_moved_as_a_copy(guarded: Guarded, digits: Split) -> None:
    moved = guarded.to("cpu")
    assert torch.equal(moved.detect(digits.test.images).suspicion, guarded.detect(digits.test.images).suspicion)


def test_thresholds_are_fixed_anew(guarded: Guarded, network: nn.Sequential, digits: Split, tmp_path: Path) -> None:
    faint = digits.test.images * 0.5
    made = tl.calibrate(guarded, faint[:200], say=lambda line: None)
    assert torch.equal(made(faint).suspicion, guarded(faint).suspicion)
    assert made.detect(faint[200:]).adversarial.double().mean() < 0.12
    assert not torch.equal(made.calibration.thresholds(0.05), guarded.calibration.thresholds(0.05))
    made.save(tmp_path / "guard.safetensors")
    again = tl.load(tmp_path / "guard.safetensors", network)
    assert torch.equal(again.calibration.thresholds(0.05), made.calibration.thresholds(0.05))


def test_it_can_be_sent_to_a_worker_process(guarded: Guarded, digits: Split, tmp_path: Path) -> None:
    """As `running` sends it: it is known again there, and answers the same."""
    torch.save(guarded, tmp_path / "given.pt")
    there = torch.load(tmp_path / "given.pt", mmap=True, weights_only=False)
    assert there.fingerprint == guarded.fingerprint
    asked = digits.test.images[:3]
    assert torch.equal(there.detect(asked).suspicion, guarded.detect(asked).suspicion)
