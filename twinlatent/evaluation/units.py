"""An evaluation in units: networks to train, then batches of images that are attacked each for itself.

A batch goes through all operating points in one unit, since an image that is won at one is not attacked at others;
everything else is a unit for each batch and radius. Whatever is left, judging, proofs, checks and pictures, is done by
whoever puts the evaluation together.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from twinlatent.attacks.suite_runs import IDENTITY, batch_numbers, file_of
from twinlatent.data import Split
from twinlatent.evaluation.black_box import BATCH, attack_substitute, train_substitute
from twinlatent.evaluation.judges import train_judges
from twinlatent.evaluation.protocol import RATES, OwnAttack, Point, draw, other_points
from twinlatent.evaluation.settings import EvaluationSettings
from twinlatent.evaluation.white_box import CONDITIONS, WhiteBoxWork, points_folder, suite_size
from twinlatent.evaluation.whole import BlackBoxAsked
from twinlatent.method.calibrated import CalibratedDetector
from twinlatent.method.networks import PlainNetwork
from twinlatent.running.portions import Portion
from twinlatent.running.shards import Shard
from twinlatent.running.together import run_all
from twinlatent.running.units import Heard, Places, Runner

FOLDER, SHARED = "folder", "shared"
"""What units call the folder of the evaluation's own work, and that of networks and the black box."""
CW = "cw"
"""Stands for a radius, of the attack for C1 and C2 that has none."""
What = Literal["substitute", "judges", "blackbox", "points", "conditions"]
Patterns = Mapping[str, Sequence[str]]


@dataclass(frozen=True, eq=False)
class EvaluationGiven:
    """What all units of an evaluation have in common.

    Attributes:
        detector: that is judged.
        split: fitted to it.
        settings: with no more images than there are.
        own: attacks of the user's.
    """

    detector: CalibratedDetector
    split: Split
    settings: EvaluationSettings
    own: Mapping[str, OwnAttack] = field(default_factory=dict)

    def substitute(self, name: str, shared: Path) -> PlainNetwork:
        """A substitute; trained, unless the folder has it."""
        own = next((network for called, network in (self.settings.networks or {}).items() if called == name), None)
        return train_substitute(self.split, name, seed=self.settings.seed, settings=own, folder=shared,
                                progress=False).network  # fmt: skip

    def white_box(self, shared: Path) -> WhiteBoxWork:
        """All attacks of the white box."""
        mine = self.substitute(self.settings.substitutes[0], shared).to(self.detector.device)
        return WhiteBoxWork(self.detector, self.split, replace(self.settings.plan, own=self.own), mine)


@dataclass(frozen=True)
class EvaluationUnit:
    """A network, or a batch of images under some attacks.

    Attributes:
        what: to do.
        which: name of the substitute; score; or radius as a text, or `CW`.
        batch: number of the batch.
        size: of batches.
        steps: files it keeps, at most.
        keeps, needs: see `Unit`.
    """

    what: What
    which: str = ""
    batch: int = 0
    size: int = 0
    steps: int = 1
    keeps: Patterns = field(default_factory=dict)
    needs: Patterns = field(default_factory=dict)

    @property
    def name(self) -> str:
        """For bars and errors."""
        first = self.batch * self.size
        images = f", images {first} to {first + self.size - 1}" if self.size else ""
        return f"{self.what} {self.which}".rstrip() + images

    def __call__(self, given: EvaluationGiven, places: Places, heard: Heard) -> None:
        """See `Unit`."""
        folder, shared, settings = places[FOLDER], places[SHARED], given.settings
        portion = Portion(frozenset({self.batch}), heard=heard)
        match self.what:
            case "substitute":
                given.substitute(self.which, shared)
            case "judges":
                train_judges(given.split, seed=settings.seed, folder=shared, settings=settings.judges, progress=False)
            case "blackbox":
                asked, test = BlackBoxAsked.of(settings), given.split.test
                attack_substitute(given.substitute(self.which, shared), draw(test, asked.images, settings.seed),
                                  asked.budgets, seed=settings.seed, folder=shared / asked.folder / self.which,
                                  portion=portion, progress=False)  # fmt: skip
            case "points":
                work = given.white_box(shared)
                work.points(given.detector.with_score(self.which), folder, portion=portion, progress=False)
            case "conditions":
                radii, cw = ((), True) if self.which == CW else ((float(self.which),), False)
                given.white_box(shared).conditions(folder, epsilons=radii, cw=cw, portion=portion, progress=False)


