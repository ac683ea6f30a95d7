"""`twinlatent attack`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from twinlatent.claims import claimed
from twinlatent.cli.classifier import Guards, Rejecting
from twinlatent.cli.judged import data_of, judged
from twinlatent.cli.options import (
    AnyModel,
    Background,
    Channels,
    Data,
    DataName,
    Device,
    Force,
    LabelRule,
    Name,
    Norm,
    OwnAttacks,
    Progress,
    Score,
    Seed,
    Size,
    Steps,
    Thresholds,
    own_attacks,
    refuse_records,
    resumable,
    say_aside,
)
from twinlatent.cli.workers import OfShard, OnRay, Workers, WorkerThreads, leave_shard, shard_of, workers_of

if TYPE_CHECKING:
    from twinlatent.evaluation.protocol import WhiteBoxSettings
    from twinlatent.evaluation.white_box import WhiteBoxRun

DEFAULT_IMAGES = 200
"""Attacked, where not said otherwise."""
Goal = Annotated[
    str,
    typer.Option(
        help="Beyond being misclassified: undetected, c1c2 (the paper's with --score vulnerable), or misclassified."
    ),
]
Images = Annotated[
    int | None,
    typer.Option(help="Test images to attack, drawn by seed; default: 200, or all if there are fewer.", min=1),
]
RemainingOnly = Annotated[
    bool,
    typer.Option("--remaining-only", help="Run an attack only where no earlier one won: faster, same verdict."),
]
UnprovedOnly = Annotated[
    bool,
    typer.Option(
        "--unproved-only",
        help="Leave out images of which it is proved that no attack can win, and count them as not won: the same "
        "rates, and where much is proved far faster.",
    ),
]


def attack(
    model: AnyModel,
    data: DataName = None,
    named: Data = None,
    path: Annotated[Path, typer.Option("--save", help="File for the attacked images.")] = Path("adversarial.npz"),
    records: Annotated[Path | None, typer.Option(help="JSON file for the success rates.")] = None,
    suite: Annotated[str, typer.Option(help="quick, standard, thorough or paper.")] = "standard",
    epsilon: Annotated[float, typer.Option(help="Radius of the attacks.", min=0)] = 0.3,
    norm: Norm = "linf",
    goal: Goal = "undetected",
    fpr: Annotated[float, typer.Option(help="Share of benign images that may be flagged: 0.01, 0.05 or 0.1.")] = 0.05,
    images: Images = None,
    attacks: OwnAttacks = None,
    steps: Steps = None,
    remaining_only: RemainingOnly = False,
    unproved_only: UnprovedOnly = False,
    name: Name = None,
    force: Force = False,
    label_rule: LabelRule = None,
    score: Score = None,
    thresholds: Thresholds = None,
    classifier: Guards = None,
    rejecting: Rejecting = False,
    size: Size = None,
    channels: Channels = None,
    background: Background = "white",
    device: Device = "cpu",
    workers: Workers = None,
    ray: OnRay = None,
    threads: WorkerThreads = None,
    shard: OfShard = None,
    seed: Seed = 0,
    progress: Progress = True,
) -> None:
    """Attack a detector, yours too, with a suite of white-box attacks; for each image the worst one counts.

    After an interruption, run the same command to resume.
    """
    options, part = {**locals()}, shard_of(shard)
    from twinlatent.evaluation.protocol import checked_attacks, detector_of, try_attacks
    from twinlatent.evaluation.results.folder import UNFINISHED
    from twinlatent.evaluation.results.merging import shard_folder
    from twinlatent.evaluation.white_box.suite import attack_shard
    from twinlatent.evaluation.white_box.to_file import attack_to_file, check_name, unfinished_of
    from twinlatent.provenance import provenance, without_option, working_for

    runner = workers_of(workers, threads, device, images or DEFAULT_IMAGES, ray=ray)
    settings = _settings(options | {"images": images or DEFAULT_IMAGES})
    check_name(path)
    refuse_records(records, force)
    overruled = {"label_rule": label_rule, "score": score, "thresholds": thresholds, "classifier": classifier}
    reading = {"size": size, "channels": channels, "background": background}
    data = data_of(data, named)
    asked_for, split, own = judged(model, data, overruled, reading, rejecting, device=device, progress=progress)
    if images is None:
        settings = settings.model_copy(update={"images": min(DEFAULT_IMAGES, len(split.test))})
    joining = checked_attacks(own_attacks(attacks))
    kept = unfinished_of(path) if part is None else shard_folder(path, part) / UNFINISHED
    with detector_of(asked_for, split, name or own, say=say_aside) as detector, resumable(places=(kept,)):
        try_attacks(joining, (settings.epsilon,), detector, split.calibration, settings.fpr, settings.seed)
        if part is not None:
            with working_for(without_option(provenance(), "--shard")), claimed(kept.parent):
                attack_shard(detector, split, settings, part, kept, own=joining, overwrite=force, workers=runner,
                             progress=progress)  # fmt: skip
                leave_shard(kept.parent, part, "attack", options)
            return
        run = attack_to_file(detector, split, settings, path, own=joining, overwrite=force, workers=runner,
                             progress=progress)  # fmt: skip
    _finished(run, detector.fingerprint, settings, records)
    print(f"Images: {path}")


def _settings(options: dict[str, Any]) -> "WhiteBoxSettings":
    from twinlatent.evaluation.protocol import WhiteBoxSettings
    from twinlatent.settings import checked

    asked = {name: value for name, value in options.items() if name in WhiteBoxSettings.model_fields}
    return checked(lambda: WhiteBoxSettings(**asked))


def _finished(run: "WhiteBoxRun", fingerprint: str, settings: "WhiteBoxSettings", records: Path | None) -> None:
    """Keep the success rates, where it is asked for, and print them."""
    from twinlatent.evaluation.results.records import write_records
    from twinlatent.report.console import print_attacks

    if records is not None:
        write_records(records, run.records, detector=fingerprint, settings=settings.model_dump(mode="json"))
    print_attacks(run, settings)
