"""The command line. Thin: every command is a call into the library and a table of what it returned."""

import json
import sys
from pathlib import Path
from typing import Annotated, get_args

import torch
import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

import twinlatent as tl
from twinlatent import zoo
from twinlatent.baselines import METHODS, baseline_settings, fit_baseline
from twinlatent.data.files import read_images
from twinlatent.demo import EPSILON, run_demo, with_log
from twinlatent.errors import TwinlatentError
from twinlatent.evaluation.blackbox import BLACK_BOX, at_epsilon, evaluate_blackbox
from twinlatent.evaluation.records import Record, write_records
from twinlatent.evaluation.run_folder import EvaluationRun, write_run
from twinlatent.evaluation.split_of import split_of
from twinlatent.evaluation.whitebox import WORST, WhiteBoxRun, WhiteBoxSettings, attack_to_file
from twinlatent.method.calibrated import DETECTOR_FILE, CalibratedDetector
from twinlatent.method.detector import Score
from twinlatent.method.presets import checked, override, preset_detector, preset_settings
from twinlatent.method.training import check_device
from twinlatent.report.contact_sheet import contact_sheet
from twinlatent.report.page import write_page

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False,
                  help="Train, judge and use adversarial-example detectors.")  # fmt: skip
data_app = typer.Typer(no_args_is_help=True, help="Data sets: list, fetch, show.")
zoo_app = typer.Typer(no_args_is_help=True, help="Detectors that ship with the package.")
app.add_typer(data_app, name="data")
app.add_typer(zoo_app, name="zoo")

INTERRUPTED = 130
OURS = "twinlatent"
DEFAULT_IMAGES = 200
"""Attacked, where not said otherwise."""
DEAD_STEPS = 0.01
"""Above this share of steps without a gradient an attack is called out."""
out = Console(soft_wrap=False)

Progress = Annotated[bool, typer.Option(help="Show progress.")]
Seed = Annotated[int, typer.Option(help="Seed of every random choice.", min=0)]
"""Options that several commands share."""


def main() -> None:
    """Run the command line; bad input ends in one line on standard error and exit status 1, Ctrl-C with 130."""
    try:
        app()
    except TwinlatentError as error:
        _fail(str(error), 1)
    except OSError as error:
        _fail(f"{error.filename or 'file'}: {error.strerror or error}", 1)


def _fail(line: str, status: int) -> None:
    print(f"twinlatent: {line}", file=sys.stderr)
    raise SystemExit(status)


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
    _print_records(run)
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
    size: Annotated[int | None, typer.Option(help="Pixels a side, for folder:PATH.", min=4)] = None,
    resume: Annotated[bool, typer.Option(help="Go on with an interrupted training in --out.")] = False,
    device: Annotated[str, typer.Option(help="Where to compute, such as cpu or cuda.")] = "cpu",
    threads: Annotated[int | None, typer.Option(help="Threads of the CPU; default: PyTorch's.", min=1)] = None,
    seed: Seed = 0,
    progress: Progress = True,
) -> None:
    """Train a detector, ours by the mini-max game or a baseline, and calibrate it."""
    _set_threads(threads)
    if method != OURS and (label_rule or score):
        raise TwinlatentError(f"{method} has a label rule and scores of its own; leave --label-rule and --score out")
    split = tl.data.load(data, seed=seed, size=size, progress=progress)
    keep = {"seed": seed, "folder": folder, "resume": resume, "device": device, "progress": progress}
    try:
        made: CalibratedDetector
        if method == OURS:
            settings = override(preset_settings(preset, split.image_shape, split.name, attack or "mim"), change or [])
            detector = detector_settings(preset_detector(preset), label_rule, score)
            made = tl.fit_split(split, settings=settings, detector=detector, **keep)  # type: ignore[arg-type]
        else:
            own = baseline_settings(method, preset, split.image_shape, split.classes, split.name, attack)
            made = fit_baseline(method, split, settings=override(own, change or []), **keep)  # type: ignore[arg-type]
    except KeyboardInterrupt as stopped:
        saved = f"{stopped}, saved; the same command with --resume goes on" if str(stopped) else "stopped at once"
        _fail(saved, INTERRUPTED)
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
    model: Annotated[str, typer.Argument(help="Name in the zoo, detector file, or training folder.")],
    files: Annotated[list[Path], typer.Argument(help="PNG, JPEG and the like, .npy or .npz of images.")],
    fpr: Annotated[float, typer.Option(help="Share of benign images that may be flagged.")] = 0.05,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line and image.")] = False,
    invert: Annotated[bool, typer.Option(help="Swap black and white first: MNIST is white on black.")] = False,
) -> None:
    """Classify images and say which are adversarial."""
    detector = tl.load(model)
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
    out.print(table)