def evaluation_units(given: EvaluationGiven) -> tuple[list[EvaluationUnit], list[EvaluationUnit]]:
    """The units of an evaluation in two stages: substitutes; all else, what takes longest first."""
    settings = given.settings
    networks = [EvaluationUnit("substitute", name, keeps={SHARED: (f"substitute-{name}.safetensors",)})
                for name in settings.substitutes]  # fmt: skip
    black = list(_black_box(settings))
    if settings.suite == "none":
        return networks, black
    judges = EvaluationUnit("judges", keeps={SHARED: ("judge.safetensors",)})
    long, short = _white_box(given)
    return networks, [judges, *long, *black, *short]


def _black_box(settings: EvaluationSettings) -> Iterator[EvaluationUnit]:
    asked = BlackBoxAsked.of(settings)
    for batch in batch_numbers(asked.images, BATCH):
        for name in settings.substitutes:
            keeps = _files(f"{asked.folder}/{name}", batch, BATCH)
            yield EvaluationUnit("blackbox", name, batch, BATCH, len(asked.budgets), {SHARED: keeps}, _network(name))


def _white_box(given: EvaluationGiven) -> tuple[list[EvaluationUnit], list[EvaluationUnit]]:
    """Units of the subset, those of all points first; and units of the other images, which are at the main point."""
    settings, detector = given.settings, given.detector
    plan, size, needs = settings.plan, settings.main.batch_for(detector), _network(settings.substitutes[0])
    attacks, published = suite_size(detector, plan.main) + len(given.own), detector.scores[0]
    rates = [fpr for fpr in RATES if fpr >= detector.calibration.finest_fpr]
    points = 1 + len(other_points(Point(plan.main.epsilon, plan.main.fpr), plan.epsilons, rates))

    def at_points(score: str, batch: int, count: int) -> EvaluationUnit:
        keeps = *_files(f"{points_folder(score)}/*", batch, size), f"{points_folder(score)}/memory-*/*.npz"
        return EvaluationUnit("points", score, batch, size, count * attacks, {FOLDER: keeps}, needs)

    def for_conditions(which: str, batch: int) -> EvaluationUnit:
        folder = f"{CONDITIONS}/c1c2-cw" if which == CW else f"{CONDITIONS}/c1c2*-{float(which):g}"
        keeps = _files(folder, batch, size)
        return EvaluationUnit("conditions", which, batch, size, 1 if which == CW else 4, {FOLDER: keeps}, needs)

    few = batch_numbers(min(settings.subset, settings.images), size)
    scores = dict.fromkeys((detector.score, published))
    long = [at_points(score, batch, points) for score in scores for batch in few]
    radii = [CW, *map(repr, reversed(plan.condition_radii))]
    long += [for_conditions(which, batch) for which in radii for batch in few]
    rest = batch_numbers(settings.images, size)[len(few) :]
    return long, [at_points(detector.score, batch, 1) for batch in rest]


def _files(folder: str, batch: int, size: int) -> tuple[str, str]:
    """Patterns of what a suite keeps of a batch, and of what says whose work that is."""
    return f"{folder}/{IDENTITY}", f"{folder}/{file_of('*', batch, size)}"


def _network(name: str) -> Patterns:
    return {SHARED: (f"substitute-{name}.safetensors",)}


def do_units(
    given: EvaluationGiven, runner: Runner, places: Places, *, shard: Shard | None = None, progress: bool = True
) -> None:
    """Let the units be run, or of those that attack a shard's; what they make is kept in the places.

    Args:
        given: what is evaluated.
        runner: of the units.
        places: `FOLDER` and `SHARED`.
        shard: a part of the work; it trains the substitutes that it needs, as every other does.
        progress: whether to show a bar.
    """
    networks, work = evaluation_units(given)
    if shard is not None:
        work = shard.mine(work)
        needed = {name for unit in work for names in unit.needs.values() for name in names}
        networks = [unit for unit in networks if needed & set(unit.keeps[SHARED])]
    run_all(runner, [networks, work], given, places, name="evaluation", progress=progress)
