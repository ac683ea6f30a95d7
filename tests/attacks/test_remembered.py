"""What a memory says of an easier criterion is what the attack finds when it is run for it."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

import twinlatent as tl
from twinlatent.attacks.attack import Attack, AttackResult, run
from twinlatent.attacks.remembered import Memory
from twinlatent.attacks.suites import Suite
from twinlatent.claims import OURS
from twinlatent.criteria import Criterion, Misclassified, Undetected
from twinlatent.method.detector import Detector
from twinlatent.outputs import Bounds

STRICT, LOOSE, LOOSEST = 0.10, 0.05, 0.01
LONG = {"probing-targets", "square"}
"""A second or more."""
RUN_AGAIN = {"fgsm_w", "pgd_w", "mim_w", "bypass-targets", "robust-targets", "square"}
"""Of the suite those that know the threshold."""


@pytest.fixture(scope="module")
def detector() -> Detector:
    return tl.load("mnist-mim")


@pytest.fixture(scope="module")
def images(real_images: Callable[..., Tensor]) -> Tensor:
    return real_images(6, 28)


@pytest.fixture(scope="module")
def labels(detector: Detector, images: Tensor) -> Tensor:
    return detector.detect(images).label


@pytest.fixture(scope="module")
def bounds(detector: Detector) -> Bounds:
    """So loose that some attacks win at each rate, and not the same ones."""
    mean = detector.bounds().suspicion_mean
    return Bounds(mean, mean, {STRICT: mean + 150, LOOSE: mean + 250, LOOSEST: mean + 1000})


def undetected(bounds: Bounds, fpr: float) -> Criterion:
    return Misclassified() & Undetected(replace(bounds, thresholds={fpr: bounds.thresholds[fpr]}), fpr)


def suite(bounds: Bounds, fpr: float) -> dict[str, Attack]:
    return Suite(epsilon=0.3, steps=6, level=bounds.thresholds[fpr], robust=True).attacks()


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow) if name in LONG else name
        for name in Suite(level=torch.zeros(10), robust=True).attacks()
    ],
)
def test_an_easier_criterion(
    name: str, detector: Detector, images: Tensor, labels: Tensor, bounds: Bounds, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    asked: list[str] = []

    def attacked(memory: Memory, fpr: float, easier: tuple[float, ...], rows: slice = slice(None)) -> AttackResult:
        attacks = memory.remembering(suite(bounds, fpr), [undetected(bounds, rate) for rate in easier])
        inner = type(attacks[name].attack)  # type: ignore[attr-defined]
        call = inner.__call__
        with monkeypatch.context() as patched:
            patched.setattr(inner, "__call__", lambda *args: (asked.append(name), call(*args))[1])
            return run(attacks[name], detector, images[rows], labels[rows], criterion=undetected(bounds, fpr))

    first = Memory(tmp_path)
    attacked(first, STRICT, (LOOSE, LOOSEST))
    assert all(OURS.fullmatch(path.name) for path in tmp_path.iterdir()), "they would outlive the unfinished work"
    for memory in (first, Memory(tmp_path)):  # in this process, and in a later one
        for fpr, rows in ((LOOSE, slice(None)), (LOOSEST, slice(1, 5))):
            asked.clear()
            found = attacked(memory, fpr, (), rows)
            assert bool(asked) == (name in RUN_AGAIN)
            anew = run(suite(bounds, fpr)[name], detector, images[rows], labels[rows],
                       criterion=undetected(bounds, fpr))  # fmt: skip
            assert torch.equal(found.success, anew.success)
            torch.testing.assert_close(found.images[found.success], anew.images[anew.success], atol=1e-4, rtol=0)


def test_the_criteria_tell_images_apart(detector: Detector, images: Tensor, labels: Tensor, bounds: Bounds) -> None:
    """Else the tests above would show little."""
    won = {fpr: torch.stack([run(attack, detector, images, labels, criterion=undetected(bounds, fpr)).success
                             for name, attack in suite(bounds, fpr).items() if name in ("mim", "selective")])
           for fpr in (STRICT, LOOSE, LOOSEST)}  # fmt: skip
    assert len({int(found.sum()) for found in won.values()}) == 3


def test_what_is_not_known_of_every_image_is_attacked(
    detector: Detector, images: Tensor, labels: Tensor, bounds: Bounds
) -> None:
    memory = Memory()
    for fpr, rows in ((STRICT, slice(0, 3)), (LOOSEST, slice(0, 6))):
        attack = memory.remembering(suite(bounds, fpr), [undetected(bounds, LOOSEST)])["selective"]
        found = run(attack, detector, images[rows], labels[rows], criterion=undetected(bounds, fpr))
    assert int(found.steps.min()) > 0


def test_a_model_asked_behind_its_back_leaves_nothing_to_remember(
    detector: Detector, images: Tensor, labels: Tensor, bounds: Bounds
) -> None:
    class Elsewhere(Attack):
        def __call__(self, model, images, aim, criterion):  # type: ignore[no-untyped-def]
            outputs = replace(model(images))
            return tl.attacks.Found.iterate(images, criterion(outputs, aim), outputs.logits[:, 0])

    memory, kept = Memory(), []
    memory.keep = lambda *given: kept.append(given)  # type: ignore[method-assign]
    attack = memory.remembering({"own": Elsewhere()}, [undetected(bounds, LOOSE)])["own"]
    run(attack, detector, images, labels, criterion=undetected(bounds, STRICT))
    assert kept == []
