"""Train a ladder of detectors, one change a rung, and measure each on selection images.

python scripts/ladder.py experiments/ladders/mnist.toml [--only "3 ramps"] [--folder runs/ladder-mnist]

The file says what changes, and what was expected; results/ladder-NAME.json gets what was measured after each rung,
by thresholds from the calibration images: accuracy, flagged, the certified SR@5 (or, if the file says `mild`, what is
flagged of mildly changed images) and the SR@5 of the attacks of a suite at each radius, of L∞ balls or of those of the
norm that the file names. A rung that is there already is left alone; one that was interrupted is resumed. A rung with
`start` goes on from the detector of that rung and seed in the folder.
"""

import tomllib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import typer
from robust_tables import L2_RADIUS

import twinlatent as tl
from twinlatent.data import Split
from twinlatent.evaluation.black_box import train_substitute
from twinlatent.evaluation.protocol import WhiteBoxSettings, draw, fitted
from twinlatent.evaluation.results import MILD, WORST, Record, read_records, write_records
from twinlatent.evaluation.shift import measure_shift
from twinlatent.evaluation.white_box import attack_detector
from twinlatent.evaluation.white_box.certified import CertifySettings, certify_split
from twinlatent.method.training import STATE_FILE
from twinlatent.recipes import recipe_of
from twinlatent.settings import override

ROOT = Path(__file__).resolve().parent.parent
FPR = 0.05


@dataclass(frozen=True)
class Rung:
    """One detector of the ladder.

    Attributes:
        name: of the rung.
        changes: all settings that are not the recipe's, as `train --set` takes them.
        seed: of the training.
        start: name of the rung whose detector it goes on from; None: from scratch.
    """

    name: str
    changes: tuple[str, ...]
    seed: int
    start: str | None = None

    @property
    def budget(self) -> str:
        """What its records are known by."""
        return f"ladder: {self.name}, training seed {self.seed}"

    @property
    def folder(self) -> str:
        """Name of its folder."""
        return self.folder_of(self.name)

    def folder_of(self, name: str) -> str:
        """That of a rung with the same seed."""
        return f"{name.replace(' ', '-').replace(',', '')}-{self.seed}"


def rungs(plan: dict[str, Any]) -> list[Rung]:
    """The rungs of a plan in their order; each begins with the changes of the one that it comes after."""
    base = list(plan["base"]["settings"])
    if "encoder" in plan["base"]:
        base.append(f"encoder={plan['base']['encoder']}")
    changes: dict[str, list[str]] = {}
    found = []
    for rung in plan["rung"]:
        name, after = rung["name"], rung.get("after")
        if after is not None and after not in changes:
            raise SystemExit(f"rung {name!r} comes after {after!r}, which stands not before it")
        own = (base if after is None else changes[after]) + rung["change"]
        changes.setdefault(name, own)
        start = rung.get("start")
        if start is not None and start not in changes:
            raise SystemExit(f"rung {name!r} starts from {start!r}, which stands not before it")
        found.append(Rung(name, tuple(own), rung.get("seed", plan["seed"]), start))
    return found


def measured(rung: Rung, plan: dict[str, Any], split: Split, folder: Path) -> list[Record]:
    """Train the rung, and take its numbers."""
    recipe, own = recipe_of(split, asked=plan["recipe"]), folder / rung.folder
    settings = override(recipe.game_settings(), rung.changes)
    begun = None if rung.start is None else tl.load(folder / rung.folder_of(rung.start))
    detector = tl.fit_split(split, recipe=plan["recipe"], settings=settings, seed=rung.seed, folder=own, start=begun,
                            resume=(own / STATE_FILE).exists(), overwrite=not (own / STATE_FILE).exists())  # fmt: skip
    norm = plan.get("norm", "linf")
    if "mild" in plan:
        records = _of_mild_changes(detector, split, plan["mild"])
    else:
        asked = CertifySettings(epsilons=tuple(plan["epsilons"]), norm=norm, images=plan["certified"], part="selection")
        records = list(certify_split(detector, split, asked).records)
    drawn, substitute = draw(split.selection, plan["attacked"], 0), train_substitute(split, folder=folder).network
    for epsilon in plan["epsilons"]:
        suite = WhiteBoxSettings(suite="quick", norm=norm, epsilon=epsilon, images=plan["attacked"],
                                 remaining_only=True)  # fmt: skip
        run = attack_detector(detector, split, suite, drawn=drawn, substitute=substitute)
        records += [record for record in run.records if record.attack == WORST]
    return [record.model_copy(update={"budget": f"{rung.budget}{_radius(record)}"}) for record in records]


def _of_mild_changes(detector: tl.Detector, split: Split, images: int) -> list[Record]:
    """Of selection images: accuracy, and the share flagged where 5 % is asked for, as they are and mildly changed."""
    on_selection = fitted(detector, replace(split, test=split.selection))
    found = measure_shift(detector, on_selection, images=images).records
    return [r for r in found if r.budget == MILD and r.asked in (None, FPR)]


def _radius(record: Record) -> str:
    """That of a ball in L2, which only the name of a budget tells."""
    _, said, radius = record.budget.partition(L2_RADIUS)
    return f", {said}{radius}" if said else ""


def main(
    path: Path,
    only: Annotated[list[str] | None, typer.Option(help="Names of rungs; default: all.")] = None,
    folder: Path | None = None,
    out: Annotated[Path | None, typer.Option(help="Default: results/ladder-NAME.json.")] = None,
) -> None:
    """Write the records after each rung."""
    plan = tomllib.loads(path.read_text(encoding="utf-8"))
    name = f"ladder-{path.stem}"
    out, folder = out or ROOT / "results" / f"{name}.json", folder or Path("runs") / name
    split = tl.data.load(plan["data"])
    for rung in rungs(plan):
        before = list(read_records(out)) if out.exists() else []
        if (only and rung.name not in only) or any(record.budget == rung.budget for record in before):
            continue
        print(f"# {rung.budget}: {' '.join(rung.changes)}", flush=True)
        write_records(out, before + measured(rung, plan, split, folder))


if __name__ == "__main__":
    typer.run(main)
