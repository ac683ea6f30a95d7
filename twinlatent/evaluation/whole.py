"""An evaluation from black box to white box, of a detector that is calibrated."""

import copy
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from twinlatent.data import Split
from twinlatent.errors import TwinlatentError
from twinlatent.evaluation.black_box import BLACK_BOX, at_epsilon, evaluate_blackbox, train_substitute
from twinlatent.evaluation.judged import with_white_box
from twinlatent.evaluation.protocol import OwnAttack, fitted, try_attacks
from twinlatent.evaluation.results import Report
from twinlatent.evaluation.settings import EvaluationSettings
from twinlatent.evaluation.shift import measure_shift
from twinlatent.method.calibrated import CalibratedDetector


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
    settings, shared = settings.model_copy(update={"images": images}), shared or (folder and folder / "shared")
    networks = settings.networks or {}
    substitutes = [train_substitute(split, name, seed=settings.seed, settings=networks.get(name), folder=shared,
                                    progress=progress) for name in settings.substitutes]  # fmt: skip
    budgets = BLACK_BOX if settings.epsilon is None else at_epsilon(settings.epsilon)
    called = "blackbox" if settings.epsilon is None else f"blackbox at {settings.epsilon:g}"
    kept = shared and shared / f"{called.replace(' ', '-')}-{attacked}"
    report = evaluate_blackbox(detector, split, budgets=budgets, budget=called, images=attacked, seed=settings.seed,
                               title=title, substitutes=substitutes, folder=kept, progress=progress)  # fmt: skip
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
