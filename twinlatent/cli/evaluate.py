"""`twinlatent evaluate`, and `report`, which makes its page anew."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import twinlatent as tl
from twinlatent import zoo
from twinlatent.cli.classifier import Guards, Rejecting
from twinlatent.cli.judged import data_of, is_own, judged
from twinlatent.cli.options import (
    AnyModel,
    Background,
    CertifiedImages,
    Channels,
    Data,
    DataName,
    Device,
    Few,
    Force,
    LabelRule,
    Name,
    OwnAttacks,
    Progress,
    Recipe,
    Score,
    Seed,
    ShiftImages,
    Size,
    Steps,
    Thresholds,
    own_attacks,
    resumable,
    say_aside,
)
from twinlatent.cli.workers import OfShard, OnRay, Workers, WorkerThreads, leave_shard, shard_of, workers_of
from twinlatent.errors import TwinlatentError

if TYPE_CHECKING:
    from twinlatent.data import Split
    from twinlatent.evaluation.protocol import Judgeable
    from twinlatent.running.shards import Shard

Shared = Annotated[Path | None, typer.Option(help="Folder for substitutes and judges, to share between evaluations.")]
Substitutes = Annotated[
    list[str] | None,
    typer.Option(help="Classifier to attack in the black box: f_p, cnn5 or cleverhans; may be repeated; default: all."),
]


Images = Annotated[int | None, typer.Option(help="Test images for the white box; default: 1,000, or all.", min=1)]
BlackBoxImages = Annotated[
    int | None, typer.Option(help="Test images for the black box; default: 1,000, or all.", min=1)
]
Subset = Annotated[
    int | None, typer.Option(help="White-box images attacked at other radii and rates; default: 100.", min=1)
]
Epsilon = Annotated[
    float | None, typer.Option(help="L∞ radius; default: the recipe's, else the paper's radii and 0.3.", max=1)
]


def evaluate(
    model: AnyModel,
    data: DataName = None,
    named: Data = None,
    folder: Annotated[Path, typer.Option("--out", help="Folder for the results and the page.")] = Path("evaluation"),
    suite: Annotated[str, typer.Option(help="White box: none, quick, standard, thorough or paper.")] = "standard",
    images: Images = None,
    blackbox_images: BlackBoxImages = None,
    subset: Subset = None,
    certified_images: CertifiedImages = None,
    shift_images: ShiftImages = None,
    few: Few = None,
    substitute: Substitutes = None,
    recipe: Recipe = None,
    attacks: OwnAttacks = None,
    epsilon: Epsilon = None,
    steps: Steps = None,
    label_rule: LabelRule = None,
    score: Score = None,
    thresholds: Thresholds = None,
    classifier: Guards = None,
    rejecting: Rejecting = False,
    size: Size = None,
    channels: Channels = None,
    background: Background = "white",
    shared: Shared = None,
    name: Name = None,
    force: Force = False,
    device: Device = "cpu",
    workers: Workers = None,
    ray: OnRay = None,
    threads: WorkerThreads = None,
    shard: OfShard = None,
    seed: Seed = 0,
    progress: Progress = True,
) -> None:
    """Evaluate a detector, ours or yours: accuracy, false positives, black-box and white-box attacks, checks of these.

    After an interruption, run the same command to resume.
    """
    options, part = {**locals()}, shard_of(shard)
    from twinlatent.evaluation.black_box.substitutes import SUBSTITUTES
    from twinlatent.evaluation.results.folder import UNFINISHED
    from twinlatent.evaluation.settings import CERTIFIED, IMAGES, SHIFTED, SUBSET, EvaluationSettings
    from twinlatent.report.console import print_run
    from twinlatent.report.page import write_page
    from twinlatent.settings import checked

    runner = workers_of(workers, threads, device, images, ray=ray)
    overruled = {"label_rule": label_rule, "score": score, "thresholds": thresholds, "classifier": classifier}
    reading = {"size": size, "channels": channels, "background": background}
    data = data_of(data, named)
    detector, split, own = judged(model, data, overruled, reading, rejecting, device=device, progress=progress)
    _check_count(max(images or 0, blackbox_images or 0), len(split.test))
    asked = {"suite": suite, "images": images or IMAGES, "blackbox_images": blackbox_images or IMAGES,
             "substitutes": substitute or SUBSTITUTES, "subset": few or subset or SUBSET, "epsilon": epsilon,
             "certified_images": certified_images or CERTIFIED, "steps": steps, "seed": seed,
             "shift_images": SHIFTED if shift_images is None else shift_images}  # fmt: skip
    settings = checked(lambda: EvaluationSettings.model_validate(asked))
    given: Any = {"settings": settings, "name": name or own, "recipe": recipe, "attacks": own_attacks(attacks),
                  "shared": shared, "overwrite": force, "workers": runner, "progress": progress}  # fmt: skip
    if part is not None:
        _evaluate_shard(detector, split, part, folder, given, options)
        return
    with resumable(places=(folder / UNFINISHED, shared)):
        run = tl.evaluate(detector, split, folder=folder, log=_log_beside(model, detector), page=write_page,
                          say=say_aside, **given)  # fmt: skip
    print_run(run)
    print(f"Page with pictures: {folder / 'report.html'}")


def report(folder: Annotated[Path, typer.Argument(help="Folder of an evaluation.")]) -> None:
    """Rebuild the HTML page of an evaluation from its folder."""
    from twinlatent.report.page import write_page

    print(write_page(folder))


def _evaluate_shard(
    detector: "Judgeable", split: "Split", part: "Shard", folder: Path, given: dict[str, Any], options: dict[str, Any]
) -> None:
    """A shard, in its own folder beside that of the whole."""
    from twinlatent.evaluation.evaluate import evaluate_shard
    from twinlatent.evaluation.results.folder import UNFINISHED
    from twinlatent.evaluation.results.merging import shard_folder
    from twinlatent.provenance import provenance, without_option, working_for

    place = shard_folder(folder, part)
    with (
        resumable(places=(place / UNFINISHED, given["shared"])),
        working_for(without_option(provenance(), "--shard")),
    ):
        evaluate_shard(detector, split, part, folder=place, say=say_aside, **given)
        leave_shard(place, part, "evaluate", options)


def _check_count(asked: int, there: int) -> None:
    if asked > there:
        raise TwinlatentError(f"{asked} test images are asked for; there are {there}")


def _log_beside(model: str, detector: "Judgeable") -> Path | None:
    """The log of the training folder; one that lies beside a detector file only if it is of this detector."""
    from twinlatent.evaluation.results.folder import log_of
    from twinlatent.method.calibrated import CalibratedDetector
    from twinlatent.method.training import LOG_FILE

    if is_own(model) or not isinstance(detector, CalibratedDetector) or "training" not in detector.card:
        return None
    log = zoo.locate(model).with_name(LOG_FILE)
    if not Path(model).is_dir():
        try:
            log_of(log, detector.card)
        except TwinlatentError as error:
            say_aside(f"left out of the page: {error}")
            return None
    return log
