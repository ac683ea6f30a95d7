"""The command line. Thin: every command is a call into the library and a table of what it returned."""

import json
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.markup import escape
from rich.table import Table
from typer.core import TyperGroup

import twinlatent as tl
from twinlatent import zoo
from twinlatent.baselines import METHODS, fit_baseline
from twinlatent.data.files import read_images
from twinlatent.demo import EPSILON, run_demo
from twinlatent.errors import TwinlatentError
from twinlatent.evaluation.evaluate import FEW, IMAGES, EvaluationSettings, evaluate_to_folder
from twinlatent.evaluation.records import write_records
from twinlatent.evaluation.split_of import split_of
from twinlatent.evaluation.training_log import log_of
from twinlatent.evaluation.whitebox import WhiteBoxSettings, attack_to_file
from twinlatent.failures import INTERRUPTED, fail, last_resort, safe_streams
from twinlatent.method.calibrated import DETECTOR_FILE, CalibratedDetector
from twinlatent.method.training import LOG_FILE
from twinlatent.motivation.settings import check_names
from twinlatent.recipes import recipe_of
from twinlatent.report.console import print_attacks, print_comparison, print_motivation, print_run, show
from twinlatent.report.contact_sheet import contact_sheet
from twinlatent.report.page import write_page
from twinlatent.reproduce import CELLS, COMPARISON, reproduce
from twinlatent.reproduce_motivation import CELLS as MOTIVATION_CELLS
from twinlatent.reproduce_motivation import DATA as MOTIVATION_DATA
from twinlatent.reproduce_motivation import PAGE, reproduce_motivation, run_cell
from twinlatent.settings import checked, override
from twinlatent.torch_state import check_device


