"""The paper's experiments once more: train and evaluate every cell of a table or figure, ours and baselines."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from twinlatent.baselines import BaselineSettings, fit_baseline
from twinlatent.cells import BLACK_BOX_ONLY, CELLS, DATA, OURS, SHOWN_ON, Cell
from twinlatent.claims import claimed, refuse_present
from twinlatent.code_digest import code_identity
from twinlatent.data import Split, load
from twinlatent.data.split import check_distinct
from twinlatent.errors import TwinlatentError
from twinlatent.evaluation.evaluate import evaluate
from twinlatent.evaluation.learners import JudgeSettings
from twinlatent.evaluation.results import MODEL, UNFINISHED, WHOSE, Report, read_json, read_run, write_records
from twinlatent.evaluation.settings import EvaluationSettings
from twinlatent.files import write_json
from twinlatent.method.calibrated import DETECTOR_FILE, CalibratedDetector
from twinlatent.method.fit import fit_split
from twinlatent.method.game_state import GameSettings
from twinlatent.method.training import LOG_FILE, STATE_FILE
from twinlatent.recipes import recipe_of
from twinlatent.report.comparison import write_comparison
from twinlatent.report.page import write_page
from twinlatent.running.together import run_all
from twinlatent.running.units import Heard, Here, Places, Runner
from twinlatent.running.workers import runner_of
from twinlatent.zoo import load as load_detector

Preset = Literal["smoke", "standard"]
ASKED, RECORDS, COMPARISON, SHARED = "asked.json", "results.json", "comparison.html", "shared"
FOLDER = "folder"
"""What units call a data set's folder."""

_SETTINGS: dict[str, EvaluationSettings] = {
    "standard": EvaluationSettings(images=200),
    "smoke": EvaluationSettings(blackbox_images=20, images=20, subset=6, steps=4, radii=(0.5, 1),
                                condition_radii=(0.2, 0.4), judges=JudgeSettings(steps=40)),
}  # fmt: skip


def reproduce(
    what: str,
    folder: Path,
    *,
    preset: str = "standard",
    data: Sequence[str] | None = None,
    images: int | None = None,
    subset: int | None = None,
    seed: int = 0,
    workers: int | Runner | None = None,
    progress: bool = True,
) -> dict[str, tuple[Report, ...]]:
    """Train and evaluate what a table or figure needs; what is in the folder already is not done again.

    Each data set gets a folder with one a cell (the training, and its `evaluation` with a page), all records in
    `results.json`, and `comparison.html`.

    Args:
        what: one of `CELLS`.
        folder: of all that.
        preset: `standard`, or `smoke`, which takes minutes and shows that everything runs, not what it reaches.
        data: names of the data sets; None: those that the paper's figure shows, or all three.
        images: for the main point of the white box; None: the preset's.
        subset: for all other points; None: the preset's.
        seed: of everything.
        workers: so many processes train, a cell each, and then attack, see `evaluate`; None or 1: this one alone.
        progress: whether to show bars.

    Returns:
        name of each data set → one run a cell.

    Raises:
        TwinlatentError: unknown table, figure, preset or data set, a folder of something else or of an evaluation by
            other code or settings, or one that another process writes.
        KeyboardInterrupt: after Ctrl-C; the same call resumes.
    """
    if what not in CELLS:
        raise TwinlatentError(f"{what!r} is unknown; choose from {', '.join(CELLS)}")
    if preset not in get_args(Preset):
        raise TwinlatentError(f"preset {preset!r} is unknown; choose from {', '.join(get_args(Preset))}")
    changes = {"seed": seed, "images": images, "subset": subset, "suite": "none" if what in BLACK_BOX_ONLY else None}
    settings = _SETTINGS[preset].model_copy(
        update={name: value for name, value in changes.items() if value is not None}
    )
    names = data or SHOWN_ON.get(what, DATA)
    check_distinct(names)
    splits = [load(name, seed=seed, progress=progress) for name in names]  # what is missing stops it before any work
    for split in splits:
        for cell in CELLS[what]:
            _refuse_what_differs(cell, split, preset, settings, folder / split.short_name)
    found = {}
    runner = runner_of(workers)
    for split in splits:
        here = folder / split.short_name
        with claimed(here):
            refuse_present(here, [MODEL], "an evaluation")
            if not isinstance(runner, Here):
                _train_all(CELLS[what], split, preset, settings.seed, here, runner, progress)
            runs = [_run(cell, split, preset, settings, here, runner, progress) for cell in CELLS[what]]
            write_records(here / RECORDS, [record for run in runs for record in run.records])
            write_comparison(runs, here / COMPARISON)
        found[split.short_name] = tuple(runs)
    return found


