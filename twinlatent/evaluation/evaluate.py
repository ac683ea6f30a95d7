"""Everything that is to be known of one detector: black box, white box, judges, and checks of all that."""

import copy
import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, field_validator, model_validator

from twinlatent.arguments import by_value
from twinlatent.attacks.budgets import Budget, preset
from twinlatent.attacks.models import Attackable
from twinlatent.attacks.suite_runs import digest
from twinlatent.attacks.suites import STEPS, SuiteName
from twinlatent.data import LabelledImages, Split
from twinlatent.data.split import SEED_LIMIT
from twinlatent.errors import TwinlatentError
from twinlatent.evaluation.blackbox import BLACK_BOX, at_epsilon, evaluate_blackbox
from twinlatent.evaluation.checks import run_checks
from twinlatent.evaluation.conditions import (
    BESIDE,
    CW,
    CW_GAMMAS,
    OVER_RADII,
    STANDARD_CW,
    Won,
    attack_conditions,
    benign_pass,
)
from twinlatent.evaluation.conditions import measured as measured_conditions
from twinlatent.evaluation.judges import (
    Judges,
    benign_agreement,
    judge,
    own_accuracy,
    shows_true,
    train_judges,
)
from twinlatent.evaluation.kept import reused
from twinlatent.evaluation.learners import JudgeSettings, SubstituteName
from twinlatent.evaluation.measured import Measured, draw, records_of
from twinlatent.evaluation.metrics import rate
from twinlatent.evaluation.operating_points import OperatingPoints, operating_points
from twinlatent.evaluation.pictures import LatentCloud, PairGrid, latent_cloud, pair_grid
from twinlatent.evaluation.reports import Check, JudgeReport
from twinlatent.evaluation.run_folder import UNFINISHED, EvaluationRun, evaluation_folder, write_run
from twinlatent.evaluation.split_of import fitted
from twinlatent.evaluation.substitutes import SUBSTITUTES, train_substitute
from twinlatent.evaluation.training_log import log_of
from twinlatent.evaluation.whitebox import WORST, WhiteBoxSettings
from twinlatent.files import write_json
from twinlatent.method.calibrated import CalibratedDetector
from twinlatent.provenance import provenance
from twinlatent.torch_state import fresh_torch

Radius = Annotated[FiniteFloat, Field(gt=0, le=1)]
IMAGES, FEW = 1000, 100
"""Test images to attack at the main point, and at all others."""
SHOWN = 6
"""Images of a figure of pairs."""
CLOUD = 200
"""Images of each kind of the figure of latents, at most."""


