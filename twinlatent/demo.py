"""The whole method on the embedded digits, in about two minutes: train, attack, judge, show."""

from dataclasses import replace
from pathlib import Path

from twinlatent.claims import claimed, refuse_present
from twinlatent.data import load
from twinlatent.errors import TwinlatentError
from twinlatent.evaluation.blackbox import at_epsilon, evaluate_blackbox
from twinlatent.evaluation.run_folder import RESULTS, EvaluationRun, read_run, write_run
from twinlatent.evaluation.training_log import read_log
from twinlatent.files import write_json
from twinlatent.method.fit import fit_split
from twinlatent.method.training import LOG_FILE, TRAINING_FILES
from twinlatent.report.page import write_page

EPSILON = 0.3
TITLE = "twinlatent demo: 8×8 digits"
DEMO = "demo.json"
"""Says that the folder is a demo's."""


def run_demo(folder: Path, *, preset: str = "standard", seed: int = 0, progress: bool = True) -> EvaluationRun:
    """Train a detector on scikit-learn's 8×8 digits, attack it through a substitute, write `report.html`.

    Args:
        folder: gets `training/`, the results and the page; an earlier demo's files there are replaced, and any other
            evaluation or training is refused.
        preset: of the training.
        seed: of everything.
        progress: whether to show bars.
    """
    training = folder / "training"
    split = load("digits", seed=seed)
    with claimed(folder):
        if not _is_demo(folder):
            refuse_present(folder, [*RESULTS, *(f"{training.name}/{name}" for name in TRAINING_FILES)], "other work")
        write_json(folder / DEMO, {"preset": preset, "seed": seed})
        detector = fit_split(split, preset=preset, seed=seed, folder=training, overwrite=True, progress=progress)
        run = evaluate_blackbox(detector, split, budgets=at_epsilon(EPSILON), budget=f"blackbox at {EPSILON:g}",
                                seed=seed, title=TITLE, progress=progress)  # fmt: skip
        run = replace(run, log=read_log(training / LOG_FILE))
        write_run(folder, run)
        write_page(folder)
    return run


def _is_demo(folder: Path) -> bool:
    """Whether an earlier demo made what is in the folder; those of old left no `DEMO`."""
    if (folder / DEMO).exists():
        return True
    try:
        return bool(read_run(folder).model.title == TITLE)
    except TwinlatentError:
        return False
