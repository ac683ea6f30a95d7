"""White-box evaluation: a suite of attacks on the detector itself, at a threshold that was fixed beforehand.

The adversary has the detector, its thresholds and the calibration images. What counts in the end is what
`Detector.detect` says of the final images.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

import torch
from torch import Tensor

from twinlatent.attacks.attack import Attack
from twinlatent.attacks.models import Attackable
from twinlatent.attacks.objectives import LatentMatching, latent_matching
from twinlatent.attacks.remembered import Memory
from twinlatent.attacks.suite_runs import SuiteResult, check_folder
from twinlatent.attacks.suite_units import SuiteGiven, run_suite_by
from twinlatent.attacks.suites import SUBSTITUTED, Suite
from twinlatent.code_digest import code_identity
from twinlatent.criteria import C1, C2, Criterion, Misclassified, Undetected
from twinlatent.data import LabelledImages, Split
from twinlatent.digest import digest
from twinlatent.errors import TwinlatentError
from twinlatent.evaluation.black_box import train_substitute
from twinlatent.evaluation.metrics import rate
from twinlatent.evaluation.protocol import OwnAttack, Point, WhiteBoxSettings, at_radius, draw, fitted, with_attacks
from twinlatent.evaluation.results import WORST, Record, Row, Rows, records_of
from twinlatent.evaluation.white_box.kept_proofs import KeptProofs
from twinlatent.evaluation.white_box.proofs import holds_at
from twinlatent.method.calibrated import CalibratedDetector
from twinlatent.outputs import Bounds
from twinlatent.provenance import Provenance, provenance
from twinlatent.running.portions import ALL, Portion
from twinlatent.running.shards import Shard
from twinlatent.running.units import Runner
from twinlatent.running.workers import runner_of
from twinlatent.torch_state import fresh_torch

REFERENCES = 2000
"""So many calibration images, drawn by seed, are looked through for latents to match."""


@dataclass(frozen=True)
class WhiteBoxRun:
    """What a suite did to a detector.

    Attributes:
        benign: the attacked test images as they were, with their true labels.
        result: what each attack found, its wins judged by `detect`.
        wins: the same wins on the CPU, name of each attack, and `worst` → bool (n,); `none` is no attack.
        records: a success rate for each of these.
        origin: command, commit, machine, versions.
    """

    benign: LabelledImages
    result: SuiteResult
    wins: Mapping[str, Tensor]
    records: tuple[Record, ...]
    origin: Provenance


@fresh_torch()
def attack_detector(
    detector: CalibratedDetector,
    split: Split,
    settings: WhiteBoxSettings,
    *,
    drawn: LabelledImages | None = None,
    only: Collection[str] | None = None,
    own: Mapping[str, OwnAttack] = MappingProxyType({}),
    substitute: Attackable | None = None,
    among: Tensor | None = None,
    folder: Path | None = None,
    overwrite: bool = False,
    memory: Memory | None = None,
    looser: Sequence[float] = (),
    portion: Portion = ALL,
    workers: int | Runner | None = None,
    progress: bool = True,
) -> WhiteBoxRun:
    """Attack a detector with a suite and judge the outcome.

    Args:
        detector: calibrated on held-out images, on any device.
        split: its data set; test images are attacked, training images train the substitute of `transfer`.
        settings: what is asked.
        drawn: test images to attack; None: those that the settings ask for.
        only: names of attacks of the suite, in the order they are wanted; None: all of them.
        own: attacks of the user's that join the suite, see `checked_attacks`.
        substitute: classifier of the attacker's own, on the detector's device; None: one is trained where the suite
            needs it.
        among: bool (n,), which of the drawn images are attacked; None: all.
        folder: keeps what is done after every batch, see `run_suite`.
        overwrite: begin anew where the folder holds other work.
        memory: answers for attacks of the suite that were run at a stricter rate and found all there is at this one.
        looser: rates of later calls, for which it is filled.
        portion: which batches are attacked here, see `run_suite`.
        workers: so many processes attack, each with one thread of torch's; None or 1: this one alone. The result is the
            same bit for bit as here with one thread.
        progress: whether to show bars.

    Raises:
        TwinlatentError: the detector was made for images or classes of another kind, or its calibration images are too
            few for the rate.
        Undecided: only unproved images are to be attacked, and nothing can be proved of such a detector.
    """
    origin = provenance()
    if drawn is not None:
        drawn = replace(split, test=drawn).with_classes(detector.class_names).test
    split = fitted(detector, split)
    asked = _asked(detector, split, settings, drawn, only, own, substitute, among, folder, overwrite, progress)
    if memory is not None:
        easier = [_criterion(detector, settings.model_copy(update={"fpr": fpr})) for fpr in looser]
        suite = {name: attack for name, attack in asked.attacks.items() if name not in own}
        asked = replace(asked, attacks={**asked.attacks, **memory.remembering(suite, easier)})
    result = run_suite_by(runner_of(workers), asked, folder=folder, portion=portion, overwrite=overwrite,
                          progress=progress)  # fmt: skip
    drawn, device = LabelledImages(asked.images.cpu(), asked.labels.cpu()), detector.device
    wins = _judged(detector, drawn, result, settings)
    judged = {name: replace(tried, wins=wins[name].to(device)) for name, tried in result.by_attack.items()}
    seconds = sum(tried.seconds for tried in judged.values())
    budget = with_attacks(settings.described, own)
    every = torch.ones(len(drawn), dtype=torch.bool) if among is None else among.cpu()
    reached = asked.options["among"]
    proved = every & ~reached.cpu() if settings.unproved_only else torch.zeros_like(every)
    rows = Rows(tuple(_rows(detector, settings, result, wins, every, proved)), budget, origins=result.origins)
    records = records_of([rows], detector, split, settings.seed, seconds, origin)
    return WhiteBoxRun(drawn, SuiteResult(judged, result.origins), wins, tuple(records), origin)


def attack_shard(
    detector: CalibratedDetector,
    split: Split,
    settings: WhiteBoxSettings,
    shard: Shard,
    folder: Path,
    *,
    own: Mapping[str, OwnAttack] = MappingProxyType({}),
    overwrite: bool = False,
    workers: int | Runner | None = None,
    progress: bool = True,
) -> None:
    """The part of `attack_detector` that is a shard's; what is done is kept in the folder, for `twinlatent merge`."""
    with fresh_torch():
        split = fitted(detector, split)
        asked = _asked(detector, split, settings, None, None, own, None, None, folder, overwrite, progress)
        asked.do(runner_of(workers), folder, shard, overwrite=overwrite, progress=progress)


