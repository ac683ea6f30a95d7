"""What the tests of attacks share: a network that was trained for a moment, and toy models."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from twinlatent.data import Split
from twinlatent.testing import GaussianDetector, LinearClassifier


@pytest.fixture(scope="session")
def network(digits: Split) -> nn.Module:
    """A small convolutional network with everything that has a mode; tests must not change it."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = nn.Sequential(
            *(nn.Conv2d(1, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Flatten(), nn.Dropout(0.2), nn.Linear(54, 10)),
        )
        optimiser = torch.optim.Adam(made.parameters(), 0.02)
        for _ in range(40):
            optimiser.zero_grad()
            F.cross_entropy(made(digits.train.images[:500]), digits.train.labels[:500]).backward()
            optimiser.step()
        optimiser.zero_grad()
    return made.eval()


@pytest.fixture
def batch(digits: Split) -> tuple[Tensor, Tensor]:
    """Eight real images and their labels."""
    return digits.test.images[:8], digits.test.labels[:8]


@pytest.fixture(scope="session")
def linear() -> LinearClassifier:
    """Three classes; read only."""
    return LinearClassifier.random(classes=3, seed=1)


@pytest.fixture(scope="session")
def gaussian() -> GaussianDetector:
    """Three classes; read only."""
    return GaussianDetector.random(classes=3, seed=1)
