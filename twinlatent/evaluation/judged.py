"""The white box, judged and checked: what attacks that know the detector did, and whether to believe it."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

from twinlatent.attacks.models import Attackable
from twinlatent.data import Split
from twinlatent.evaluation.checks import NO_CHANGES, check_certificate, run_checks
from twinlatent.evaluation.judges import Judges, benign_agreement, judge, own_accuracy, shows_true, train_judges
from twinlatent.evaluation.learners import JudgeSettings
from twinlatent.evaluation.results import WORST, JudgeReport, Report, records_of
from twinlatent.evaluation.white_box import (
    WhiteBox,
    WhiteBoxPlan,
    attack_white_box,
    grid_of,
    latents_of,
)
from twinlatent.files import write_json
from twinlatent.method.calibrated import CalibratedDetector
from twinlatent.provenance import provenance


def with_white_box(
    report: Report,
    detector: CalibratedDetector,
    split: Split,
    plan: WhiteBoxPlan,
    substitute: Attackable,
    *,
    judging: JudgeSettings | None = None,
    folder: Path | None = None,
    shared: Path | None = None,
    progress: bool = True,
) -> Report:
    """The report of a black box, with what attacks on the detector itself did, checks of that, and judges.

    Args:
        report: of the black box, and of mild changes with their check where they were measured.
        detector: that is attacked.
        split: its data set, fitted to it.
        plan: of the attacks.
        substitute: classifier of the attacker's own, on the detector's device.
        judging: how judges are made; None: as the recipe for these images says.
        folder: keeps what is done.
        shared: keeps the judges.
        progress: whether to show bars.
    """
    origin, seed = provenance(), plan.main.seed
    with _clock(folder) as seconds:
        judges = train_judges(split, seed=seed, folder=shared, settings=judging, progress=progress)
        box = attack_white_box(detector, split, plan, substitute, shows_true=partial(shows_true, judges), folder=folder,
                               progress=progress)  # fmt: skip
        main, ceiling = box.points.main, benign_agreement(judges, split, seed)
        rows = box.rows(plan, detector.score, ceiling, judges.origin)
        made = records_of(rows, detector, split, seed, seconds(), origin)
        certificate = check_certificate(box.settled, box.beyond(plan.main), box.proofs[0].undecided)
        mild = next(iter(report.checks), NO_CHANGES)
        checks = run_checks(detector, box.drawn, main.result, settings=plan.main, by_epsilon=box.by_epsilon,
                            benign=split.test.images, certificate=certificate, mild=mild, seed=seed,
                            progress=progress)  # fmt: skip
        single = [record for record in main.records if record.attack != WORST]
        return replace(
            report,
            records=(*report.records, *single, *made),
            checks=checks,
            judges=_judged(judges, detector, split, box, plan),
            grid=grid_of(box, plan.main.fpr),
            latents=latents_of(detector, box, split.test, seed),
        )


def _judged(
    judges: Judges, detector: CalibratedDetector, split: Split, box: WhiteBox, plan: WhiteBoxPlan
) -> JudgeReport:
    """What judges see in all images with which an attack won, and what they are worth."""
    main, labels = box.points.main, box.subset.labels
    worst, goal = main.wins[WORST], f"undetected at {100 * plan.main.fpr:g} %"
    predicted = detector.detect(main.result.images, 0.5).label
    seen = [judge(judges, w.attack, w.epsilon, "c1c2", w.images[w.wins], labels[w.wins], w.predicted[w.wins])
            for w in box.conditions]  # fmt: skip
    seen.append(judge(judges, WORST, plan.main.epsilon, goal, main.result.images.cpu()[worst],
                      box.drawn.labels[worst], predicted[worst]))  # fmt: skip
    return JudgeReport(cases=own_accuracy(judges, split, plan.main.seed), attacks=tuple(seen))


@contextmanager
def _clock(folder: Path | None) -> Iterator[Callable[[], float]]:
    """Seconds so far, those of earlier sittings too: kept in the folder when this one ends or is interrupted."""
    path, began, before = folder and folder / "seconds.json", time.monotonic(), 0.0
    if path is not None:
        with suppress(OSError, ValueError, TypeError):  # none was kept, or not a number
            before = float(json.loads(path.read_text(encoding="utf-8")))

    def so_far() -> float:
        return before + time.monotonic() - began

    try:
        yield so_far
    finally:
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_json(path, so_far())