@dataclass(frozen=True)
class TrainingUnit:
    """The training of a cell, which resumes in its folder.

    Attributes:
        cell: of a table or figure.
    """

    cell: Cell

    @property
    def name(self) -> str:
        """For bars and errors."""
        return f"training {self.cell.folder}"

    @property
    def steps(self) -> int:
        """One detector."""
        return 1

    @property
    def keeps(self) -> Mapping[str, Sequence[str]]:
        """See `Unit`."""
        return {FOLDER: (f"{self.cell.folder}/**/*",)}

    @property
    def needs(self) -> Mapping[str, Sequence[str]]:
        """Nothing."""
        return {}

    def __call__(self, given: tuple[Split, str, int], places: Places, heard: Heard) -> None:
        """See `Unit`; given are the data set, the preset and the seed."""
        folder = places[FOLDER] / self.cell.folder
        _train(self.cell, *given, folder, progress=False)
        heard(folder / DETECTOR_FILE)


def _train_all(
    cells: Sequence[Cell], split: Split, preset: str, seed: int, folder: Path, runner: Runner, progress: bool
) -> None:
    """Train what is not trained yet, a cell in each process."""
    left = [TrainingUnit(cell) for cell in cells
            if not _is_trained(folder / cell.folder, split, _settings(cell, split, preset), seed)]  # fmt: skip
    run_all(runner, [left], (split, preset, seed), {FOLDER: folder}, name="trainings", progress=progress)


def _run(
    cell: Cell,
    split: Split,
    preset: str,
    settings: EvaluationSettings,
    folder: Path,
    runner: Runner,
    progress: bool,
) -> Report:
    """The evaluation of a cell, from its folder if it covers what is asked of this detector and data, else made now."""
    training = folder / cell.folder
    _train(cell, split, preset, settings.seed, training, progress)
    evaluation, detector = training / "evaluation", load_detector(training)
    asked = _asked(settings, split, detector)
    _refuse_other(evaluation, asked)
    done = _done(evaluation)
    if done and not _differing(done, asked):
        return read_run(evaluation)

    def finish(run: Path) -> None:
        write_page(run)
        write_json(run / ASKED, asked)

    title = f"{cell.method} on {split.short_name}, trained with {cell.attack}"
    extends = bool(done) and not (evaluation / UNFINISHED).exists()
    return evaluate(detector, split, settings=settings, folder=evaluation, log=training / LOG_FILE,
                    shared=folder / SHARED, title=title, page=finish, overwrite=extends,
                    workers=runner, progress=progress)  # fmt: skip


def _refuse_what_differs(cell: Cell, split: Split, preset: str, settings: EvaluationSettings, folder: Path) -> None:
    """Refuse, before any work, a cell's folder of another detector or evaluation."""
    training = folder / cell.folder
    trained = _is_trained(training, split, _settings(cell, split, preset), settings.seed)
    _refuse_other(training / "evaluation", _asked(settings, split, load_detector(training) if trained else None))


