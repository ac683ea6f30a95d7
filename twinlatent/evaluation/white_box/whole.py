"""All attacks of the white box: at every operating point, and for the conditions C1 and C2."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from twinlatent.attacks.budgets import Budget
from twinlatent.attacks.models import Attackable
from twinlatent.attacks.suites import STEPS
from twinlatent.data import LabelledImages, Split
from twinlatent.evaluation.metrics import Rate, rate
from twinlatent.evaluation.protocol import BESIDE, OwnAttack, Point, WhiteBoxSettings, draw, with_attacks
from twinlatent.evaluation.results import Row, Rows
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
    as_published = detector.with_score(detector.scores[0])
    drawn = draw(split.test, plan.main.images, plan.main.seed)
    subset = drawn.subset(slice(plan.subset))

    def at_points(asked: CalibratedDetector, images: LabelledImages) -> OperatingPoints:
        main = plan.main.model_copy(update={"images": len(images)})
        return operating_points(asked, split, main, plan.epsilons, drawn=images, subset=plan.subset,
                                own=plan.own, substitute=substitute, folder=folder and folder / f"points-{asked.score}",
                                progress=progress)  # fmt: skip

    points = at_points(detector, drawn)
    conditions = attack_conditions(as_published, split, plan.main, plan.condition_radii, drawn=subset, cw=plan.cw,
                                   shows_true=lambda images: shows_true(images, subset.labels),
                                   folder=folder and folder / "conditions", progress=progress)  # fmt: skip
    published = at_points(as_published, subset) if as_published.score != detector.score else None
    more = draw(split.test, min(plan.certified, len(split.test)), plan.main.seed)
    proofs = [prove(detector, drawn, points.wins, more, plan.main.epsilon, progress=progress)]
    if published is not None:
        proofs.append(prove(as_published, subset, published.wins, progress=progress))
    return WhiteBox(drawn, subset, as_published, points, published, tuple(conditions),
                    benign_pass(as_published, split.test.images), tuple(proofs))  # fmt: skip