def _asked(
    detector: CalibratedDetector,
    split: Split,
    settings: WhiteBoxSettings,
    drawn: LabelledImages | None,
    only: Collection[str] | None,
    own: Mapping[str, OwnAttack],
    substitute: Attackable | None,
    among: Tensor | None,
    folder: Path | None,
    overwrite: bool,
    progress: bool,
) -> SuiteGiven:
    """What `run_suite` is called with; arguments as `attack_detector`, the images being fitted to the detector."""
    detector.calibration.check(settings.fpr)
    drawn, device = drawn or draw(split.test, settings.images, settings.seed), detector.device
    joining = at_radius(own, settings.epsilon)
    identity = {"detector": detector.fingerprint, "asked": settings.model_dump(), "data": split.fingerprint,
                "own": digest(joining), "only": None if only is None else sorted(only)}  # fmt: skip
    if folder is not None:
        check_folder(folder, identity | code_identity(), overwrite)  # before substitutes and proofs, which take long
    attacks = _attacks(detector, split, settings, only, substitute, progress) | joining
    batch_size = settings.batch_for(detector)
    if settings.unproved_only:
        if detector.device.type != "cpu":
            raise TwinlatentError("proofs are of the detector on a CPU; attack there, or leave unproved_only out")
        here = Point(settings.epsilon, settings.fpr)
        kept = KeptProofs(folder) if folder is not None else None
        unproved = ~holds_at(detector, drawn, [here], norm=settings.norm, kept=kept, progress=progress)[here]
        among = unproved if among is None else among & unproved
        batch_size *= len(drawn) // max(1, int(among.sum()))  # batches are of all images, proved ones included
    options = {"criterion": _criterion(detector, settings), "norm": settings.norm, "epsilon": settings.epsilon,
               "seed": settings.seed, "batch_size": batch_size,
               "remaining_only": settings.remaining_only, "among": among, "identity": identity}  # fmt: skip
    return SuiteGiven(attacks, detector, drawn.images.to(device), drawn.labels.to(device), options)


