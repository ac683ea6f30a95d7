"""Everything that is to be known of one detector: black box, white box, judges, and checks of all that."""

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, Unpack

from twinlatent.arguments import file_path
from twinlatent.data import Split
from twinlatent.data.split import check_split
from twinlatent.digest import digest
from twinlatent.errors import TwinlatentError
from twinlatent.evaluation import units, whole
from twinlatent.evaluation.protocol import Judgeable, OwnAttack, at_radius, checked_attacks, detector_of
from twinlatent.evaluation.results import UNFINISHED, Report, evaluation_folder, log_of
from twinlatent.evaluation.settings import EPSILON, Asked, EvaluationSettings, settings_of
from twinlatent.evaluation.units import EvaluationGiven, do_units
from twinlatent.evaluation.whole import evaluate_all, prepared
from twinlatent.method.calibrated import CalibratedDetector
from twinlatent.progress import bar
from twinlatent.running.shards import Shard
from twinlatent.running.together import some_folder
from twinlatent.running.units import Here, Runner
from twinlatent.running.workers import runner_of
from twinlatent.torch_state import computing_with, fresh_torch

BLIND = 0.5
"""AUC of a suspicion that tells nothing."""


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
    workers: int | Runner | None = None,
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
        workers: so many processes train and attack, each with one thread of torch's; None or 1: this one alone. The
            numbers are the same bit for bit as here with one thread.
        progress: whether to show bars.
        say: gets a line on what looks wrong with a model of the user's and need not be, see `detector_of`.
        **asked: fields of `EvaluationSettings`, such as `suite`, `epsilon` and `images`; not together with `settings`.

    Raises:
        TwinlatentError: a model that cannot be judged, see `detector_of`, or answers an attacked image with NaN; it was
            made for other images, or there are too few calibration images for the rate; settings that do not exist; an
            attack that fails; or the folder holds something else.
    """
    runner = runner_of(workers)
    with _begun(model, split, settings, asked, name, recipe, attacks, say) as work:
        detector = work.detector
        about: Any = {
            "log": () if log is None else log_of(file_path("log", log), detector.card),
            "detector": detector.fingerprint,
            "settings": work.settings.model_dump(mode="json"),
        }
        places = _Places.of(folder, shared)
        if places.out is None:
            with nullcontext() if isinstance(runner, Here) else some_folder(None) as kept:
                report = work.done(runner, kept, places.shared, title, progress)
            _say_upside_down(model, report, say)
            return replace(report, **about)
        with evaluation_folder(places.out, work.whose, overwrite=overwrite):
            report = work.done(runner, places.out / UNFINISHED, places.shared, title, progress)
            report = replace(report, **about)
            report.save(places.out)
            page(places.out)
        _say_upside_down(model, report, say)
        return report


def _say_upside_down(model: Judgeable, report: Report, say: Callable[[str], None]) -> None:
    """Say of a user's model if attacked images of the black box look less suspicious than benign ones, some surely."""
    areas = [] if isinstance(model, CalibratedDetector) else [r for r in report.records if r.metric == "auc"]
    if all(area.value < BLIND for area in areas) and any(area.high is not None and area.high < BLIND for area in areas):
        say(f"{areas[0].method}: images attacked in the black box get a lower suspicion than benign ones, whatever the "
            "attack (every AUC is below 0.5); is it upside down? Higher must be more suspicious")  # fmt: skip


@fresh_torch()
def evaluate_shard(
    model: Judgeable,
    split: Split,
    shard: Shard,
    *,
    settings: EvaluationSettings | Mapping[str, Any] | None = None,
    name: str | None = None,
    recipe: str | Path | None = None,
    attacks: Mapping[str, OwnAttack] = MappingProxyType({}),
    folder: str | Path,
    shared: str | Path | None = None,
    overwrite: bool = False,
    workers: int | Runner | None = None,
    progress: bool = True,
    say: Callable[[str], None] = warnings.warn,
) -> None:
    """A shard's attacks of an evaluation, kept in its own folder; see `evaluate` for arguments and errors.

    `shards.merge` puts shards together; what is left then is done by `evaluate` in the folder of the whole.
    """
    with _begun(model, split, settings, {}, name, recipe, attacks, say) as work:
        places = _Places.of(folder, shared)
        assert places.out is not None
        with evaluation_folder(places.out, work.whose, overwrite=overwrite, keep=True):
            work.attack(runner_of(workers), places.out / UNFINISHED, places.shared, shard, progress)


@dataclass(frozen=True)
class _Places:
    """Folders of the caller's; None where none was given."""

    out: Path | None
    shared: Path | None

    @classmethod
    def of(cls, folder: str | Path | None, shared: str | Path | None) -> "_Places":
        return cls(None if folder is None else file_path("folder", folder),
                   None if shared is None else file_path("shared", shared))  # fmt: skip


@dataclass(frozen=True)
class _Work:
    """An evaluation that may begin: nothing is wrong with what was asked.

    Attributes:
        detector: calibrated.
        split: as it was given.
        settings: with what the recipe says.
        own: attacks of the user's.
        whose: what makes it the same evaluation, JSON-able.
    """

    detector: CalibratedDetector
    split: Split
    settings: EvaluationSettings
    own: Mapping[str, OwnAttack]
    whose: Mapping[str, Any]

    def attack(self, runner: Runner, folder: Path, shared: Path | None, shard: Shard | None, progress: bool) -> None:
        """Let all attacks be run, or a shard's."""
        split, settings = prepared(self.detector, self.split, self.settings, self.own)
        given = EvaluationGiven(self.detector, split, settings, self.own)
        do_units(given, runner, {units.FOLDER: folder, units.SHARED: shared or folder / whole.SHARED}, shard=shard,
                 progress=progress)  # fmt: skip

    def done(self, runner: Runner, folder: Path | None, shared: Path | None, title: str, progress: bool) -> Report:
        """All of it; what units have kept is only put together."""
        alone = isinstance(runner, Here)
        if folder is not None and not alone:
            self.attack(runner, folder, shared, None, progress)
        judged = partial(evaluate_all, self.detector, self.split, self.settings, own=self.own, folder=folder,
                         shared=shared, title=title)  # fmt: skip
        if alone:
            return judged(progress=progress)
        with computing_with(runner.threads), bar("judges, checks, pictures", 1, show=progress) as shown:
            report = judged(progress=False)
            shown.advance()
        return report


@contextmanager
def _begun(
    model: Judgeable,
    split: Split,
    settings: EvaluationSettings | Mapping[str, Any] | None,
    asked: Mapping[str, Any],
    name: str | None,
    recipe: str | Path | None,
    attacks: Mapping[str, OwnAttack],
    say: Callable[[str], None],
) -> Iterator[_Work]:
    """Within the block a model can be judged; errors are those of `evaluate` that are said before any work."""
    check_split(split)
    settings, own = settings_of(settings, asked), checked_attacks(attacks)
    settings = settings.for_images(split, model.card if isinstance(model, CalibratedDetector) else {}, recipe)
    made = at_radius(own, settings.epsilon or EPSILON)
    if own and settings.suite == "none":
        raise TwinlatentError(f"attacks {', '.join(own)} join a suite; choose suite quick, standard, thorough or paper")
    with detector_of(model, split, name, attacked=settings.suite != "none", say=say) as detector:
        whose = {"detector": detector.fingerprint, "asked": settings.model_dump(), "data": split.fingerprint,
                 "attacks": digest(made)}  # fmt: skip
        yield _Work(detector, split, settings, own, whose)
