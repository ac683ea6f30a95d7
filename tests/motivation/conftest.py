"""What the tests of section 3 share: a small F_p for the digits, and settings that take a second."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from twinlatent.data import LabelledImages, Split
from twinlatent.evaluation.black_box import substitutes
from twinlatent.method.networks import PlainNetwork
from twinlatent.motivation.settings import MotivationSettings
from twinlatent.recipes import recipe_of

Make = Callable[..., MotivationSettings]


STEPS = 100


@pytest.fixture(autouse=True)
def short_training(monkeypatch: pytest.MonkeyPatch, fewer_steps) -> None:
    """F_p is trained for so many steps."""
    fewer_steps(monkeypatch, STEPS)


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory, digits: Split, fewer_steps) -> Path:
    """A folder with F_p of the digits."""
    folder = tmp_path_factory.mktemp("shared")
    with pytest.MonkeyPatch.context() as patched:
        fewer_steps(patched, STEPS)
        substitutes.train_substitute(digits, folder=folder, progress=False)
    return folder


@pytest.fixture
def target(digits: Split, shared: Path) -> PlainNetwork:
    """F_p."""
    return substitutes.train_substitute(digits, folder=shared, progress=False).network


@pytest.fixture
def benign(digits: Split) -> LabelledImages:
    """(X_b, Y_b)."""
    return digits.train.subset(slice(70))


@pytest.fixture(scope="session")
def smoke(digits: Split) -> Make:
    """A function: the preset `smoke` for an attack, with changes."""

    def make(attack: str = "pgd", **changes: object) -> MotivationSettings:
        small = {"discriminator": "c(3,8,2) sm(1)", "classifier": "c(3,8) mp(2) d(32) sm(10)",
                 "steps": 15}  # fmt: skip
        return recipe_of(digits, "smoke").motivation_settings(attack, **small | changes)

    return make


@pytest.fixture
def answers(target: PlainNetwork) -> Callable[[torch.Tensor], torch.Tensor]:
    """A function: what F_p takes images, bytes in 255ths, for."""
    return lambda images: target(images / 255).argmax(1)
