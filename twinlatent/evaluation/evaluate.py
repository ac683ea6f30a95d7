"""Everything that is to be known of one detector: black box, white box, judges, and checks of all that."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Unpack

from twinlatent.data import Split
from twinlatent.digest import digest
from twinlatent.errors import TwinlatentError
from twinlatent.evaluation.protocol import Judgeable, OwnAttack, at_radius, checked_attacks, detector_of
from twinlatent.evaluation.results import UNFINISHED, Report, evaluation_folder, log_of
from twinlatent.evaluation.settings import Asked, EvaluationSettings, settings_of
from twinlatent.evaluation.whole import evaluate_all
from twinlatent.torch_state import fresh_torch


@fresh_torch()
def evaluate(
    model: Judgeable,
    split: Split,
    *,
    settings: EvaluationSettings | None = None,
    name: str | None = None,
    attacks: Mapping[str, OwnAttack] = MappingProxyType({}),
    folder: str | Path | None = None,
    shared: str | Path | None = None,
    log: str | Path | None = None,
    title: str = "",
    page: Callable[[Path], object] = lambda _: None,
    overwrite: bool = False,
    progress: bool = True,
    **asked: Unpack[Asked],
) -> Report:
    """Judge a detector: accuracy, false positives, attacks that do not know it, attacks that do, checks of those.

    Interrupted, the same call with the same `folder` resumes from the last finished batch.

    Args:
        model: a detector of this package; or a module or function from images (n, channels, H, W) in [0, 1] to
            `Outputs`, which is calibrated on `split.calibration`. A module is in evaluation mode meanwhile and its
            parameters ask for no gradients; afterwards all is as it was.
        split: its data set; test images are attacked, training images train substitutes and judges.
        settings: what is asked; None: the keywords say it.
        name: of a module or function in records and pages; None: that of its class or function.
        attacks: of your own, by name: each an `Attack`, or a function from a radius to one, such as its class. They
            join the suite at every radius and rate, and count in `worst` and in the checks as attacks that know the
            detector; an attack wins where its image is inside the ball.
        folder: gets the results, see `Report.save`, and keeps what is done until all is; None keeps nothing.
        shared: keeps the substitutes, their attacked images and the judges, which do not depend on the detector; None:
            they are kept with the rest. What was made with other images, settings or code is refused, and records say
            which run made what was reused.
        log: file of the training's log, for the page; one that is damaged, or of another training, is refused.
        title: heading of the page.
        page: called with the folder when all is there.
        overwrite: write over an earlier evaluation in the folder, which is refused otherwise.
        progress: whether to show bars.
        **asked: fields of `EvaluationSettings`, such as `suite`, `epsilon` and `images`; not together with `settings`.

    Raises:
        TwinlatentError: a model that cannot be judged, see `detector_of`; it was made for other images, or there are
            too few calibration images for the rate; settings that do not exist; or the folder holds something else.

    >>> import twinlatent as tl
    >>> def brightness(images):
    ...     logits = images.flatten(1)[:, :10]
    ...     return tl.Outputs(logits, images.mean((1, 2, 3))[:, None].expand_as(logits))
    >>> report = tl.evaluate(brightness, tl.data.load("digits"), suite="none", blackbox_images=5, substitutes=["f_p"],
    ...                      progress=False)
    >>> report.model.method, report.accuracy.n
    ('brightness', 359)
    """
    settings, own = settings_of(settings, asked).for_images(split), checked_attacks(attacks)
    if own and settings.suite == "none":
        raise TwinlatentError(f"attacks {', '.join(own)} join a suite; choose suite quick, standard or paper")
    shared = None if shared is None else Path(shared)
    with detector_of(model, split, name, attacked=settings.suite != "none") as detector:
        training = () if log is None else log_of(Path(log), detector.card)

        def complete(report: Report) -> Report:
            return replace(
                report, log=training, detector=detector.fingerprint, settings=settings.model_dump(mode="json")
            )

        options: Any = {"own": own, "shared": shared, "title": title, "progress": progress}
        if folder is None:
            return complete(evaluate_all(detector, split, settings, **options))
        folder = Path(folder)
        whose = {"detector": detector.fingerprint, "asked": settings.model_dump(), "data": split.fingerprint,
                 "attacks": digest(at_radius(own, settings.epsilon or 0.3))}  # fmt: skip
        with evaluation_folder(folder, whose, overwrite=overwrite):
            report = complete(evaluate_all(detector, split, settings, folder=folder / UNFINISHED, **options))
            report.save(folder)
            page(folder)
        return report
