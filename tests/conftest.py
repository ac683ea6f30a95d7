"""What the tests share: real images, and one small detector that was trained on them."""

import importlib
import signal
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from twinlatent.data import LabelledImages, Split, load
from twinlatent.drawing import canvas
from twinlatent.evaluation.settings import EvaluationSettings
from twinlatent.evaluation.white_box import WhiteBoxPlan
from twinlatent.method.adversaries.search import AdversarySettings
from twinlatent.method.bounds import ball, bound_latents, bound_log_ratio
from twinlatent.method.class_vaes import ClassEncoders
from twinlatent.method.detector import Detector, build_detector
from twinlatent.method.fit import fit_split
from twinlatent.method.game_state import GameSettings
from twinlatent.method.losses import LossSettings
from twinlatent.method.plans import plan
from twinlatent.recipes.recipe import EvaluationRecipe, Recipe

SCRIPTS = Path(__file__).resolve().parent.parent / "scripts"
STEPS = 200
"""Of the training of `hardened`."""

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores Ctrl-C, which tests press


@pytest.fixture(scope="session")
def script_of() -> Callable[[str], ModuleType]:
    """A function: a module of scripts/, by its name."""

    def imported(name: str) -> ModuleType:
        with pytest.MonkeyPatch.context() as patch:
            patch.syspath_prepend(str(SCRIPTS))
            return importlib.import_module(name)

    return imported


@pytest.fixture(scope="session")
def digits() -> Split:
    """scikit-learn's 8×8 digits; read only."""
    return load("digits", progress=False)


@pytest.fixture(scope="session")
def three_digits(digits: Split) -> LabelledImages:
    """The training images of the digits 0, 1 and 2."""
    return digits.train.subset((digits.train.labels < 3).nonzero()[:, 0])


@pytest.fixture(scope="session")
def trained_detector(digits: Split) -> Detector:
    """A detector of all digits, nine in ten right, trained in about a second; tests must not change it."""
    settings = GameSettings(
        encoder="c(3,8) z(6,6)",
        decoder="d(24) d(64)",
        rounds=100,
        batch=16,
        learning_rate=1e-2,
        loss=LossSettings(margin_weight=50, reconstruct_every=2),
        adversary=AdversarySettings(steps=2, epsilon=0.2, objective="ratio"),
    )
    return fit_split(digits, settings=settings, progress=False)


@pytest.fixture(scope="session")
def hardened(digits: Split) -> Callable[[str], Detector]:
    """A function: a detector of the digits with that encoder, of which much can be proved: what is bounded is trained.

    Batch normalisation has made-up statistics and stays in evaluation mode. Half a second each; tests must not change
    them.
    """
    train, classes = digits.train, digits.classes

    @cache
    def fitted(layers: str) -> Detector:
        generator = torch.Generator().manual_seed(0)
        encoders = ClassEncoders(plan(layers, digits.image_shape, "encoder"), classes, generator, "narrow").eval()
        for name, statistic in encoders.named_buffers():
            statistic.uniform_(*((0.9, 1.1) if "var" in name else (0, 0.2)), generator=generator)
        optimiser = torch.optim.Adam(encoders.parameters())
        for step in range(STEPS):
            optimiser.param_groups[0]["lr"] = 1e-2 * (1 - step / STEPS)
            rows = torch.randint(len(train), (64,), generator=generator)
            images, own = train.images[rows], F.one_hot(train.labels[rows], classes).T.bool()
            wide = bound_latents(encoders, ball(images, min(0.1, 0.2 * step / STEPS)))
            benign = bound_log_ratio(bound_latents(encoders, ball(images, 0.0))).lower[own]
            others = F.softplus(4 + bound_log_ratio(wide).upper[~own]).mean()
            loss = F.softplus(4 - benign).mean() + (classes - 1) * others
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        return build_detector(encoders, train, digits.calibration, digits.class_names)

    return fitted


@pytest.fixture(scope="session")
def real_images(digits: Split):
    """A function: `count` real test images, resized to `side` pixels or (height, width), all channels equal."""

    def images(count: int, side: int | tuple[int, int] = 8, channels: int = 1, first: int = 0) -> Tensor:
        taken = digits.test.images[first : first + count]
        sized = F.interpolate(taken, side, mode="bilinear", align_corners=False) if side != 8 else taken
        return sized.expand(-1, channels, -1, -1).contiguous()

    return images


@pytest.fixture(scope="session")
def fewer_steps():
    """A function: substitutes are trained for so many steps while a patch holds."""
    usual = EvaluationRecipe.substitute_settings

    def patched(patch: pytest.MonkeyPatch, steps: int) -> None:
        patch.setattr(EvaluationRecipe, "substitute_settings",
                      lambda recipe, name: usual(recipe, name).model_copy(update={"steps": steps}))  # fmt: skip

    return patched


@pytest.fixture(scope="session")
def fewer_radii():
    """A function: white boxes have the main radius and half of it, and one for C1 and C2, while a patch holds."""
    usual = EvaluationSettings.plan

    def fewer(settings: EvaluationSettings) -> WhiteBoxPlan:
        plan = usual.__get__(settings)
        main = plan.main.epsilon
        return replace(plan, epsilons=(main / 2, main), condition_radii=plan.condition_radii[2:3])

    def patched(patch: pytest.MonkeyPatch) -> None:
        patch.setattr(EvaluationSettings, "plan", property(fewer))

    return patched


@pytest.fixture(scope="session")
def fewer_rounds():
    """A function: recipes say so many rounds, of detectors and baselines, while a patch holds."""

    def patched(patch: pytest.MonkeyPatch, rounds: int) -> None:
        for name in ("game_settings", "baseline_settings"):
            usual = getattr(Recipe, name)
            patch.setattr(Recipe, name, lambda *given, usual=usual: usual(*given).model_copy(update={"rounds": rounds}))

    return patched


@pytest.fixture(scope="session")
def without_figures():
    """A function: pages have an empty drawing in the place of each figure, while a patch holds.

    A page's figures take as long as all attacks of a small evaluation; tests/report draws them.
    """

    def patched(patch: pytest.MonkeyPatch) -> None:
        patch.setattr(canvas, "svg", lambda figure: "<svg></svg>")

    return patched


@pytest.fixture
def generator() -> torch.Generator:
    """A fresh seeded generator."""
    return torch.Generator().manual_seed(0)
