"""The paper's experiments once more: train and evaluate every cell of a table or figure, ours and baselines."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from twinlatent.attacks.suite_runs import digest
from twinlatent.baselines import BaselineSettings, baseline_settings, fit_baseline
from twinlatent.claims import claimed, refuse_present
from twinlatent.data import Split, load
from twinlatent.data.split import check_distinct
from twinlatent.errors import TwinlatentError
from twinlatent.evaluation.evaluate import EvaluationSettings, evaluate_to_folder
from twinlatent.evaluation.judges import JudgeSettings
from twinlatent.evaluation.records import write_records
from twinlatent.evaluation.run_folder import MODEL, UNFINISHED, EvaluationRun, read_run
from twinlatent.files import write_json
from twinlatent.method.calibrated import DETECTOR_FILE
from twinlatent.method.fit import fit_split
from twinlatent.method.game import GameSettings
from twinlatent.method.presets import preset_detector, preset_settings
from twinlatent.method.training import LOG_FILE, STATE_FILE
from twinlatent.report.comparison import write_comparison
from twinlatent.report.page import write_page
from twinlatent.zoo import load as load_detector

Preset = Literal["smoke", "standard"]
OURS = "twinlatent"
DATA = ("mnist", "fashion-mnist5", "cats-dogs")
ASKED, RECORDS, COMPARISON, SHARED = "asked.json", "results.json", "comparison.html", "shared"


@dataclass(frozen=True)
class Cell:
    """One column of a table: a method and what it is trained with."""

    method: str
    attack: str

    @property
    def folder(self) -> str:
        """Where it lies below the data set's folder."""
        return f"{self.method}-{self.attack}"


_OURS = (Cell(OURS, "mim"), Cell(OURS, "cw"))
_GONG = (Cell("gong", "mim"), Cell("gong", "cw"))
_PLAIN, _RCE = Cell("plain", "none"), Cell("rce", "none")
_ALL = (*_OURS, _PLAIN, *_GONG, _RCE, Cell("adversarial-training", "pgd"), Cell("gat", "pgd"))
_COMPARED = tuple(cell for cell in _ALL if cell != _PLAIN)
CELLS: dict[str, tuple[Cell, ...]] = {
    "table2": (*_OURS, _PLAIN),
    "table3": (*_OURS, *_GONG),
    "table4": _COMPARED,
    "fig5": _OURS[:1],
    **dict.fromkeys(("fig6", "fig12"), _OURS),
    **dict.fromkeys(("fig7", "fig9", "fig10", "fig11"), _OURS[:1]),
    "fig8": (_OURS[0], _GONG[0], _RCE),
    "fig13": _COMPARED,
    "all": _ALL,
}
"""What each table or figure is made of."""
SHOWN_ON = {"fig6": DATA[:2], "fig10": DATA[1:2], **dict.fromkeys(("fig5", "fig9"), DATA[:1]),
            **dict.fromkeys(("fig11", "fig12"), DATA[2:])}  # fmt: skip
"""Data sets of the paper's figures that do not show all three."""
BLACK_BOX_ONLY = frozenset({"table2", "table3"})

_SETTINGS: dict[str, EvaluationSettings] = {
    "standard": EvaluationSettings(images=200),
    "smoke": EvaluationSettings(blackbox_images=20, images=20, few=6, steps=4, radii=(0.5, 1),
                                condition_radii=(0.2, 0.4), judges=JudgeSettings(steps=40)),
}  # fmt: skip


