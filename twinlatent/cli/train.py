"""`twinlatent train`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import twinlatent as tl
from twinlatent.baselines.methods import METHODS
from twinlatent.cells import OURS
from twinlatent.cli.classifier import GuardedBy, fit_of
from twinlatent.cli.options import (
    Background,
    Change,
    Channels,
    Device,
    Force,
    Progress,
    Seed,
    Size,
    Threads,
    set_threads,
)
from twinlatent.errors import TwinlatentError, listed, one_line
from twinlatent.failures import INTERRUPTED, fail

if TYPE_CHECKING:
    from twinlatent.data import Split
    from twinlatent.method.calibrated import CalibratedDetector

Start = Annotated[
    str | None, typer.Option(help="Detector file or name (see `zoo list`) whose encoders are trained further.")
]
LabelRule = Annotated[
    str | None, typer.Option(help="Rule for the label: nearest_mean, density or ratio; default: the recipe's.")
]
Score = Annotated[str | None, typer.Option(help="Suspicion score: vulnerable, joint or ratio; default: the recipe's.")]
Thresholds = Annotated[
    str | None, typer.Option(help="One threshold for each_class, or for all together; default: the recipe's.")
]
Method = Annotated[
    str, typer.Option(help=f"{OURS}, or a baseline: {', '.join(METHODS)}; docs/results.md says who they are.")
]


def train(
    data: Annotated[str, typer.Argument(help="Data set (see `data list`), or folder:PATH with a folder a class.")],
    folder: Annotated[Path, typer.Option("--out", help="Output folder: training state, log and detector file.")],
    preset: Annotated[
        str | None,
        typer.Option(help="Purpose of the recipe: smoke, standard (the default), paper, or certified (also: robust)."),
    ] = None,
    recipe: Annotated[
        str | None, typer.Option(help="Name (see `recipe list`) or TOML file; default: that of the data set, or rules.")
    ] = None,
    method: Method = OURS,
    attack: Annotated[
        str | None, typer.Option(help="Training attack: mim, cw or pgd; default: mim, or the baseline's.")
    ] = None,
    start: Start = None,
    classifier: GuardedBy = None,
    change: Change = None,
    label_rule: LabelRule = None,
    score: Score = None,
    thresholds: Thresholds = None,
    size: Size = None,
    channels: Channels = None,
    background: Background = "white",
    resume: Annotated[bool, typer.Option(help="Resume an interrupted training in --out.")] = False,
    force: Force = False,
    device: Device = "cpu",
    threads: Threads = None,
    seed: Seed = 0,
    progress: Progress = True,
) -> None:
    """Train a detector, ours by the mini-max game or a baseline, and calibrate it."""
    from twinlatent.baselines import fit_baseline
    from twinlatent.method.calibrated import DETECTOR_FILE, CalibratedDetector
    from twinlatent.recipes import recipe_of
    from twinlatent.settings import as_toml, override

    set_threads(threads)
    _refuse_what_is_ours(method, bool(label_rule or score or thresholds), start)
    fit = fit_of(classifier, method, label_rule)
    split = tl.data.load(data, seed=seed, size=size, channels=channels, background=background, progress=progress)
    chosen = recipe_of(split, preset, recipe)

    def begin() -> None:
        print(f"# recipe {chosen.name}, {chosen.purpose}; {len(split.train)} training images: {_of_each_class(split)}")
        print(as_toml(effective))

    if any(line.strip().startswith("adversary.attack=") for line in change or []):
        raise TwinlatentError("--set adversary.attack: give --attack, which also brings what the recipe has against it")
    keep = {"preset": preset, "recipe": recipe, "seed": seed, "folder": folder, "resume": resume, "overwrite": force,
            "device": device, "progress": progress, "begin": begin}  # fmt: skip
    try:
        made: CalibratedDetector
        if method == OURS:
            settings = override(chosen.game_settings(attack), change or [])
            detector = detector_settings(chosen.detector, label_rule, score, thresholds)
            effective = chosen.for_game(settings, detector)
            begun = None if start is None else load_ours(start)
            made = fit(split, settings=settings, detector=detector, start=begun, **keep)
        else:
            own = override(chosen.baseline_settings(method, attack), change or [])
            effective = chosen.for_baseline(method, own)
            made = fit_baseline(method, split, settings=own, **keep)  # type: ignore[arg-type]
    except KeyboardInterrupt as stopped:
        saved = (
            f"{stopped}, saved; give the same command with --resume to resume it" if str(stopped) else "stopped at once"
        )
        fail(saved, INTERRUPTED)
    print(f"{folder / DETECTOR_FILE}: {made.card['rounds']} rounds in {made.card['seconds']:.0f} s")
    print(first_look(made, split))


def _of_each_class(split: "Split") -> str:
    """How many training images each class has, for a line."""
    counts = split.train.labels.bincount(minlength=len(split.class_names)).tolist()
    return one_line(listed([f"{name} {n}" for name, n in zip(split.class_names, counts, strict=True)], most=20))


def _refuse_what_is_ours(method: str, rules: bool, start: str | None) -> None:
    """Refuse rules and a start for a baseline, which has neither."""
    if method != OURS and rules:
        raise TwinlatentError(f"{method} has a label rule, scores and thresholds of its own; leave --label-rule, "
                              "--score and --thresholds out")  # fmt: skip
    if method != OURS and start:
        raise TwinlatentError(f"{method} begins with fresh weights; leave --start out")


def first_look(made: "CalibratedDetector", split: "tl.data.Split") -> str:
    """Accuracy and flagged share in a line: of selection images where there are any; test images stay unseen."""
    fpr = max(0.05, made.calibration.finest_fpr)
    part = "selection" if "selection" in split.parts else "test"
    images = split.selection if part == "selection" else split.test
    verdict = made.detect(images.images, fpr)
    accuracy = (verdict.label == images.labels).double().mean().item()
    flagged = verdict.adversarial.double().mean().item()
    return (f"{len(images)} {part} images: accuracy {accuracy:.4f}, flagged {flagged:.4f} where {fpr:.4g} was asked "
            "for")  # fmt: skip


def load_ours(name: str) -> "tl.Detector":
    """A detector of ours, by its name or file.

    Raises:
        TwinlatentError: there is none, or it is a baseline.
    """
    found = tl.load(name)
    if not isinstance(found, tl.Detector):
        raise TwinlatentError(f"--start {name}: it is a detector of the method {found.method}; give one of ours")
    return found


def detector_settings(
    own: "tl.DetectorSettings", label_rule: str | None, score: str | None, thresholds: str | None
) -> "tl.DetectorSettings":
    """`own` with what was asked for on the command line."""
    from twinlatent.settings import checked

    asked = {"label_rule": label_rule, "score": score, "thresholds": thresholds}
    return checked(lambda: tl.DetectorSettings(**own.model_dump() | {k: v for k, v in asked.items() if v is not None}))