def _attacks(
    detector: CalibratedDetector,
    split: Split,
    settings: WhiteBoxSettings,
    only: Collection[str] | None,
    substitute: Attackable | None,
    progress: bool,
) -> dict[str, Attack]:
    """Those of the suite, or `only` some of them, with what they need."""
    wanted = {"transfer", "latent-targets"} & set(("transfer", "latent-targets") if only is None else only)
    substituted, references = settings.suite in SUBSTITUTED, None
    if substitute is None and substituted and "transfer" in wanted:
        network = train_substitute(split, seed=settings.seed, progress=progress).network
        substitute = network.to(detector.device)
    if substituted and "latent-targets" in wanted:
        references = _references(detector, split, settings.seed)
    attacks = _suite(detector, settings, substitute, references).attacks()
    return attacks if only is None else {name: attacks[name] for name in only}


def suite_size(detector: CalibratedDetector, settings: WhiteBoxSettings) -> int:
    """How many attacks the suite has, beside those of the user's."""
    needy = ("transfer", "latent-targets") if settings.suite in SUBSTITUTED else ()
    return len(_suite(detector, settings, None, None).attacks()) + len(needy)


def _suite(
    detector: CalibratedDetector,
    settings: WhiteBoxSettings,
    substitute: Attackable | None,
    references: LatentMatching | None,
) -> Suite:
    bounds = detector.bounds(settings.fpr)
    level = bounds.suspicion_mean if settings.goal == "c1c2" else bounds.thresholds[settings.fpr]
    return Suite(
        name=settings.suite,
        epsilon=settings.epsilon,
        norm=settings.norm,
        steps=settings.steps,
        level=None if settings.goal == "misclassified" else level,
        robust=bounds.robust_mean is not None,
        references=references,
        substitute=substitute,
    )


def _references(detector: CalibratedDetector, split: Split, seed: int) -> LatentMatching | None:
    """Latents to match, from calibration images; None if those of a class are all misclassified."""
    known = draw(split.calibration, min(REFERENCES, len(split.calibration)), seed)
    try:
        return latent_matching(detector, known.images.to(detector.device), known.labels.to(detector.device))
    except TwinlatentError:
        return None


def _criterion(detector: CalibratedDetector, settings: WhiteBoxSettings) -> Criterion:
    bounds = detector.bounds(settings.fpr)
    match settings.goal:
        case "undetected":
            return Misclassified() & Undetected(bounds, settings.fpr)
        case "c1c2":
            return conditions(bounds)
        case "misclassified":
            return Misclassified()


def conditions(bounds: Bounds) -> Criterion:
    """Misclassified, C1, and C2 where there is a robust log-density."""
    met = Misclassified() & C1(bounds)
    return met if bounds.robust_mean is None else met & C2(bounds)


def _judged(
    detector: CalibratedDetector, drawn: LabelledImages, result: SuiteResult, settings: WhiteBoxSettings
) -> dict[str, Tensor]:
    """Who won, on the CPU. `detect` has the last word on labels and flags; C1 and C2 are no part of its verdict."""
    wins = {}
    for name, tried in result.by_attack.items():
        wins[name] = tried.wins.cpu().clone()
        rows = wins[name].nonzero()[:, 0]  # what did not win stays lost, so nobody asks
        verdict = detector.detect(tried.result.images[rows.to(tried.wins.device)], settings.fpr)
        passed = ~verdict.adversarial if settings.goal == "undetected" else torch.ones_like(verdict.adversarial)
        wins[name][rows] = (verdict.label != drawn.labels[rows]) & passed
    return wins | {WORST: torch.stack(list(wins.values())).any(0)}


def _rows(
    detector: CalibratedDetector,
    settings: WhiteBoxSettings,
    result: SuiteResult,
    wins: Mapping[str, Tensor],
    every: Tensor,
    proved: Tensor,
) -> Iterator[Row]:
    """A success rate for each attack, over the images that it was run on or is proved to lose, and for the worst."""
    epsilon = settings.epsilon if settings.norm == "linf" else None
    for name, found in wins.items():
        run_on = result.by_attack[name].tried.cpu() if name != WORST else every
        tried = run_on | proved
        if run_on.any():
            yield Row(settings.metric, name, epsilon, detector.score, rate(int(found[tried].sum()), int(tried.sum())))
