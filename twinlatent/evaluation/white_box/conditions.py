"""The paper's white box (section 5.2): success by C1 and C2, over radii (figures 6, 12, 13) and for CW-L2_W (table 4).

An attack wins when the image is misclassified as ŷ, its suspicion is below the benign mean of ŷ (C1) and its robust
log-density above (C2; a detector without one is asked for C1 alone). Many benign images fail C1 or C2, so the share of
them that meets both stands beside every number.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from twinlatent.attacks.budgets import Budget
from twinlatent.attacks.objectives import Bypass, Margin
from twinlatent.attacks.results import AttackResult
from twinlatent.attacks.search import GammaSearch
from twinlatent.attacks.suite_runs import SuiteResult, run_suite
from twinlatent.attacks.suites import STEPS
from twinlatent.data import LabelledImages, Split
from twinlatent.evaluation.metrics import Rate, mean_with_interval, rate
from twinlatent.evaluation.protocol import WhiteBoxSettings
from twinlatent.evaluation.results import WORST, Row
from twinlatent.evaluation.white_box.suite import attack_detector, conditions
from twinlatent.method.calibrated import CHUNK, CalibratedDetector
from twinlatent.outputs import at_label
from twinlatent.provenance import Provenance
from twinlatent.running.portions import ALL, Portion

OVER_RADII = ("fgsm_w", "pgd_w", "mim_w")
"""The attacks of figure 6. They raise no robust log-density, which C2 asks for."""
TOWARDS, TOWARDS_BARE = "robust-targets", "bypass-targets"
"""One that does, and what stands in for a detector without one; both go for each wrong class."""
CW = "cw_w"
STANDARD_CW = Budget("cw", steps=150, learning_rate=0.1, initial_c=1.0, searches=4)
"""CW-L2_W where the paper's 12,000 steps for each c and γ are too many."""
CW_GAMMAS = 3
"""How many γ it tries."""


@dataclass(frozen=True)
class AttackOutcome:
    """What one attack did at one radius.

    Attributes:
        attack: its name.
        epsilon: L∞ radius; None for CW-L2_W.
        images: (n, channels, H, W), what it found.
        predicted: int64 (n,), their labels ŷ.
        wins: bool (n,).
        origins: of the runs that attacked.
        shows_true: bool (n,), condition C3: whether all judges see the true class; None where none was asked.
    """

    attack: str
    epsilon: float | None
    images: Tensor
    predicted: Tensor
    wins: Tensor
    shows_true: Tensor | None = None
    origins: tuple[Provenance, ...] = ()


def attack_conditions(
    detector: CalibratedDetector,
    split: Split,
    settings: WhiteBoxSettings,
    epsilons: Sequence[float],
    *,
    drawn: LabelledImages,
    cw: Budget | None = STANDARD_CW,
    shows_true: Callable[[Tensor], Tensor] | None = None,
    folder: Path | None = None,
    portion: Portion = ALL,
    progress: bool = True,
) -> list[AttackOutcome]:
    """Attack for C1 and C2: at each radius those of `OVER_RADII`, `TOWARDS` and the worst of them, then CW-L2_W.

    Args:
        detector: see `attack_detector`.
        split: its data set.
        settings: suite, steps, seed; what a suite does not have is taken from `standard`, with that suite's steps.
        epsilons: L∞ radii.
        drawn: test images to attack.
        cw: budget of CW-L2_W; None leaves it out.
        shows_true: C3, what was made of `drawn` → bool (n,); None asks no judges.
        folder: keeps what is done, one folder a radius.
        portion: which batches are attacked here, see `run_suite`.
        progress: whether to show bars.
    """
    standard = settings.model_copy(update={"suite": "standard", "steps": settings.steps or STEPS[settings.suite]})
    figure6 = standard if settings.suite == "quick" else settings
    towards = TOWARDS if detector.bounds().robust_mean is not None else TOWARDS_BARE
    found = []
    for epsilon in epsilons:
        here: list[AttackOutcome] = []
        for asked, only, called in ((figure6, OVER_RADII, "c1c2"), (standard, (towards,), "c1c2-towards")):
            there = asked.model_copy(update={"goal": "c1c2", "epsilon": epsilon})
            kept = folder and folder / f"{called}-{epsilon:g}"
            run = attack_detector(detector, split, there, drawn=drawn, only=only, folder=kept, portion=portion,
                                  progress=progress)  # fmt: skip
            for name, tried in run.result.by_attack.items():
                here.append(_outcome(name, epsilon, tried.result, run.wins[name], run.result.origins, shows_true))
        found += [*here, _worst(here)]
    if cw is not None:
        of_cw = _carlini_wagner(detector, drawn, cw, settings, folder, portion, progress)
        by = of_cw.by_attack[CW]
        found.append(_outcome(CW, None, by.result, by.wins.cpu(), of_cw.origins, shows_true))
    return found


