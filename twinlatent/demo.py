"""The whole method on the embedded digits, in about a minute: train, attack, judge, show."""

from pathlib import Path

from twinlatent.claims import claimed, refuse_present
from twinlatent.data import load
from twinlatent.errors import TwinlatentError
from twinlatent.evaluation.evaluate import evaluate
from twinlatent.evaluation.results import RESULTS, Report, read_run
from twinlatent.files import write_json
from twinlatent.method.fit import fit_split
from twinlatent.method.training import LOG_FILE, TRAINING_FILES
from twinlatent.report.page import write_page

TITLE = "twinlatent demo: 8×8 digits"
IMAGES = 120
"""Test images that are attacked, of each attack and substitute: what is shown has to be there within a minute."""
DEMO = "demo.json"
"""Says that the folder is a demo's."""


def run_demo(folder: Path, *, preset: str = "standard", seed: int = 0, progress: bool = True) -> Report:
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
        report = evaluate(detector, split, suite="none", blackbox_images=IMAGES, seed=seed,
                          log=training / LOG_FILE, title=TITLE, progress=progress)  # fmt: skip
        report.save(folder)
        write_page(folder)
    return report


def _is_demo(folder: Path) -> bool:
    """Whether an earlier demo made what is in the folder; those of old left no `DEMO`."""
    if (folder / DEMO).exists():
        return True
    try:
        return bool(read_run(folder).model.title == TITLE)
    except TwinlatentError:
        return False
