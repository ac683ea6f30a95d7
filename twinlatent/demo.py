"""The whole method on the embedded digits, in about two minutes: train, attack, judge, show."""

from dataclasses import replace
from pathlib import Path

from twinlatent.data import load
from twinlatent.evaluation.blackbox import at_epsilon, evaluate_blackbox
from twinlatent.evaluation.run_folder import EvaluationRun, read_log, write_run
from twinlatent.method.fit import TRAINING_FILES, fit_split
from twinlatent.method.presets import preset_settings
from twinlatent.method.training import LOG_FILE
from twinlatent.report.page import write_page

EPSILON = 0.3


def run_demo(folder: Path, *, preset: str = "standard", seed: int = 0, progress: bool = True) -> EvaluationRun:
    """Train a detector on scikit-learn's 8×8 digits, attack it through a substitute, write `report.html`.

    Args:
        folder: gets `training/`, the results and the page; an earlier demo's files there are replaced.
        preset: of the training.
        seed: of everything.
        progress: whether to show bars.
    """
    training = folder / "training"
    split = load("digits", seed=seed)
    settings = preset_settings(preset, split.image_shape, split.name)
    for name in TRAINING_FILES:
        (training / name).unlink(missing_ok=True)
    detector = fit_split(split, settings=settings, seed=seed, folder=training, progress=progress)
    run = evaluate_blackbox(detector, split, budgets=at_epsilon(EPSILON), budget=f"blackbox at {EPSILON:g}", seed=seed,
                            title="twinlatent demo: 8×8 digits", progress=progress)  # fmt: skip
    run = replace(run, log=read_log(training / LOG_FILE))
    write_run(folder, run)
    write_page(folder)
    return run
