"""Table 1 and Figure 2 of the paper once more: section 3's experiment for every attack and data set."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from twinlatent.cells import MOTIVATION_CELLS as CELLS
from twinlatent.cells import MOTIVATION_DATA as DATA
from twinlatent.data import Split, load
from twinlatent.data.split import check_distinct
from twinlatent.errors import TwinlatentError
from twinlatent.evaluation.black_box import train_substitute
from twinlatent.evaluation.results import write_records
from twinlatent.motivation.experiment import Vulnerability, run_motivation
from twinlatent.motivation.settings import MotivationSettings, check_names
from twinlatent.recipes import recipe_of
from twinlatent.report.vulnerable import write_figure, write_vulnerability
from twinlatent.running.together import run_all
from twinlatent.running.units import Heard, Here, Places, Runner
from twinlatent.running.workers import runner_of

PAGE, SHARED = "report.html", "shared"
FOLDER = "folder"
"""What units call a data set's folder."""


def reproduce_motivation(
    what: str,
    folder: Path,
    *,
    preset: str = "standard",
    data: Sequence[str] = DATA,
    images: int | None = None,
    seed: int = 0,
    workers: int | Runner | None = None,
    progress: bool = True,
) -> tuple[Vulnerability, ...]:
    """Run the cells of Table 1, or those of Figure 2; what is in the folder already is not done again.

    Each cell gets a folder below its data set's, with its own page; all records go to `table1.json` (or `fig2.json`)
    of `folder`, and one page over all to `table1.html`.

    Args:
        what: one of `CELLS`.
        folder: of all that.
        preset: `standard`, `smoke` or `paper`, the purpose of the recipe.
        data: names of the data sets.
        images: training images attacked in each iteration; None: the preset's, which differs from cell to cell.
        seed: of everything.
        workers: so many processes do a cell each; None or 1: this one alone.
        progress: whether to show bars.

    Raises:
        TwinlatentError: unknown table, preset or data set, or a folder that holds other work.
        KeyboardInterrupt: after Ctrl-C; the same call resumes.
    """
    if what not in CELLS:
        raise TwinlatentError(f"{what!r} is unknown; choose from {', '.join(CELLS)}")
    check_names(CELLS[what][0], preset)
    check_distinct(data)
    cells, runner = [], runner_of(workers)
    for name in data:
        split = load(name, seed=seed, progress=progress)
        recipe, here = recipe_of(split, preset), folder / split.short_name
        asked = {attack: recipe.motivation_settings(attack, images=images, seed=seed) for attack in CELLS[what]}
        if not isinstance(runner, Here):
            units = [CellUnit(attack) for attack in reversed(asked)]
            train_substitute(split, seed=seed, folder=here / SHARED, progress=progress)  # of all cells
            run_all(runner, [units], (split, asked), {FOLDER: here}, name=f"{what}, {name}", progress=progress)
        for attack, settings in asked.items():
            cells.append(run_cell(split, settings, here / attack, shared=here / SHARED, progress=progress))
    write_records(folder / f"{what}.json", [record for cell in cells for record in cell.records])
    write_vulnerability(cells, folder / f"{what}.html")
    return tuple(cells)


@dataclass(frozen=True)
class CellUnit:
    """A cell, which resumes in its folder.

    Attributes:
        attack: of the cell.
    """

    attack: str

    @property
    def name(self) -> str:
        """For bars and errors."""
        return f"cell {self.attack}"

    @property
    def steps(self) -> int:
        """One experiment."""
        return 1

    @property
    def keeps(self) -> Mapping[str, Sequence[str]]:
        """See `Unit`."""
        return {FOLDER: (f"{self.attack}/**/*",)}

    @property
    def needs(self) -> Mapping[str, Sequence[str]]:
        """The attacked classifier."""
        return {FOLDER: (f"{SHARED}/*",)}

    def __call__(self, given: tuple[Split, Mapping[str, MotivationSettings]], places: Places, heard: Heard) -> None:
        """See `Unit`; given are the data set and each attack's settings."""
        split, asked = given
        here = places[FOLDER]
        run_cell(split, asked[self.attack], here / self.attack, shared=here / SHARED, progress=False)
        heard(here / self.attack / PAGE)


def run_cell(
    split: Split,
    settings: MotivationSettings,
    folder: Path,
    *,
    shared: Path | None = None,
    device: str = "cpu",
    workers: int | Runner | None = None,
    progress: bool = True,
) -> Vulnerability:
    """`run_motivation`, with its page and Figure 2."""
    found = run_motivation(split, settings, folder, shared=shared, device=device, workers=workers, progress=progress)
    write_figure(found, folder)
    write_vulnerability([found], folder / PAGE)
    return found
