"""`twinlatent certify`."""

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from twinlatent.claims import clear
from twinlatent.cli.classifier import Guards
from twinlatent.cli.options import (
    Background,
    DataName,
    Force,
    LabelRule,
    Model,
    Norm,
    Progress,
    Score,
    Seed,
    Size,
    Threads,
    Thresholds,
    loaded,
    refuse_records,
    resumable,
    say_aside,
    set_threads,
)
from twinlatent.errors import TwinlatentError


def certify(
    model: Model,
    data: DataName = None,
    epsilons: Annotated[
        list[float] | None,
        typer.Option("--epsilon", help="Radius; may be repeated; default: the recipe's for attacks, else 0.3."),
    ] = None,
    norm: Norm = "linf",
    fprs: Annotated[
        list[float] | None,
        typer.Option("--fpr", help="Share of benign images that may be flagged; may be repeated; default: 0.05."),
    ] = None,
    images: Annotated[int | None, typer.Option(help="Images, drawn by seed; default: all.", min=1)] = None,
    part: Annotated[str, typer.Option(help="Whose images: test, or selection, on which settings are chosen.")] = "test",
    records: Annotated[Path | None, typer.Option(help="JSON file for the numbers.")] = None,
    force: Force = False,
    label_rule: LabelRule = None,
    score: Score = None,
    thresholds: Thresholds = None,
    classifier: Guards = None,
    size: Size = None,
    background: Background = "white",
    threads: Threads = None,
    seed: Seed = 0,
    progress: Progress = True,
) -> None:
    """Prove what no attack on a detector can exceed: the share of images misclassified and not flagged, at each radius.

    It is computed on the CPU, for whose float32 the proof holds: minutes for 10,000 images of MNIST, more where much is
    nearly proved. With --records, run the same command to resume after an interruption.
    For detectors that were trained without bounds the proof says little: attack those.
    """
    from twinlatent.evaluation.protocol.which_split import split_of
    from twinlatent.evaluation.results.records import write_records
    from twinlatent.evaluation.settings import EPSILON, EvaluationSettings
    from twinlatent.evaluation.white_box.certified import CertifySettings, certify_split
    from twinlatent.evaluation.white_box.to_file import unfinished_of
    from twinlatent.report.console import print_certified
    from twinlatent.settings import checked

    set_threads(threads)
    if norm == "l2" and not epsilons:
        raise TwinlatentError("--norm l2: give --epsilon, a radius in L2 such as 1.5; recipes have radii in L∞")
    asked = {
        "epsilons": epsilons or (EPSILON,),
        "norm": norm,
        "fprs": fprs or (0.05,),
        "images": images,
        "part": part,
        "seed": seed,
    }
    settings = checked(lambda: CertifySettings.model_validate(asked))
    refuse_records(records, force)
    detector = loaded(model, label_rule, score, thresholds, classifier)
    split = split_of(detector, data, size=size, background=background, progress=progress, say=say_aside)
    if not epsilons:
        usual = EvaluationSettings().for_images(split, detector.card).epsilon or EPSILON
        settings = settings.model_copy(update={"epsilons": (usual,)})
    kept = None if records is None else unfinished_of(records)
    with resumable("finished images are kept", places=(kept,)) if kept else nullcontext():
        found = certify_split(detector, split, settings, folder=kept, progress=progress)
    if records and kept:
        about = settings.model_dump(mode="json")
        write_records(records, found.records, detector=detector.fingerprint, settings=about)
        clear(kept)
    print_certified(found, settings.part)