class _Commands(TyperGroup):
    """All of them; Ctrl-C in any ends in a line."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command that the words name."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as stopped:
            fail(str(stopped) or "stopped", INTERRUPTED)


app = typer.Typer(cls=_Commands, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False,
                  help="Train, judge and use adversarial-example detectors.")  # fmt: skip
data_app = typer.Typer(no_args_is_help=True, help="Data sets: list, fetch, prepare, show.")
zoo_app = typer.Typer(no_args_is_help=True, help="Detectors that ship with the package.")
app.add_typer(data_app, name="data")
app.add_typer(zoo_app, name="zoo")

DEBUG, DEBUG_VARIABLE = "--debug", "TWINLATENT_DEBUG"
OURS = "twinlatent"
FILES_OF_IMAGES = (
    "PNG, JPEG and the like, folders of them, .npy, .npz (of an attack's file the worst images; FILE.npz:NAME for "
    "another array), or IDX as MNIST's."
)
DEFAULT_IMAGES = 200
"""Attacked, where not said otherwise."""

Progress = Annotated[bool, typer.Option(help="Show progress.")]
Seed = Annotated[int, typer.Option(help="Seed of every random choice.", min=0)]
Threads = Annotated[int | None, typer.Option(help="Threads of the CPU; default: PyTorch's.", min=1)]
Model = Annotated[str, typer.Argument(help="Name in the zoo (or zoo:NAME), detector file, or training folder.")]
DataName = Annotated[str | None, typer.Argument(help="Data set; default: the one it was trained on.")]
Device = Annotated[str, typer.Option(help="Where to compute, such as cpu or cuda.")]
Size = Annotated[int | None, typer.Option(help="Pixels a side, for folder:PATH.", min=4)]
Steps = Annotated[int | None, typer.Option(help="Of each gradient attack; default: the suite's.", min=1)]
Overruled = Annotated[str | None, typer.Option(help="Instead of the detector's own.")]
Force = Annotated[bool, typer.Option("--force", help="Write over what is there.")]
"""Options that several commands share."""


def main() -> None:
    """Run the command line; whatever goes wrong ends in one line and exit status 1, Ctrl-C with 130.

    `--debug` among the words, or 1 in $TWINLATENT_DEBUG, shows the traceback, too.
    """
    safe_streams()
    words = [word for word in sys.argv[1:] if word != DEBUG]
    debug = len(words) < len(sys.argv[1:]) or os.environ.get(DEBUG_VARIABLE, "") not in ("", "0")
    with last_resort(debug):
        try:
            app(words)
        finally:
            sys.stdout.flush()


@app.callback()
def everywhere(
    debug: Annotated[bool, typer.Option(DEBUG, help="Show the traceback of what goes wrong.")] = False,
) -> None:
    """Train, judge and use adversarial-example detectors."""


@app.command()
def demo(
    folder: Annotated[Path, typer.Option("--out", help="Folder for the results and the page.")] = Path("demo"),
    preset: Annotated[str, typer.Option(help="Settings of the training: smoke, standard or paper.")] = "standard",
    threads: Annotated[int, typer.Option(help="Threads of the CPU; the images are too small for more.", min=1)] = 1,
    seed: Seed = 0,
    progress: Progress = True,
) -> None:
    """Train, attack and judge a detector on the embedded digits, and write an HTML page."""
    _set_threads(threads)
    run = run_demo(folder, preset=preset, seed=seed, progress=progress)
    print_run(run)
    print(f"Page with pictures: {folder / 'report.html'}")


@app.command()
def train(
    data: Annotated[str, typer.Argument(help="Data set (see `data list`), or folder:PATH with a folder a class.")],
    folder: Annotated[Path, typer.Option("--out", help="Folder for the state, the log and the detector file.")],
    preset: Annotated[str, typer.Option(help="Settings: smoke, standard or paper.")] = "standard",
    method: Annotated[str, typer.Option(help=f"{OURS}, or a baseline: {', '.join(METHODS)}.")] = OURS,
    attack: Annotated[
        str | None, typer.Option(help="Training attack A: mim, cw or pgd; default: mim, or the baseline's.")
    ] = None,
    change: Annotated[list[str] | None, typer.Option("--set", help="One setting, as adversary.epsilon=0.3.")] = None,
    label_rule: Annotated[str | None, typer.Option(help="nearest_mean, density or ratio.")] = None,
    score: Annotated[str | None, typer.Option(help="vulnerable, joint or ratio.")] = None,
    size: Size = None,
    resume: Annotated[bool, typer.Option(help="Resume an interrupted training in --out.")] = False,
    force: Force = False,
    device: Device = "cpu",
    threads: Threads = None,
    seed: Seed = 0,
    progress: Progress = True,
) -> None:
    """Train a detector, ours by the mini-max game or a baseline, and calibrate it."""
    _set_threads(threads)
    if method != OURS and (label_rule or score):
        raise TwinlatentError(f"{method} has a label rule and scores of its own; leave --label-rule and --score out")
    split = tl.data.load(data, seed=seed, size=size, progress=progress)
    chosen = recipe_of(split, preset)
    keep = {"seed": seed, "folder": folder, "resume": resume, "overwrite": force, "device": device,
            "progress": progress}  # fmt: skip
    try:
        made: CalibratedDetector
        if method == OURS:
            settings = override(chosen.game_settings(attack or "mim"), change or [])
            detector = detector_settings(chosen.detector, label_rule, score)
            made = tl.fit_split(split, settings=settings, detector=detector, **keep)  # type: ignore[arg-type]
        else:
            own = chosen.baseline_settings(method, attack)
            made = fit_baseline(method, split, settings=override(own, change or []), **keep)  # type: ignore[arg-type]
    except KeyboardInterrupt as stopped:
        saved = (
            f"{stopped}, saved; give the same command with --resume to resume it" if str(stopped) else "stopped at once"
        )
        fail(saved, INTERRUPTED)
    fpr = max(0.05, made.calibration.finest_fpr)
    verdict = made.detect(split.test.images, fpr)
    accuracy = (verdict.label == split.test.labels).double().mean().item()
    flagged = verdict.adversarial.double().mean().item()
    print(f"{folder / DETECTOR_FILE}: {made.card['rounds']} rounds in {made.card['seconds']:.0f} s")
    print(
        f"{len(split.test)} test images: accuracy {accuracy:.4f}, flagged {flagged:.4f} where {fpr:.4g} was asked for"
    )


@app.command()
def detect(
    model: Model,
    files: Annotated[list[Path], typer.Argument(help=FILES_OF_IMAGES)],
    fpr: Annotated[float, typer.Option(help="Share of benign images that may be flagged.")] = 0.05,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line and image.")] = False,
    invert: Annotated[bool, typer.Option(help="Swap black and white first: MNIST is white on black.")] = False,
    device: Device = "cpu",
    threads: Threads = None,
) -> None:
    """Classify images and say which are adversarial."""
    _set_threads(threads)
    check_device(device)
    detector = tl.load(model).to(device)
    detector.calibration.check(fpr)
    names, images = read_images(files, detector.image_shape)
    verdict = detector.detect(1 - images if invert else images, fpr)
    rows = [
        {"image": name, "label": detector.class_names[verdict.label[i]], "adversarial": bool(verdict.adversarial[i]),
         "p_value": round(verdict.p_value[i].item(), 6), "suspicion": round(verdict.suspicion[i].item(), 6)}
        for i, name in enumerate(names)
    ]  # fmt: skip
    if as_json:
        for row in rows:
            print(json.dumps(row))
        return
    table = Table("image", "label", "verdict", "p-value", "suspicion")
    for row in rows:
        said = "[bold]adversarial[/bold]" if row["adversarial"] else "benign"
        table.add_row(escape(str(row["image"])), escape(str(row["label"])), said, f"{row['p_value']:.4f}",
                      f"{row['suspicion']:.2f}")  # fmt: skip
    show(table)


@app.command()
def evaluate(
    model: Model,
    data: DataName = None,
    folder: Annotated[Path, typer.Option("--out", help="Folder for the results and the page.")] = Path("evaluation"),
    suite: Annotated[
        str, typer.Option(help="Attacks that know the detector: none, quick, standard or paper.")
    ] = "standard",
    images: Annotated[
        int | None, typer.Option(help="Test images to attack; default: 1,000, or all if there are fewer.", min=1)
    ] = None,
    blackbox_images: Annotated[
        int | None, typer.Option(help="Test images to attack through a substitute; default: 1,000, or all.", min=1)
    ] = None,
    few: Annotated[int, typer.Option(help="So many of them for other radii, rates and conditions.", min=1)] = FEW,
    epsilon: Annotated[
        float | None,
        typer.Option(help="L∞ radius of all attacks; default: the paper's in the black box, else 0.3.", max=1),
    ] = None,
    steps: Steps = None,
    label_rule: Overruled = None,
    score: Overruled = None,
    size: Size = None,
    shared: Annotated[
        Path | None, typer.Option(help="Folder of what does not depend on the detector, for several.")
    ] = None,
    force: Force = False,
    device: Device = "cpu",
    threads: Threads = None,
    seed: Seed = 0,
    progress: Progress = True,
) -> None:
    """Judge a detector: accuracy, false positives, attacks that do not know it, attacks that do, and checks of those.

    Interrupted, the same command resumes.
    """
    _set_threads(threads)
    check_device(device)
    detector = _loaded(model, label_rule, score).to(device)
    split = split_of(detector, data, size=size, progress=progress, say=_say_aside)
    if max(images or 0, blackbox_images or 0) > len(split.test):
        asked_for = max(images or 0, blackbox_images or 0)
        raise TwinlatentError(f"{asked_for} test images are asked for; there are {len(split.test)}")
    if epsilon is None and split.name == "digits":
        epsilon = EPSILON
    asked = {"suite": suite, "images": images or IMAGES, "blackbox_images": blackbox_images or IMAGES, "few": few,
             "epsilon": epsilon, "steps": steps, "seed": seed}  # fmt: skip
    settings = checked(lambda: EvaluationSettings.model_validate(asked))
    try:
        run = evaluate_to_folder(detector, split, settings, folder, log=_log_beside(model, detector),
                                 shared=shared, page=write_page, overwrite=force, progress=progress)  # fmt: skip
    except KeyboardInterrupt:
        fail("stopped; finished batches are kept; the same command resumes", INTERRUPTED)
    print_run(run)
    print(f"Page with pictures: {folder / PAGE}")


@app.command()
def report(folder: Annotated[Path, typer.Argument(help="Folder of an evaluation.")]) -> None:
    """Make the page of an evaluation anew from its folder."""
    print(write_page(folder))


@app.command("reproduce")
def reproduce_(
    what: Annotated[str, typer.Argument(help=f"One of {', '.join([*MOTIVATION_CELLS, *CELLS])}.")],
    folder: Annotated[Path, typer.Option("--out", help="Folder for trainings, evaluations and pages.")] = Path("paper"),
    preset: Annotated[
        str, typer.Option(help="standard (hours), or smoke (minutes; shows that all runs); table1 has paper, too.")
    ] = "standard",
    data: Annotated[list[str] | None, typer.Option(help="Data set; default: the paper's. May be given again.")] = None,
    images: Annotated[
        int | None, typer.Option(help="Attacked at the main point, or each time in table1.", min=1)
    ] = None,
    few: Annotated[int | None, typer.Option(help="Attacked at all other points.", min=1)] = None,
    threads: Threads = None,
    seed: Seed = 0,
    progress: Progress = True,
) -> None:
    """Train and evaluate what a table or figure of the paper is made of, ours and baselines.

    `all` leaves out table1 and fig2, which have no detector. Interrupted, the same command resumes.
    """
    _set_threads(threads)
    try:
        if what in MOTIVATION_CELLS:
            if few is not None:
                raise TwinlatentError(f"--few {few}: {what} has one number of images, --images; leave it out")
            cells = reproduce_motivation(what, folder, preset=preset, data=data or MOTIVATION_DATA, images=images,
                                         seed=seed, progress=progress)  # fmt: skip
            print_motivation([record for cell in cells for record in cell.records])
            print(f"Page with pictures: {folder / f'{what}.html'}")
            return
        found = reproduce(what, folder, preset=preset, data=data, images=images, few=few, seed=seed,
                          progress=progress)  # fmt: skip
    except KeyboardInterrupt:
        fail("stopped; what is finished is kept; the same command resumes", INTERRUPTED)
    for name, runs in found.items():
        print_comparison(name, runs)
        print(f"Pages with pictures: {folder / name / COMPARISON} and evaluation/report.html of each detector")


@app.command()
def motivation(
    data: Annotated[str, typer.Option(help="Data set: mnist or fashion-mnist5 as in the paper, or another.")] = "mnist",
    attack_: Annotated[str, typer.Option("--attack", help="fgsm, pgd, mim or cw.")] = "cw",
    preset: Annotated[
        str, typer.Option(help="smoke (seconds), standard, or paper (all training images: days for mim and cw).")
    ] = "standard",
    folder: Annotated[Path, typer.Option("--out", help="Folder for the state and the results.")] = Path("motivation"),
    images: Annotated[
        int | None, typer.Option(help="Training images attacked in each iteration; default: the preset's.", min=1)
    ] = None,
    iterations: Annotated[int | None, typer.Option(help="Of Algorithm 2; default: the paper's.", min=1)] = None,
    change: Annotated[
        list[str] | None, typer.Option("--set", help="One setting, as targets=any or batch=5000.")
    ] = None,
    shared: Annotated[Path | None, typer.Option(help="Folder of the attacked classifier, for several attacks.")] = None,
    device: Device = "cpu",
    threads: Threads = None,
    seed: Seed = 0,
    progress: Progress = True,
) -> None:
    """Train a classifier on vulnerable features alone, section 3 of the paper, with controls.

    Interrupted, the same command resumes.
    """
    _set_threads(threads)
    check_names(attack_, preset)
    split = tl.data.load(data, seed=seed, progress=progress)
    settings = recipe_of(split, preset).motivation_settings(attack_, images=images,
                                   iterations=iterations, seed=seed)  # fmt: skip
    settings = override(settings, change or [])
    try:
        found = run_cell(split, settings, folder, shared=shared, device=device, progress=progress)
    except KeyboardInterrupt:
        fail("stopped; what is finished is kept; the same command resumes", INTERRUPTED)
    print_motivation(found.records)
    print(f"Page with pictures: {folder / PAGE}")


@app.command()
def attack(
    model: Model,
    data: DataName = None,
    path: Annotated[Path, typer.Option("--save", help="File for the attacked images.")] = Path("adversarial.npz"),
    records: Annotated[Path | None, typer.Option(help="JSON file for the success rates.")] = None,
    suite: Annotated[str, typer.Option(help="quick, standard or paper.")] = "standard",
    epsilon: Annotated[float, typer.Option(help="Radius.", min=0)] = 0.3,
    norm: Annotated[str, typer.Option(help="Of the radius: linf or l2.")] = "linf",
    goal: Annotated[
        str,
        typer.Option(
            help="Beyond being misclassified: undetected, c1c2 (the paper's with --score vulnerable), or misclassified."
        ),
    ] = "undetected",
    fpr: Annotated[float, typer.Option(help="Share of benign images that may be flagged: 0.01, 0.05 or 0.1.")] = 0.05,
    images: Annotated[
        int | None,
        typer.Option(help="Test images to attack, drawn by seed; default: 200, or all if there are fewer.", min=1),
    ] = None,
    steps: Steps = None,
    remaining_only: Annotated[
        bool,
        typer.Option("--remaining-only", help="Run an attack only where no earlier one won: faster, same verdict."),
    ] = False,
    force: Force = False,
    label_rule: Overruled = None,
    score: Overruled = None,
    size: Size = None,
    device: Device = "cpu",
    threads: Threads = None,
    seed: Seed = 0,
    progress: Progress = True,
) -> None:
    """Attack the detector itself with a suite of attacks that know it; the worst for each image counts.

    Interrupted, the same command resumes.
    """
    _set_threads(threads)
    asked = {"suite": suite, "epsilon": epsilon, "norm": norm, "steps": steps, "goal": goal, "fpr": fpr,
             "images": images or DEFAULT_IMAGES, "seed": seed, "remaining_only": remaining_only}  # fmt: skip
    settings = checked(lambda: WhiteBoxSettings(**asked))
    check_device(device)
    if records is not None and records.exists() and not (force and records.is_file()):
        raise TwinlatentError(f"{records} is there already; remove it or write the records elsewhere")
    if records is not None:
        records.parent.mkdir(parents=True, exist_ok=True)
    detector = _loaded(model, label_rule, score).to(device)
    split = split_of(detector, data, size=size, progress=progress, say=_say_aside)
    if images is None:
        settings = settings.model_copy(update={"images": min(DEFAULT_IMAGES, len(split.test))})
    try:
        run = attack_to_file(detector, split, settings, path, overwrite=force, progress=progress)
    except KeyboardInterrupt:
        fail("stopped; finished batches are kept; the same command resumes", INTERRUPTED)
    if records is not None:
        write_records(records, run.records)
    print_attacks(run, settings)
    print(f"Images: {path}")


@data_app.command("list")
def data_list() -> None:
    """Name the data sets and where their files are."""
    table = Table("name", "what", "where")
    for name in tl.data.names():
        table.add_row(name, tl.data.describe(name), tl.data.where(name))
    table.add_row("folder:PATH", "your own images, a folder a class", "")
    show(table)


@data_app.command("fetch")
def data_fetch(
    name: Annotated[str, typer.Argument(help="Data set, see `data list`.")], progress: Progress = True
) -> None:
    """Download a data set into the cache, checked, unless it is there."""
    for path in tl.data.fetch(name, progress=progress):
        print(path)


@data_app.command("prepare")
def data_prepare(
    name: Annotated[str, typer.Argument(help="cats-dogs, or a new name for photographs of yours.")],
    photos: Annotated[Path, typer.Option(help="Folder of the photographs; without --boxes, of a folder a class.")],
    boxes: Annotated[
        Path | None,
        typer.Option(
            help="Where to cut: .csv (file, crop_x, crop_y, crop_side, label) or folder of Pascal VOC .xml, as "
            "Oxford-IIIT Pet has; default: the largest centred square."
        ),
    ] = None,
    size: Annotated[int | None, typer.Option(help="Pixels a side; default: 64.")] = None,
    folder: Annotated[
        Path | None, typer.Option("--out", help="Data folder, for TWINLATENT_DATA; default: the user's cache.")
    ] = None,
    progress: Progress = True,
) -> None:
    """Make a data set of photographs: grey squares, checked, none of them twice.

    Interrupted, the same command resumes.
    """
    try:
        made = tl.data.prepare(name, photos, boxes=boxes, size=size, folder=folder, progress=progress, say=_say_aside)
    except KeyboardInterrupt:
        fail("stopped; the same command resumes", INTERRUPTED)
    counts = ", ".join(f"{count} {class_name}" for class_name, count in made.counts.items())
    print(f"{made.path}: {sum(made.counts.values())} images of shape {(1, made.size, made.size)}: {counts}")


def _log_beside(model: str, detector: CalibratedDetector) -> Path | None:
    """The log of the training folder; one that lies beside a detector file only if it is of this detector."""
    log = zoo.locate(model).with_name(LOG_FILE)
    if not Path(model).is_dir():
        try:
            log_of(log, detector.card)
        except TwinlatentError as error:
            _say_aside(f"left out of the page: {error}")
            return None
    return log


def _say_aside(line: str) -> None:
    print(line, file=sys.stderr)


@data_app.command("show")
def data_show(
    name: Annotated[str, typer.Argument(help="Data set, or folder:PATH.")],
    path: Annotated[Path, typer.Option("--out", help="PNG file of the contact sheet.")] = Path("contact-sheet.png"),
    size: Size = None,
    seed: Seed = 0,
    progress: Progress = True,
) -> None:
    """Write a contact sheet of the training images and print the sizes of the parts."""
    if path.is_dir():
        raise TwinlatentError(f"{path} is a folder; name a PNG file, such as {path / 'contact-sheet.png'}")
    split = tl.data.load(name, seed=seed, size=size, progress=progress)
    contact_sheet(split.train, split.class_names, path, rows_per_class=2)
    parts = ", ".join(f"{len(images)} {part}" for part, images in split.parts.items())
    print(f"{path}: {parts} images of shape {split.image_shape}, {split.classes} classes")


@zoo_app.command("list")
def zoo_list() -> None:
    """Name the shipped detectors with what they were trained on."""
    table = Table("name", "data", "classes", "trained with")
    for name in zoo.names():
        shipped = tl.load(name)
        table.add_row(name, shipped.card["data"]["name"], str(shipped.classes), shipped.trained_with)
    show(table)


@zoo_app.command("show")
def zoo_show(name: Annotated[str, typer.Argument(help="Name, see `zoo list`.")]) -> None:
    """Print the card of a shipped detector."""
    print(zoo.card(name))


def detector_settings(own: tl.DetectorSettings, label_rule: str | None, score: str | None) -> tl.DetectorSettings:
    """`own` with what was asked for on the command line."""
    asked = {"label_rule": label_rule, "score": score}
    return checked(lambda: tl.DetectorSettings(**own.model_dump() | {k: v for k, v in asked.items() if v is not None}))


def _loaded(model: str, label_rule: str | None, score: str | None) -> CalibratedDetector:
    """The detector, under another label rule or score if one is asked for."""
    detector = tl.load(model)
    if label_rule is not None:
        if not isinstance(detector, tl.Detector):
            raise TwinlatentError(f"label rule {label_rule!r}: {model} has the rule {detector.label_rule} alone")
        detector = detector.using(label_rule=checked(lambda: tl.DetectorSettings(label_rule=label_rule)).label_rule)
    return detector if score is None else detector.with_score(score)


def _set_threads(threads: int | None) -> None:
    if threads is not None:
        torch.set_num_threads(threads)
