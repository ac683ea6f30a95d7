"""An evaluation from black box to white box, of a detector that is calibrated."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Self

from twinlatent.attacks.budgets import Budget
from twinlatent.data import Split
from twinlatent.errors import TwinlatentError
from twinlatent.evaluation.black_box import BLACK_BOX, at_epsilon, evaluate_blackbox, train_substitute
from twinlatent.evaluation.judged import with_white_box
from twinlatent.evaluation.protocol import OwnAttack, fitted, try_attacks
from twinlatent.evaluation.results import Report
from twinlatent.evaluation.settings import EvaluationSettings
from twinlatent.evaluation.shift import measure_shift
from twinlatent.method.calibrated import CalibratedDetector

SHARED = "shared"
"""The folder that keeps substitutes, their attacked images and judges, where none is given."""


def evaluate_all(
    detector: CalibratedDetector,
    split: Split,
    settings: EvaluationSettings,
    *,
    own: Mapping[str, OwnAttack] = MappingProxyType({}),
    folder: Path | None = None,
    shared: Path | None = None,
    title: str = "",
    progress: bool = True,
) -> Report:
    """Everything that is to be known of a detector; the same call resumes from what `folder` and `shared` keep.

    Args and errors: as `evaluate`, `own` being its `attacks`.
    """
    split, settings = prepared(detector, split, settings, own)
    shared = shared or (folder and folder / SHARED)
    networks = settings.networks or {}
    substitutes = [train_substitute(split, name, seed=settings.seed, settings=networks.get(name), folder=shared,
                                    progress=progress) for name in settings.substitutes]  # fmt: skip
    asked = BlackBoxAsked.of(settings)
    report = evaluate_blackbox(detector, split, budgets=asked.budgets, budget=asked.called, images=asked.images,
                               seed=settings.seed, title=title, substitutes=substitutes,
                               folder=shared and shared / asked.folder, progress=progress)  # fmt: skip
    if settings.shift_images:
        shifted = measure_shift(detector, split, images=settings.shift_images, fpr=settings.fpr, seed=settings.seed,
                                progress=progress)  # fmt: skip
        report = shifted.added_to(report)
    if settings.suite == "none":
        return report
    mine = copy.deepcopy(substitutes[0].network).to(detector.device)
    plan = replace(settings.plan, own=own)
    return with_white_box(report, detector, split, plan, mine, judging=settings.judges, folder=folder, shared=shared,
                          progress=progress)  # fmt: skip


def prepared(
    detector: CalibratedDetector, split: Split, settings: EvaluationSettings, own: Mapping[str, OwnAttack]
) -> tuple[Split, EvaluationSettings]:
    """The split as the detector is judged on it, and the settings with no more images than there are.

    Raises:
        TwinlatentError: what would stop the evaluation is said before any work.
    """
    split = fitted(detector, split)
    finest = detector.calibration.finest_fpr
    if settings.suite != "none" and finest > settings.fpr:
        raise TwinlatentError(
            f"the calibration images tell no rate below {finest:.3g}, and the white box needs {settings.fpr:g}; "
            "calibrate on more images, or leave it out with suite none"
        )
    if own and settings.suite != "none":
        radii = (settings.plan.main.epsilon, *settings.plan.epsilons)
        try_attacks(own, radii, detector, split.calibration, settings.fpr, settings.seed)
    attacked, images = (min(n, len(split.test)) for n in (settings.blackbox_images, settings.images))
    return split, settings.model_copy(update={"images": images, "blackbox_images": attacked})


@dataclass(frozen=True)
class BlackBoxAsked:
    """The attacks of the black box.

    Attributes:
        budgets: of the attacks.
        called: what records call them.
        images: how many are attacked.
    """

    budgets: tuple[Budget, ...]
    called: str
    images: int

    @classmethod
    def of(cls, settings: EvaluationSettings) -> Self:
        """What an evaluation asks, with no more images than there are."""
        epsilon = settings.epsilon
        budgets = BLACK_BOX if epsilon is None else at_epsilon(epsilon)
        return cls(budgets, "blackbox" if epsilon is None else f"blackbox at {epsilon:g}", settings.blackbox_images)

    @property
    def folder(self) -> str:
        """Of those that keep what is shared, the one of the attacked images."""
        return f"{self.called.replace(' ', '-')}-{self.images}"