def reproduce(
    what: str,
    folder: Path,
    *,
    preset: str = "standard",
    data: Sequence[str] | None = None,
    images: int | None = None,
    few: int | None = None,
    seed: int = 0,
    progress: bool = True,
) -> dict[str, tuple[EvaluationRun, ...]]:
    """Train and evaluate what a table or figure needs; what is in the folder already is not done again.

    Each data set gets a folder with one a cell (the training, and its `evaluation` with a page), all records in
    `results.json`, and `comparison.html`.

    Args:
        what: one of `CELLS`.
        folder: of all that.
        preset: `standard`, or `smoke`, which takes minutes and shows that everything runs, not what it reaches.
        data: names of the data sets; None: those that the paper's figure shows, or all three.
        images: for the main point of the white box; None: the preset's.
        few: for all other points; None: the preset's.
        seed: of everything.
        progress: whether to show bars.

    Returns:
        name of each data set → one run a cell.

    Raises:
        TwinlatentError: unknown table, figure, preset or data set, or a folder of something else, or one that another
            process writes.
        KeyboardInterrupt: after Ctrl-C; the same call goes on.
    """
    if what not in CELLS:
        raise TwinlatentError(f"{what!r} is unknown; choose from {', '.join(CELLS)}")
    if preset not in get_args(Preset):
        raise TwinlatentError(f"preset {preset!r} is unknown; choose from {', '.join(get_args(Preset))}")
    changes = {"seed": seed, "images": images, "few": few, "suite": "none" if what in BLACK_BOX_ONLY else None}
    settings = _SETTINGS[preset].model_copy(
        update={name: value for name, value in changes.items() if value is not None}
    )
    names = data or SHOWN_ON.get(what, DATA)
    check_distinct(names)
    splits = [load(name, seed=seed, progress=progress) for name in names]  # what is missing stops it before any work
    found = {}
    for split in splits:
        here = folder / split.short_name
        with claimed(here):
            refuse_present(here, [MODEL], "an evaluation")
            runs = [_run(cell, split, preset, settings, here, progress) for cell in CELLS[what]]
            write_records(here / RECORDS, [record for run in runs for record in run.records])
            write_comparison(runs, here / COMPARISON)
        found[split.short_name] = tuple(runs)
    return found


def _run(
    cell: Cell, split: Split, preset: str, settings: EvaluationSettings, folder: Path, progress: bool
) -> EvaluationRun:
    """The evaluation of a cell, from its folder if the same was asked of this detector and data, else made now."""
    training = folder / cell.folder
    _train(cell, split, preset, settings.seed, training, progress)
    evaluation, detector = training / "evaluation", load_detector(training)
    made_of = {"detector": digest(list(detector.essence)), "data": split.fingerprint}
    asked = json.loads(settings.model_dump_json()) | made_of
    if (evaluation / ASKED).exists() and _covers(json.loads((evaluation / ASKED).read_text()), asked):
        return read_run(evaluation)
    (evaluation / ASKED).unlink(missing_ok=True)
    title = f"{cell.method} on {split.short_name}, trained with {cell.attack}"
    finished = not (evaluation / UNFINISHED).exists()  # and so of other settings: it is made anew
    run = evaluate_to_folder(detector, split, settings, evaluation, log=training / LOG_FILE,
                             shared=folder / SHARED, title=title, page=write_page, overwrite=finished,
                             progress=progress)  # fmt: skip
    write_json(evaluation / ASKED, asked)
    return run


def _covers(done: dict[str, object], asked: dict[str, object]) -> bool:
    """Whether what was done is what is asked; a black box alone depends on a few settings only."""
    outside = ("blackbox_images", "substitutes", "epsilon", "seed", "detector", "data")
    decisive = outside if asked["suite"] == "none" else tuple(asked)
    return all(done.get(name) == asked[name] for name in decisive)


def _train(cell: Cell, split: Split, preset: str, seed: int, folder: Path, progress: bool) -> None:
    """Train the cell unless that is done.

    Raises:
        TwinlatentError: the folder holds a detector of other images, settings or seed.
    """
    settings: GameSettings | BaselineSettings
    if cell.method == OURS:
        settings = preset_settings(preset, split.image_shape, split.name, cell.attack)
    else:
        settings = baseline_settings(cell.method, preset, split.image_shape, split.classes, split.name, cell.attack)
    if (folder / DETECTOR_FILE).exists():
        card = load_detector(folder).card
        trained = type(settings).model_validate(card.get("training", {}))  # fills what did not exist then
        if (card.get("data", {}).get("fingerprint"), trained, card.get("seed")) != (split.fingerprint, settings, seed):
            raise TwinlatentError(f"{folder} holds a detector of other images, settings or seed; give another folder")
        return
    keep: dict[str, Any] = {"seed": seed, "folder": folder, "progress": progress}
    keep["resume"] = any(folder.glob(f"**/{STATE_FILE}"))
    if isinstance(settings, GameSettings):
        fit_split(split, settings=settings, detector=preset_detector(preset), **keep)
    else:
        fit_baseline(cell.method, split, settings=settings, **keep)