def _asked(settings: EvaluationSettings, split: Split, detector: CalibratedDetector | None) -> dict[str, Any]:
    """What makes it the same evaluation, JSON-able."""
    asked: dict[str, Any] = json.loads(settings.model_dump_json())
    made_of = detector and detector.fingerprint
    return asked | {"detector": made_of, "data": split.fingerprint, "code": code_identity()}


def _done(evaluation: Path) -> dict[str, Any]:
    """What was asked of the evaluation in a folder; empty where none was finished."""
    done = read_json(evaluation / ASKED) if (evaluation / ASKED).exists() else {}
    if not isinstance(done, dict):
        raise TwinlatentError(f"{evaluation / ASKED}: not a JSON object; remove {evaluation} or give another --out")
    return done


def _refuse_other(evaluation: Path, asked: dict[str, Any]) -> None:
    """Refuse an evaluation that neither covers what is asked nor is covered by it.

    Raises:
        TwinlatentError: it names what differs.
    """
    done = _done(evaluation)
    if done and not _differing(done, asked):
        return
    first, second = (asked, done) if done.get("suite") == "none" else (done, asked)  # a black box may be extended
    differing = (done and _differing(first, second)) or _unfinished_differing(evaluation, asked)
    if differing:
        raise TwinlatentError(f"{evaluation} holds an evaluation that differs in {', '.join(differing)}; "
                              f"remove {evaluation} or give another --out")  # fmt: skip


def _unfinished_differing(evaluation: Path, asked: dict[str, Any]) -> list[str]:
    """Names of what is not as asked in an evaluation that was begun."""
    path = evaluation / UNFINISHED / WHOSE
    if not path.exists():
        nameless = (evaluation / MODEL).exists() and not (evaluation / ASKED).exists()
        return [f"what was asked ({ASKED} is missing)"] if nameless else []
    whose = read_json(path)
    before = whose if isinstance(whose, dict) else {}
    before = before | before.get("asked", {})
    return [name for name in asked if name != "code" and before.get(name) != asked[name]]


def _differing(done: dict[str, Any], asked: dict[str, Any]) -> list[str]:
    """Names of what is not as asked; a black box alone depends on a few settings only."""
    black_box = ("blackbox_images", "substitutes", "epsilon", "seed", "detector", "data", "code")
    decisive = black_box if asked["suite"] == "none" else tuple(asked)
    return [name for name in decisive if done.get(name) != asked.get(name)]


def _settings(cell: Cell, split: Split, preset: str) -> GameSettings | BaselineSettings:
    """What the cell is trained with."""
    if cell.method == OURS:
        return recipe_of(split, preset).game_settings(cell.attack)
    return recipe_of(split, preset).baseline_settings(cell.method, cell.attack)


def _is_trained(folder: Path, split: Split, settings: GameSettings | BaselineSettings, seed: int) -> bool:
    """Whether the folder holds the cell's detector.

    Raises:
        TwinlatentError: the folder holds a detector of other images, settings or seed.
    """
    if not (folder / DETECTOR_FILE).exists():
        return False
    card = load_detector(folder).card
    trained = type(settings).model_validate(card.get("training", {}))  # fills what did not exist then
    if (card.get("data", {}).get("fingerprint"), trained, card.get("seed")) != (split.fingerprint, settings, seed):
        raise TwinlatentError(f"{folder} holds a detector of other images, settings or seed; give another folder")
    return True


def _train(cell: Cell, split: Split, preset: str, seed: int, folder: Path, progress: bool) -> None:
    """Train the cell unless that is done."""
    settings = _settings(cell, split, preset)
    if _is_trained(folder, split, settings, seed):
        return
    keep: dict[str, Any] = {"seed": seed, "folder": folder, "progress": progress}
    keep["resume"] = any(folder.glob(f"**/{STATE_FILE}"))
    if isinstance(settings, GameSettings):
        fit_split(split, settings=settings, preset=preset, **keep)
    else:
        fit_baseline(cell.method, split, settings=settings, **keep)