def _outcome(
    name: str,
    epsilon: float | None,
    result: AttackResult,
    wins: Tensor,
    origins: tuple[Provenance, ...],
    shows_true: Callable[[Tensor], Tensor] | None,
) -> AttackOutcome:
    images = result.images.cpu()
    return AttackOutcome(name, epsilon, images, result.labels.cpu(), wins, shows_true and shows_true(images), origins)


def _worst(found: Sequence[AttackOutcome]) -> AttackOutcome:
    """Of each image what the first attack that won with C3 made; where none did, the first that won, or the first."""
    shown = [won.wins if won.shows_true is None else won.wins & won.shows_true for won in found]
    rank = torch.stack([won.wins.int() + met.int() for won, met in zip(found, shown, strict=True)])
    first = [found[number] for number in rank.argmax(0).tolist()]

    def picked(name: str) -> Tensor:
        return torch.stack([getattr(won, name)[row] for row, won in enumerate(first)])

    shows_true = None if found[0].shows_true is None else picked("shows_true")
    origins = tuple(origin for won in found for origin in won.origins)
    return AttackOutcome(WORST, found[0].epsilon, picked("images"), picked("predicted"), picked("wins"), shows_true,
                         origins)  # fmt: skip


def _carlini_wagner(
    detector: CalibratedDetector,
    drawn: LabelledImages,
    budget: Budget,
    settings: WhiteBoxSettings,
    folder: Path | None,
    portion: Portion,
    progress: bool,
) -> SuiteResult:
    """CW-L2_W for C1 and C2; every success counts, however large its change."""
    bounds = detector.bounds()
    attack = GammaSearch(budget.build(Margin(budget.confidence) + Bypass(bounds.suspicion_mean)), CW_GAMMAS)
    return run_suite(
        {CW: attack},
        detector,
        drawn.images.to(detector.device),
        drawn.labels.to(detector.device),
        criterion=conditions(bounds),
        norm="linf",
        epsilon=1.0,
        seed=settings.seed,
        batch_size=settings.batch_for(detector),
        folder=folder and folder / "c1c2-cw",
        identity={"detector": detector.fingerprint},
        portion=portion,
        progress=progress,
    )


@torch.no_grad()
def benign_pass(detector: CalibratedDetector, images: Tensor) -> Rate:
    """Share of benign images (n, channels, H, W) that meet C1 and C2 at their predicted label."""
    bounds, met = detector.bounds(), []
    for chunk in images.split(8 * CHUNK):
        outputs = detector(chunk.to(detector.device))
        passed = outputs.suspicion_of_label < bounds.suspicion_mean[outputs.labels]
        if outputs.robust is not None and bounds.robust_mean is not None:
            passed &= at_label(outputs.robust, outputs.labels) > bounds.robust_mean[outputs.labels]
        met.append(passed.cpu())
    return rate(int(torch.cat(met).sum()), len(images))


def rows_of(outcome: AttackOutcome, drawn: LabelledImages, score: str) -> tuple[Row, ...]:
    """Success by C1 and C2, with C3 where judges have said which images still show their class; of CW-L2_W its size.

    Args:
        outcome: what the attack did.
        drawn: the images it began with.
        score: of the detector.
    """
    rows = [Row("sr_c1c2", outcome.attack, outcome.epsilon, score, _share(outcome.wins))]
    if outcome.shows_true is not None:
        both = _share(outcome.wins & outcome.shows_true)
        rows.append(Row("sr_c1c2c3", outcome.attack, outcome.epsilon, score, both))
    if outcome.attack == CW and outcome.wins.any():
        rows.append(Row("l2_rms255", CW, None, score, _size(outcome, drawn)))
    return tuple(rows)


def _size(outcome: AttackOutcome, drawn: LabelledImages) -> Rate:
    """255·‖δ‖₂/√d, averaged over the successes."""
    change = (outcome.images - drawn.images)[outcome.wins].flatten(1).double()
    return mean_with_interval(255 * change.square().mean(1).sqrt().numpy().astype(np.float64))


def _share(wins: Tensor) -> Rate:
    return rate(int(wins.sum()), len(wins))
