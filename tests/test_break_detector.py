"""scripts/break_detector.py: what it runs beyond the suite can win, and stays in its ball."""

from collections.abc import Callable
from types import ModuleType

import pytest
import torch

from twinlatent.attacks import run
from twinlatent.attacks.suites import KINDS
from twinlatent.criteria import Misclassified, Undetected
from twinlatent.evaluation.protocol.own_attacks import checked_attacks
from twinlatent.testing import FPR, GaussianDetector


@pytest.fixture(scope="module")
def script(script_of: Callable[[str], ModuleType]) -> ModuleType:
    return script_of("break_detector")


@pytest.mark.slow
def test_what_it_adds_wins_outside_of_the_radius_and_never_inside(script: ModuleType) -> None:
    model = GaussianDetector.random()
    images, labels = model.samples(2)
    bounds, optimal = model.bounds(), model.optimal_radius(images, labels, "linf")
    added = checked_attacks(script.beyond(bounds.thresholds[FPR]))
    assert not set(added) & set(KINDS)
    for radius, falls in ((0.98 * optimal.min().item(), False), (1.3 * optimal.max().item(), True)):
        for name, make in added.items():
            if not falls and "restarts" in name:
                continue  # the same attacks several times
            found = run(make(radius), model, images, labels, criterion=Misclassified() & Undetected(bounds, FPR))
            assert (found.linf <= radius + 1e-6).all(), name
            if not falls or "score" not in name:  # where the score says nothing of the label it leads nowhere
                assert found.success.tolist() == [falls] * 2, name
    assert torch.is_grad_enabled()
