"""Everything that is to be known of one detector: black box, white box, judges, and checks of all that."""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, Unpack

from twinlatent.arguments import file_path
from twinlatent.data import Split
from twinlatent.digest import digest
from twinlatent.errors import TwinlatentError
from twinlatent.evaluation.protocol import Judgeable, OwnAttack, at_radius, checked_attacks, detector_of
from twinlatent.evaluation.results import UNFINISHED, Report, evaluation_folder, log_of
from twinlatent.evaluation.settings import EPSILON, Asked, EvaluationSettings, settings_of
from twinlatent.evaluation.whole import evaluate_all
from twinlatent.method.calibrated import CalibratedDetector
from twinlatent.torch_state import fresh_torch


@fresh_torch()
def evaluate(
    model: Judgeable,
    split: Split,
    *,
    settings: EvaluationSettings | Mapping[str, Any] | None = None,
    name: str | None = None,
    recipe: str | Path | None = None,
    attacks: Mapping[str, OwnAttack] = MappingProxyType({}),
    folder: str | Path | None = None,
    shared: str | Path | None = None,
    log: str | Path | None = None,
    title: str = "",
    page: Callable[[Path], object] = lambda _: None,
    overwrite: bool = False,
    progress: bool = True,
    say: Callable[[str], None] = warnings.warn,
    **asked: Unpack[Asked],
) -> Report:
    """Judge a detector: accuracy, false positives, black box, white box, checks of these; resumes in the same `folder`.

    Args:
        model: a detector of this package; or yours, any `Judgeable`, which is calibrated on `split.calibration`. A
            module is in evaluation mode meanwhile, its parameters ask for no gradients; then all is as it was.
        split: its data set; test images are attacked, training images train substitutes and judges.
        settings: what is asked, or a mapping of its fields; None: the keywords say it.
        recipe: name or file of the recipe for radius, substitutes and judges; None: that of the detector's training.
        name: of a module or function in records and pages; None: that of its class or function.
        attacks: of your own, by name: each an `Attack`, or a function from a radius to one, such as its class. They
            join the suite at every radius and rate, count in `worst` and in the checks, and are tried beforehand.
        folder: gets the results, see `Report.save`, and keeps what is done until all is; None keeps nothing. The page
            is made by `page`, or later by `twinlatent report FOLDER`.
        shared: keeps substitutes, their attacked images and judges, for several detectors; None: `folder` does. What
            was made with other images, settings or code is refused; records say which run made what was reused.
        log: file of the training's log, for the page; one that is damaged, or of another training, is refused.
        title: heading of the page.
        page: called with the folder when all is there.
        overwrite: write over an earlier evaluation in the folder, which is refused otherwise.
        progress: whether to show bars.
        say: gets a line on what looks wrong with a model of the user's and need not be, see `detector_of`.
        **asked: fields of `EvaluationSettings`, such as `suite`, `epsilon` and `images`; not together with `settings`.

    Raises:
        TwinlatentError: a model that cannot be judged, see `detector_of`, or answers an attacked image with NaN; it was
            made for other images, or there are too few calibration images for the rate; settings that do not exist; an
            attack that fails; or the folder holds something else.
    """
    _check_split(split)
    settings, own = settings_of(settings, asked), checked_attacks(attacks)
    settings = settings.for_images(split, model.card if isinstance(model, CalibratedDetector) else {}, recipe)
    made = at_radius(own, settings.epsilon or EPSILON)
    if own and settings.suite == "none":
        raise TwinlatentError(f"attacks {', '.join(own)} join a suite; choose suite quick, standard or paper")
    with detector_of(model, split, name, attacked=settings.suite != "none", say=say) as detector:
        judged = partial(evaluate_all, detector, split, settings, own=own, title=title,
                         shared=None if shared is None else file_path("shared", shared), progress=progress)  # fmt: skip
        about: Any = {
            "log": () if log is None else log_of(file_path("log", log), detector.card),
            "detector": detector.fingerprint,
            "settings": settings.model_dump(mode="json"),
        }
        if folder is None:
            return replace(judged(), **about)
        folder = file_path("folder", folder)
        whose = {"detector": detector.fingerprint, "asked": settings.model_dump(), "data": split.fingerprint,
                 "attacks": digest(made)}  # fmt: skip
        with evaluation_folder(folder, whose, overwrite=overwrite):
            report = replace(judged(folder=folder / UNFINISHED), **about)
            report.save(folder)
            page(folder)
        return report


def _check_split(split: object) -> None:
    if not isinstance(split, Split):
        hint = f"twinlatent.data.load({split!r})" if isinstance(split, str) else "that of twinlatent.data.load(name)"
        raise TwinlatentError(f"split is a {type(split).__name__}; give {hint}")