class EvaluationSettings(BaseModel):
    """What is asked of an evaluation.

    Attributes:
        suite: of white-box attacks; `none` stays outside the detector.
        substitutes: classifiers of the attacker's own, each of which is attacked in the black box; the first is also
            the one of the white box's attack `transfer`.
        blackbox_images: test images, drawn by `seed`, that are attacked through the substitutes; all if there are
            fewer.
        images: test images for the main point of the white box, drawn by `seed`; all if there are fewer.
        few: so many of them for everything else: other radii and rates, C1 and C2, pictures.
        epsilon: L∞ radius of the main point; None: 0.3, and the black box has the paper's own radii.
        fpr: false-positive rate of the main point.
        radii: of the curves of SR@FPR, as shares of `epsilon`.
        condition_radii: of the curves of C1 and C2.
        steps: of gradient attacks; None: the suite's own.
        judges: how judges are made; None: as the recipe for these images says.
        seed: of every random choice.

    Errors: pydantic's `ValidationError` on any other field or value.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    _by_value = field_validator("*", mode="before")(by_value)

    suite: SuiteName | Literal["none"] = "standard"
    substitutes: Annotated[tuple[SubstituteName, ...], Field(min_length=1)] = SUBSTITUTES
    blackbox_images: Annotated[int, Field(ge=1)] = IMAGES
    images: Annotated[int, Field(ge=1)] = IMAGES
    few: Annotated[int, Field(ge=1)] = FEW
    epsilon: Radius | None = None
    fpr: float = 0.05
    radii: tuple[Radius, ...] = (1 / 6, 1 / 3, 1 / 2, 2 / 3, 5 / 6, 1)
    condition_radii: tuple[Radius, ...] = (0.1, 0.2, 0.3, 0.4, 0.6, 0.8)
    steps: Annotated[int, Field(ge=1)] | None = None
    judges: JudgeSettings | None = None
    seed: Annotated[int, Field(ge=0, lt=SEED_LIMIT)] = 0

    @model_validator(mode="after")
    def _main_point_exists(self) -> Self:
        if self.suite != "none":
            _ = self.main  # its own validation speaks
        return self

    @property
    def cw(self) -> Budget:
        """Of CW-L2_W: the paper's in its suite, else a shorter one, in proportion to `steps`."""
        if self.suite == "paper":
            return preset("paper.whitebox.mnist.cw")
        return STANDARD_CW if self.steps is None else replace(STANDARD_CW, steps=math.ceil(1.5 * self.steps))

    def spent(self, metric: str, attack: str) -> str:
        """What the records call the budget of an attack: the suite's, and what is no part of it."""
        if attack == CW:
            return f"{self.main.described}{BESIDE}CW-L2_W: {self.cw.steps} steps, {self.cw.searches} c, {CW_GAMMAS} γ"
        if self.suite == "paper" and metric.startswith("sr_c1c2") and attack not in OVER_RADII:
            return f"{self.main.described}{BESIDE}{attack}: as in standard, {STEPS['paper']} steps"
        return self.main.described

    @property
    def main(self) -> WhiteBoxSettings:
        """Of the main point; `TwinlatentError` where the suite is `none`."""
        if self.suite == "none":
            raise TwinlatentError("suite none has no main point; choose quick, standard or paper")
        return WhiteBoxSettings(suite=self.suite, epsilon=self.epsilon or 0.3, steps=self.steps, fpr=self.fpr,
                                images=self.images, seed=self.seed)  # fmt: skip


@fresh_torch()
def evaluate(
    detector: CalibratedDetector,
    split: Split,
    settings: EvaluationSettings,
    folder: Path,
    *,
    shared: Path | None = None,
    title: str = "",
    progress: bool = True,
) -> EvaluationRun:
    """Evaluate a detector in every way.

    Interrupted, the same call resumes from the last finished batch; `folder` is the caller's to clear when it has what
    it wanted, see `evaluate_to_folder`.

    Args:
        detector: calibrated on held-out images.
        split: its data set; test images are attacked, training images train substitute and judges.
        settings: what is asked.
        folder: keeps what is done, in `UNFINISHED`.
        shared: keeps the substitutes, their attacked images and the judges, which do not depend on the detector; None:
            they are kept with the rest. What was made with other images, settings or code is refused, and records say
            which run made what was reused.
        title: heading of the report.
        progress: whether to show bars.

    Raises:
        TwinlatentError: the detector was made for other images, or has too few calibration images, or the folder holds
            unfinished work of another kind.
    """
    split = fitted(detector, split)
    finest = detector.calibration.finest_fpr
    if settings.suite != "none" and finest > settings.fpr:
        raise TwinlatentError(
            f"the calibration images tell no rate below {finest:.3g}, and the white box needs {settings.fpr:g}; "
            "calibrate on more images, or leave it out with suite none"
        )
    outside, inside = (min(n, len(split.test)) for n in (settings.blackbox_images, settings.images))
    settings = settings.model_copy(update={"images": inside})
    unfinished = folder / UNFINISHED
    shared = shared or unfinished / "shared"
    substitutes = [train_substitute(split, name, seed=settings.seed, folder=shared, progress=progress)
                   for name in settings.substitutes]  # fmt: skip
    budgets = BLACK_BOX if settings.epsilon is None else at_epsilon(settings.epsilon)
    called = "blackbox" if settings.epsilon is None else f"blackbox at {settings.epsilon:g}"
    attacked = shared / f"{called.replace(' ', '-')}-{outside}"
    run = evaluate_blackbox(detector, split, budgets=budgets, budget=called, images=outside, seed=settings.seed,
                            title=title, substitutes=substitutes, folder=attacked, progress=progress)  # fmt: skip
    if settings.suite != "none":
        drawn = draw(split.test, inside, settings.seed)
        mine = copy.deepcopy(substitutes[0].network).to(detector.device)
        work = _Work(detector, split, settings, drawn, mine, unfinished, shared, progress)
        with _clock(unfinished) as so_far:
            run = _white_box(work, run, so_far)
    return run