@app.command()
def evaluate(
    model: Annotated[str, typer.Argument(help="Name in the zoo, detector file, or training folder.")],
    data: Annotated[str | None, typer.Argument(help="Data set; default: the one it was trained on.")] = None,
    folder: Annotated[Path, typer.Option("--out", help="Folder for the results and the page.")] = Path("evaluation"),
    images: Annotated[int | None, typer.Option(help="Test images to attack; default: all.", min=1)] = None,
    epsilon: Annotated[float | None, typer.Option(help="One L∞ radius for all attacks.", min=0, max=1)] = None,
    label_rule: Annotated[str | None, typer.Option(help="Instead of the detector's own.")] = None,
    score: Annotated[str | None, typer.Option(help="Instead of the detector's own.")] = None,
    size: Annotated[int | None, typer.Option(help="Pixels a side, for folder:PATH.", min=4)] = None,
    threads: Annotated[int | None, typer.Option(help="Threads of the CPU; default: PyTorch's.", min=1)] = None,
    seed: Seed = 0,
    progress: Progress = True,
) -> None:
    """Judge a detector: accuracy, false positives, and AUC against attacks on a substitute classifier."""
    _set_threads(threads)
    detector = _loaded(model, label_rule, score)
    split = split_of(detector, data, size=size, progress=progress)
    if epsilon is None and split.name == "digits":
        epsilon = EPSILON
    budgets = BLACK_BOX if epsilon is None else at_epsilon(epsilon)
    called = "blackbox" if epsilon is None else f"blackbox at {epsilon:g}"
    folder.mkdir(parents=True, exist_ok=True)
    run = evaluate_blackbox(
        detector, split, budgets=budgets, budget=called, images=images, seed=seed, progress=progress
    )
    run = with_log(run, Path(model) / "log.jsonl")
    write_run(folder, run)
    _print_records(run)
    print(f"Page with pictures: {write_page(folder)}")


