"""All attacks of the white box: at every operating point, and for the conditions C1 and C2."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from torch import Tensor

from twinlatent.attacks.budgets import Budget
from twinlatent.attacks.models import Attackable
from twinlatent.attacks.suites import STEPS
from twinlatent.data import LabelledImages, Split
from twinlatent.evaluation.metrics import Rate, rate
from twinlatent.evaluation.protocol import OwnAttack, Point, WhiteBoxSettings, draw, with_attacks
from twinlatent.evaluation.results import BESIDE, Row, Rows
from twinlatent.evaluation.white_box.at_points import OperatingPoints, operating_points
from twinlatent.evaluation.white_box.conditions import (
    CW,
    CW_GAMMAS,
    OVER_RADII,
    AttackOutcome,
    attack_conditions,
    benign_pass,
    rows_of,
)
from twinlatent.evaluation.white_box.proofs import Proofs, prove
from twinlatent.method.calibrated import CalibratedDetector
from twinlatent.provenance import Provenance
from twinlatent.running.portions import ALL, Portion

CONDITIONS = "conditions"
PROOFS = "proofs"
"""The folder that keeps the attacks for C1 and C2."""


@dataclass(frozen=True)
class WhiteBoxPlan:
    """At which points a detector is attacked, and with what.

    Attributes:
        main: the main point, where every attack is run on every image.
        epsilons: radii of the curves of SR@FPR.
        condition_radii: radii of the curves of C1 and C2.
        subset: so many images are attacked everywhere but at the main point.
        certified: so many test images are certified at the main radius, all if there are fewer.
        cw: budget of CW-L2_W.
        own: attacks of the user's that join the suite at the points of SR@FPR.
    """

    main: WhiteBoxSettings
    epsilons: tuple[float, ...]
    condition_radii: tuple[float, ...]
    subset: int
    certified: int
    cw: Budget
    own: Mapping[str, OwnAttack] = field(default_factory=dict)

    def budget_of_conditions(self, attack: str) -> str:
        """What records call the budget of an attack for C1 and C2: the suite's, and what is no part of it."""
        described = self.main.described
        if attack == CW:
            return f"{described}{BESIDE}CW-L2_W: {self.cw.steps} steps, {self.cw.searches} c, {CW_GAMMAS} γ"
        if self.main.suite == "paper" and attack not in OVER_RADII:
            return f"{described}{BESIDE}{attack}: as in standard, {STEPS['paper']} steps"
        return described


@dataclass(frozen=True)
class WhiteBox:
    """What attacks that know the detector did.

    Attributes:
        drawn: the attacked test images, with their true labels.
        subset: the first few of them.
        as_published: the detector with the score of its paper, of which C1 speaks.
        points: under the detector's own score.
        published: the same under the score of its paper, on the subset; None where that is its own.
        conditions: what was done for C1 and C2, to the subset.
        benign: share of benign test images that meet C1 and C2.
        proofs: what is proved of the detector, and where its paper has another score also under that.
    """

    drawn: LabelledImages
    subset: LabelledImages
    as_published: CalibratedDetector
    points: OperatingPoints
    published: OperatingPoints | None
    conditions: tuple[AttackOutcome, ...]
    benign: Rate
    proofs: tuple[Proofs, ...]

    def rows(self, plan: WhiteBoxPlan, score: str, ceiling: Rate, judged_by: Provenance) -> list[Rows]:
        """All numbers but those of single attacks at the main point, which are records of `points.main`.

        Args:
            plan: of the attacks.
            score: of the detector.
            ceiling: share of benign images that meet C3.
            judged_by: the run that made the judges.
        """
        published, main = self.as_published.score, with_attacks(plan.main.described, plan.own)
        made = [Rows(self.points.rows(score), main, origins=self.points.origins)]
        if self.published is not None:
            made.append(Rows(self.published.rows(published), main, origins=self.published.origins))
        for proofs, scored in zip(self.proofs, (score, published), strict=False):
            made += proofs.rows(scored)
        origins = (judged_by, *(origin for outcome in self.conditions for origin in outcome.origins))
        for outcome in self.conditions:
            found = rows_of(outcome, self.subset, published)
            made.append(Rows(found, plan.budget_of_conditions(outcome.attack), origins=origins))
        benign = (Row("benign_pass_c1c2", "none", None, published, self.benign),
                  Row("benign_c3", "none", None, None, ceiling))  # fmt: skip
        return [*made, Rows(benign, plan.budget_of_conditions("none"), origins=origins)]

    @property
    def settled(self) -> list[tuple[Tensor, Tensor]]:
        """At each point bool (n,) twice: the images that an attack won, and those for which none can win."""
        found = zip(self.proofs, (self.points, self.published), strict=False)
        return [
            (points.wins[point], held) for proofs, points in found if points for point, held in proofs.holds.items()
        ]

    def beyond(self, main: WhiteBoxSettings) -> tuple[Rate, Rate] | None:
        """Success at the main point, and the ceiling there on more images; None where that was not measured."""
        point = Point(main.epsilon, main.fpr)
        held = self.proofs[0].beyond.get(point)
        if held is None:
            return None
        won = self.points.wins[point]
        return rate(int(won.sum()), len(won)), rate(int((~held).sum()), len(held))

    @property
    def by_epsilon(self) -> Mapping[float, Tensor]:
        """L∞ radius → bool (n,), the images of the subset with which MIM_W meets C1 and C2."""
        return {w.epsilon: w.wins for w in self.conditions if w.attack == "mim_w" and w.epsilon is not None}