@fresh_torch()
def evaluate_to_folder(
    detector: CalibratedDetector,
    split: Split,
    settings: EvaluationSettings,
    folder: Path,
    *,
    log: Path | None = None,
    shared: Path | None = None,
    title: str = "",
    page: Callable[[Path], object] = lambda _: None,
    overwrite: bool = False,
    progress: bool = True,
) -> EvaluationRun:
    """`evaluate`, written to `folder` as `write_run` does, with the training log of the file `log` if there is one.

    A log that is damaged, or of another training, is refused before any work.

    `page` is called with the folder when all is there. An earlier evaluation there is refused, or with `overwrite`
    written over.
    """
    training = () if log is None else log_of(log, detector.card)
    whose = {"detector": digest(list(detector.essence)), "asked": settings.model_dump(), "data": split.fingerprint}
    with evaluation_folder(folder, whose, overwrite=overwrite):
        run = evaluate(detector, split, settings, folder, shared=shared, title=title, progress=progress)
        run = replace(run, log=training)
        write_run(folder, run)
        page(folder)
    return run


@dataclass(frozen=True)
class _Work:
    """What every part of a white-box evaluation needs."""

    detector: CalibratedDetector
    split: Split
    settings: EvaluationSettings
    drawn: LabelledImages
    substitute: Attackable
    unfinished: Path
    shared: Path
    progress: bool

    @property
    def few(self) -> LabelledImages:
        return self.drawn.subset(slice(self.settings.few))

    @property
    def as_published(self) -> CalibratedDetector:
        """With the score of its paper, which C1 speaks of."""
        return self.detector.with_score(self.detector.scores[0])


@contextmanager
def _clock(folder: Path) -> Iterator[Callable[[], float]]:
    """Seconds so far, those of earlier sittings too: kept in the folder when this one ends or is interrupted."""
    path, began, before = folder / "seconds.json", time.monotonic(), 0.0
    with suppress(OSError, ValueError, TypeError):  # none was kept, or no number
        before = float(json.loads(path.read_text(encoding="utf-8")))

    def so_far() -> float:
        return before + time.monotonic() - began

    try:
        yield so_far
    finally:
        folder.mkdir(parents=True, exist_ok=True)
        write_json(path, so_far())


def _white_box(work: _Work, run: EvaluationRun, so_far: Callable[[], float]) -> EvaluationRun:
    origin = provenance()
    judges = train_judges(work.split, seed=work.settings.seed, folder=work.shared, settings=work.settings.judges,
                          progress=work.progress)  # fmt: skip
    points, won = _points(work, work.detector, work.drawn), _conditions(work, judges)
    found = [(row, points.origins) for row in points.measured(work.detector.score)]
    if work.as_published.score != work.detector.score:
        published = _points(work, work.as_published, work.few)
        found += [(row, published.origins) for row in published.measured(work.as_published.score)]
    origins = (judges.origin, *(origin for w in won for origin in w.origins))
    found += [(row, origins) for row in _about_conditions(work, judges, won)]
    records = [record for record in points.main.records if record.attack != WORST]
    seconds = so_far()
    for row, made_by in found:
        budget = work.settings.spent(row[0], row[1])
        records += records_of([row], work.detector, work.split, work.settings.seed, seconds, origin, budget,
                              reused=reused(made_by, origin))  # fmt: skip
    return replace(
        run,
        records=(*run.records, *records),
        checks=_checks(work, points, won),
        judges=_judged(work, judges, points, won),
        grid=_grid(work, won),
        latents=_cloud(work, points),
    )