@app.command()
def attack(
    model: Annotated[str, typer.Argument(help="Name in the zoo, detector file, or training folder.")],
    data: Annotated[str | None, typer.Argument(help="Data set; default: the one it was trained on.")] = None,
    path: Annotated[Path, typer.Option("--save", help="File for the attacked images.")] = Path("adversarial.npz"),
    records: Annotated[Path | None, typer.Option(help="JSON file for the success rates.")] = None,
    suite: Annotated[str, typer.Option(help="quick, standard or paper.")] = "standard",
    epsilon: Annotated[float, typer.Option(help="Radius.", min=0)] = 0.3,
    norm: Annotated[str, typer.Option(help="Of the radius: linf or l2.")] = "linf",
    goal: Annotated[
        str,
        typer.Option(
            help="Beyond being misread: undetected, c1c2 (the paper's with --score vulnerable), or misclassified."
        ),
    ] = "undetected",
    fpr: Annotated[float, typer.Option(help="Share of benign images that may be flagged: 0.01, 0.05 or 0.1.")] = 0.05,
    images: Annotated[
        int | None,
        typer.Option(help="Test images to attack, drawn by seed; default: 200, or all if there are fewer.", min=1),
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Of each gradient attack; default: the suite's.", min=1)] = None,
    remaining_only: Annotated[
        bool,
        typer.Option("--remaining-only", help="Run an attack only where no earlier one won: faster, same verdict."),
    ] = False,
    label_rule: Annotated[str | None, typer.Option(help="Instead of the detector's own.")] = None,
    score: Annotated[str | None, typer.Option(help="Instead of the detector's own.")] = None,
    size: Annotated[int | None, typer.Option(help="Pixels a side, for folder:PATH.", min=4)] = None,
    device: Annotated[str, typer.Option(help="Where to compute, such as cpu or cuda.")] = "cpu",
    threads: Annotated[int | None, typer.Option(help="Threads of the CPU; default: PyTorch's.", min=1)] = None,
    seed: Seed = 0,
    progress: Progress = True,
) -> None:
    """Attack the detector itself with a suite of attacks that know it; the worst for each image counts.

    Interrupted, the same command goes on.
    """
    _set_threads(threads)
    asked = {"suite": suite, "epsilon": epsilon, "norm": norm, "steps": steps, "goal": goal, "fpr": fpr,
             "images": images or DEFAULT_IMAGES, "seed": seed, "remaining_only": remaining_only}  # fmt: skip
    settings = checked(lambda: WhiteBoxSettings(**asked))
    check_device(device)
    if records is not None:
        records.parent.mkdir(parents=True, exist_ok=True)
    detector = _loaded(model, label_rule, score).to(device)
    split = split_of(detector, data, size=size, progress=progress)
    if images is None:
        settings = settings.model_copy(update={"images": min(DEFAULT_IMAGES, len(split.test))})
    try:
        run = attack_to_file(detector, split, settings, path, progress=progress)
    except KeyboardInterrupt:
        _fail("stopped; finished batches are kept, and the same command goes on", INTERRUPTED)
    if records is not None:
        write_records(records, run.records)
    _print_attacks(run, settings)
    print(f"Images: {path}")


@data_app.command("list")
def data_list() -> None:
    """Name the data sets and where their files are."""
    table = Table("name", "what", "where")
    for name in tl.data.names():
        table.add_row(name, tl.data.describe(name), tl.data.where(name))
    table.add_row("folder:PATH", "your own images, a folder a class", "")
    out.print(table)


@data_app.command("fetch")
def data_fetch(
    name: Annotated[str, typer.Argument(help="Data set, see `data list`.")], progress: Progress = True
) -> None:
    """Download a data set into the cache, checked, unless it is there."""
    for path in tl.data.fetch(name, progress=progress):
        print(path)


@data_app.command("show")
def data_show(
    name: Annotated[str, typer.Argument(help="Data set, or folder:PATH.")],
    path: Annotated[Path, typer.Option("--out", help="PNG file of the contact sheet.")] = Path("contact-sheet.png"),
    size: Annotated[int | None, typer.Option(help="Pixels a side, for folder:PATH.", min=4)] = None,
    seed: Seed = 0,
    progress: Progress = True,
) -> None:
    """Write a contact sheet of the training images and print the sizes of the parts."""
    split = tl.data.load(name, seed=seed, size=size, progress=progress)
    contact_sheet(split.train, split.class_names, path, rows_per_class=2)
    parts = ", ".join(f"{len(getattr(split, part))} {part}" for part in ("train", "calibration", "test"))
    print(f"{path}: {parts} images of shape {split.image_shape}, {split.classes} classes")


@zoo_app.command("list")
def zoo_list() -> None:
    """Name the shipped detectors with what they were trained on."""
    table = Table("name", "data", "classes", "trained with")
    for name in zoo.names():
        shipped = tl.load(name)
        table.add_row(name, shipped.card["data"]["name"], str(shipped.classes), shipped.trained_with)
    out.print(table)


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


def _print_attacks(run: WhiteBoxRun, settings: WhiteBoxSettings) -> None:
    """Print a row an attack, and the worst."""
    passed = f"misread and not flagged at {100 * settings.fpr:g} %"
    goals = {"undetected": passed, "c1c2": "misread, C1 and C2", "misclassified": "misread"}
    print(f"Success: {goals[settings.goal]}; {settings.norm} radius {settings.epsilon:g}; 95 % intervals")
    table = Table("attack", "success", "95 %", "misread", "steps", "γ stuck", "s", "n", box=SIMPLE_HEAD, padding=(0, 1))
    for record in run.records:
        shown = [record.attack, f"{record.value:.3f}", f"{record.low:.2f}–{record.high:.2f}"]
        shown += _details(run, record.attack) if record.attack != WORST else [""] * 4
        table.add_row(*shown, str(record.n), style="bold" if record.attack == WORST else None)
    out.print(table)
    for name, tried in run.result.by_attack.items():
        dead, steps = int(tried.result.dead_steps.sum()), int(tried.result.steps.sum())
        if dead > DEAD_STEPS * steps:
            print(f"{name}: {dead} of {steps} steps had no gradient; do not trust it")


def _details(run: WhiteBoxRun, attack: str) -> list[str]:
    """Cells of an attack: share misread, mean steps, share of stuck searches, seconds."""
    tried = run.result.by_attack[attack]
    rows, found = tried.tried.cpu(), tried.result
    misread = (found.labels.cpu() != run.benign.labels)[rows].double().mean().item()
    gamma = f"{found.gamma_stuck.cpu()[rows].double().mean().item():.2f}" if found.gamma.isfinite().any() else ""
    return [f"{misread:.3f}", f"{found.steps.cpu()[rows].double().mean().item():.0f}", gamma, f"{tried.seconds:.0f}"]


def _print_records(run: EvaluationRun) -> None:
    """Print the numbers: a line for benign images, a row an attack; * marks the detector's own score."""
    by: dict[tuple[str, str, str | None], Record] = {}
    by |= {(record.metric, record.attack, record.score): record for record in run.records}
    own = run.model.score
    accuracy, flagged = by["accuracy", "none", None], by["fpr", "none", own]
    print(f"Benign test images: accuracy {accuracy.value:.4f}, flagged {flagged.value:.4f} "
          f"where {run.model.fpr:.4g} was asked for, n = {accuracy.n}")  # fmt: skip
    rates = [metric for metric in ("tpr@1", "tpr@5", "tpr@10") if any(r.metric == metric for r in run.records)]
    areas = [f"{score}{'*' if score == own else ''}" for score in get_args(Score)]
    print(
        "AUC under each score (* the detector's own), and the share of attacked images flagged at k % false positives:"
    )
    table = Table("attack", "ε", "fooled", *areas, *(f"{rate[4:]} %" for rate in rates), "n")
    for attack in run.suspicion:
        area = by["auc", attack, own]
        row = [by["attack_success", attack, None], *(by["auc", attack, score] for score in get_args(Score))]
        row += [by[rate, attack, own] for rate in rates]
        table.add_row(attack, f"{area.epsilon:g}", *(f"{record.value:.3f}" for record in row), str(area.n))
    out.print(table)
