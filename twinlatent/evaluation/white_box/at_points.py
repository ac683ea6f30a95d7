"""SR@FPR: success of the worst attack over radii and false-positive rates, without attacking what is settled.

A perturbation that wins in a ball wins in every larger one, and one that passes a detector set to flag 10 % of benign
images passes it set to 5 %, whose thresholds are higher. So at one main point the whole suite attacks every image. At
every other point an image that was won at a harder one is won, and the rest are attacked anew, by the whole suite: an
attack that lost, here or elsewhere, proves nothing. But most attacks know no threshold and go the same way at every
rate: those are run at the strictest, and a memory says what they passed that wins at the others.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from torch import Tensor

from twinlatent.attacks.models import Attackable
from twinlatent.attacks.remembered import Memory
from twinlatent.code_digest import code_identity
from twinlatent.data import LabelledImages, Split
from twinlatent.digest import digest
from twinlatent.evaluation.metrics import rate
from twinlatent.evaluation.protocol import RATES, OwnAttack, Point, WhiteBoxSettings, other_points, won_before
from twinlatent.evaluation.results import WORST, Row
from twinlatent.evaluation.white_box.suite import WhiteBoxRun, attack_detector
from twinlatent.method.calibrated import CalibratedDetector
from twinlatent.provenance import Provenance
from twinlatent.running.portions import ALL, Portion


@dataclass(frozen=True)
class OperatingPoints:
    """What the worst attack does at each point.

    Attributes:
        main: every attack at the main point.
        wins: radius and rate → bool (n,), whether any attack won: on all images at the main point, on the first few
            of them at the others. Monotone by construction.
        origins: of the runs that attacked.
    """

    main: WhiteBoxRun
    wins: Mapping[Point, Tensor]
    origins: tuple[Provenance, ...]

    def rows(self, score: str) -> tuple[Row, ...]:
        """A success rate of the worst attack at each point."""
        return tuple(
            Row(f"sr@{round(100 * point.fpr)}", WORST, point.epsilon, score, rate(int(won.sum()), len(won)))
            for point, won in self.wins.items()
        )


def operating_points(
    detector: CalibratedDetector,
    split: Split,
    settings: WhiteBoxSettings,
    epsilons: Sequence[float],
    *,
    fprs: Sequence[float] = RATES,
    drawn: LabelledImages | None = None,
    subset: int | None = None,
    own: Mapping[str, OwnAttack] = MappingProxyType({}),
    substitute: Attackable | None = None,
    folder: Path | None = None,
    portion: Portion = ALL,
    progress: bool = True,
) -> OperatingPoints:
    """Attack at the main point, that of the settings, and settle all others from there.

    Args:
        detector: see `attack_detector`, as for all that is not named here.
        split: its data set.
        settings: of the main point; the goal is to be misclassified and not flagged, the norm L∞.
        epsilons: radii in [0, 1].
        fprs: false-positive rates; those the calibration images cannot tell are left out.
        drawn: test images to attack; None: those that the settings ask for.
        subset: how many of them, the first ones, are attacked at the other points; None: all.
        own: attacks of the user's that join the suite.
        substitute: classifier of the attacker's own.
        folder: keeps what is done, one folder a point.
        portion: which batches are attacked here, see `run_suite`; of the others nothing is won.
        progress: whether to show bars.
    """
    origins: list[Provenance] = []
    told = [fpr for fpr in fprs if fpr >= detector.calibration.finest_fpr]
    whose = digest({"detector": detector.fingerprint, **code_identity()})[:16]
    memory = Memory(folder and folder / f"memory-{whose}")

    def attack(asked: WhiteBoxSettings, images: LabelledImages | None, among: Tensor | None = None) -> WhiteBoxRun:
        kept = folder and folder / f"epsilon-{asked.epsilon:g}-fpr-{asked.fpr:g}"
        looser = [fpr for fpr in told if fpr < asked.fpr]
        run = attack_detector(detector, split, asked, drawn=images, own=own, substitute=substitute, among=among,
                              folder=kept, portion=portion, memory=memory, looser=looser,
                              progress=progress)  # fmt: skip
        origins.extend(run.result.origins)
        return run

    main, here = attack(settings, drawn), Point(settings.epsilon, settings.fpr)
    some = main.benign.subset(slice(subset))
    wins = {here: main.wins[WORST][:subset]}
    for point in other_points(here, epsilons, told):
        won = won_before(wins, point)
        if not won.all():
            asked = settings.model_copy(update={"epsilon": point.epsilon, "fpr": point.fpr, "remaining_only": True})
            won = won | attack(asked, some, ~won).wins[WORST]
        wins[point] = won
    at_main = main.wins[WORST].clone()
    at_main[:subset] |= won_before(wins, here)
    wins[here] = at_main
    return OperatingPoints(main, dict(sorted(wins.items())), tuple(origins))