def _points(work: _Work, detector: CalibratedDetector, drawn: LabelledImages) -> OperatingPoints:
    main = work.settings.main.model_copy(update={"images": len(drawn)})
    radii = [round(share * main.epsilon, 6) for share in work.settings.radii]
    return operating_points(detector, work.split, main, radii, drawn=drawn, few=work.settings.few,
                            substitute=work.substitute, folder=work.unfinished / f"points-{detector.score}",
                            progress=work.progress)  # fmt: skip


def _conditions(work: _Work, judges: Judges) -> list[Won]:
    return attack_conditions(work.as_published, work.split, work.settings.main, work.settings.condition_radii,
                             drawn=work.few, cw=work.settings.cw, folder=work.unfinished / "conditions",
                             shows_true=lambda images: shows_true(judges, images, work.few.labels),
                             progress=work.progress)  # fmt: skip


def _about_conditions(work: _Work, judges: Judges, won: Sequence[Won]) -> list[Measured]:
    """Success by C1 and C2, with C3, and the shares of benign images that meet C1 and C2, and C3."""
    score = work.as_published.score
    passed = benign_pass(work.as_published, work.split.test.images)
    ceiling = benign_agreement(judges, work.split, work.settings.seed)
    return [*measured_conditions(won, work.few, score), ("benign_pass_c1c2", "none", None, score, passed),
            ("benign_c3", "none", None, None, ceiling)]  # fmt: skip


def _checks(work: _Work, points: OperatingPoints, won: Sequence[Won]) -> tuple[Check, ...]:
    by_epsilon = {w.epsilon: w.wins for w in won if w.attack == "mim_w" and w.epsilon is not None}
    flagged = work.detector.detect(work.split.test.images, work.settings.fpr).adversarial
    return run_checks(work.detector, points.main.benign, points.main.result, settings=work.settings.main,
                      by_epsilon=by_epsilon, flagged=rate(int(flagged.sum()), len(flagged)), seed=work.settings.seed,
                      progress=work.progress)  # fmt: skip


def _judged(work: _Work, judges: Judges, points: OperatingPoints, won: Sequence[Won]) -> JudgeReport:
    main, few = points.main, work.few
    worst, goal = main.wins[WORST], f"undetected at {100 * work.settings.fpr:g} %"
    predicted = work.detector.detect(main.result.images, 0.5).label
    seen = [judge(judges, w.attack, w.epsilon, "c1c2", w.images[w.wins], few.labels[w.wins], w.predicted[w.wins])
            for w in won]  # fmt: skip
    seen.append(judge(judges, WORST, work.settings.main.epsilon, goal, main.result.images.cpu()[worst],
                      main.benign.labels[worst], predicted[worst]))  # fmt: skip
    return JudgeReport(cases=own_accuracy(judges, work.split, work.settings.seed), attacks=tuple(seen))


def _grid(work: _Work, won: Sequence[Won]) -> PairGrid:
    columns = {w.attack if w.epsilon is None else f"{w.attack} {w.epsilon:g}": w.images[:SHOWN]
               for w in won if w.attack in (CW, *OVER_RADII[1:])}  # fmt: skip
    return pair_grid(work.as_published, work.few.subset(slice(SHOWN)), columns, work.settings.fpr)


def _cloud(work: _Work, points: OperatingPoints) -> LatentCloud | None:
    """Latents as the class sees them that most attacked images were taken for, by an attack that knows no detector."""
    tried = points.main.result.by_attack
    attacked = next(tried[name] for name in ("mim", "pgd", "mim_w") if name in tried).result
    misclassified = attacked.labels.cpu() != points.main.benign.labels
    if not misclassified.any():
        return None
    label = int(attacked.labels.cpu()[misclassified].mode().values)
    mine = work.split.test.subset(work.split.test.labels == label)
    test = draw(mine, min(CLOUD, len(mine)), work.settings.seed).images
    chosen = attacked.images.cpu()[misclassified & (attacked.labels.cpu() == label)][:CLOUD]
    return latent_cloud(work.detector, test, chosen, label)