@dataclass(frozen=True, eq=False)
class WhiteBoxWork:
    """The attacks of a plan, all or some of their batches; what is kept in a folder is not done again.

    Attributes:
        detector: see `attack_detector`.
        split: its data set.
        plan: points and attacks.
        substitute: classifier of the attacker's own, on the detector's device.
    """

    detector: CalibratedDetector
    split: Split
    plan: WhiteBoxPlan
    substitute: Attackable

    @cached_property
    def drawn(self) -> LabelledImages:
        """The images of the main point."""
        return draw(self.split.test, self.plan.main.images, self.plan.main.seed)

    @property
    def subset(self) -> LabelledImages:
        """Those of everything else."""
        return self.drawn.subset(slice(self.plan.subset))

    @cached_property
    def as_published(self) -> CalibratedDetector:
        """The detector with the score of its paper."""
        return self.detector.with_score(self.detector.scores[0])

    @property
    def is_published_otherwise(self) -> bool:
        """Whether that is another score than its own."""
        return self.as_published.score != self.detector.score

    def points(
        self, asked: CalibratedDetector, folder: Path | None, *, portion: Portion = ALL, progress: bool = True
    ) -> OperatingPoints:
        """Attack every operating point of the detector, all its images, or of `as_published`, the subset."""
        images = self.drawn if asked.score == self.detector.score else self.subset
        main = self.plan.main.model_copy(update={"images": len(images)})
        return operating_points(asked, self.split, main, self.plan.epsilons, drawn=images, subset=self.plan.subset,
                                own=self.plan.own, substitute=self.substitute,
                                folder=folder and folder / points_folder(asked.score), portion=portion,
                                progress=progress)  # fmt: skip

    def conditions(
        self,
        folder: Path | None,
        *,
        epsilons: Sequence[float] | None = None,
        cw: bool = True,
        shows_true: Callable[[Tensor], Tensor] | None = None,
        portion: Portion = ALL,
        progress: bool = True,
    ) -> list[AttackOutcome]:
        """Attack the subset for C1 and C2: at some of the plan's radii, or None: all of them, and with CW-L2_W."""
        radii = self.plan.condition_radii if epsilons is None else epsilons
        return attack_conditions(self.as_published, self.split, self.plan.main, radii, drawn=self.subset,
                                 cw=self.plan.cw if cw else None, shows_true=shows_true,
                                 folder=folder and folder / CONDITIONS, portion=portion, progress=progress)  # fmt: skip


def points_folder(score: str) -> str:
    """The folder that keeps the attacks at the points of a score."""
    return f"points-{score}"


def attack_white_box(
    detector: CalibratedDetector,
    split: Split,
    plan: WhiteBoxPlan,
    substitute: Attackable,
    *,
    shows_true: Callable[[Tensor, Tensor], Tensor],
    folder: Path | None = None,
    progress: bool = True,
) -> WhiteBox:
    """Attack a detector at every point of the plan.

    Args:
        detector: see `attack_detector`.
        split: its data set.
        plan: points and attacks.
        substitute: classifier of the attacker's own, on the detector's device.
        shows_true: C3, images and their true labels → bool (n,).
        folder: keeps what is done.
        progress: whether to show bars.
    """
    work = WhiteBoxWork(detector, split, plan, substitute)
    drawn, subset, as_published = work.drawn, work.subset, work.as_published
    points = work.points(detector, folder, progress=progress)
    conditions = work.conditions(folder, shows_true=lambda images: shows_true(images, subset.labels), progress=progress)
    published = work.points(as_published, folder, progress=progress) if work.is_published_otherwise else None
    more = draw(split.test, min(plan.certified, len(split.test)), plan.main.seed)
    place = folder and folder / PROOFS
    proofs = [prove(detector, drawn, points.wins, more, plan.main.epsilon, folder=place, progress=progress)]
    if published is not None:
        proofs.append(prove(as_published, subset, published.wins, folder=place, progress=progress))
    return WhiteBox(drawn, subset, as_published, points, published, tuple(conditions),
                    benign_pass(as_published, split.test.images), tuple(proofs))  # fmt: skip
