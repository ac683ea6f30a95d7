"""Measure what detectors say of mildly changed benign images: by default all that ship, on 500 test images each.

python scripts/shift.py [mnist-mim ...] [--part selection] [--images 500] [--again]

Of test images the records go to results/shift/NAME.json, where one that is there stays; of selection images, on which
settings are chosen, they are printed alone.
"""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from shift_tables import FOLDER, by_strength

import twinlatent as tl
from twinlatent import zoo
from twinlatent.evaluation.protocol import fitted, split_of
from twinlatent.evaluation.results import write_records
from twinlatent.evaluation.shift import measure_shift


def main(
    models: Annotated[list[str] | None, typer.Argument(help="Default: all that ship.")] = None,
    part: Annotated[str, typer.Option(help="test or selection.")] = "test",
    images: Annotated[int, typer.Option(min=1)] = 500,
    again: Annotated[bool, typer.Option(help="Measure also those whose records are there.")] = False,
) -> None:
    """Measure one detector after the other."""
    for model in models or sorted({zoo.locate(f"{zoo.ZOO}{name}").stem for name in zoo.names()}):
        path = FOLDER / f"{Path(model).name}.json"
        if part == "test" and path.exists() and not again:
            continue
        detector = tl.load(model)
        split = split_of(detector)
        if part == "selection":
            split = fitted(detector, replace(split, test=split.selection))
        found = measure_shift(detector, split, images=images)
        if part == "test":
            about = {"shift_images": images, "seed": 0}
            write_records(path, found.records, detector=detector.fingerprint, settings=about)
        print(f"{model}, {part} images: {found.check.status}: {found.check.finding}")
        print("\n".join(by_strength({model: found.records}, accuracy=True)), flush=True)


if __name__ == "__main__":
    typer.run(main)
