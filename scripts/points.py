"""Measure SR@FPR at three radii and all rates, to compare versions of `operating_points` on the same images.

python scripts/points.py mnist-mim results/points-mnist-mim-NOTE.json "NOTE" FOLDER

The detector's data set, 40 test images drawn by seed 0, suite standard, the detector's own score; main point ε 0.3 at
5 %. FOLDER keeps finished batches.
"""

import sys
import time
from pathlib import Path

import twinlatent as tl
from twinlatent.evaluation.protocol import WhiteBoxSettings
from twinlatent.evaluation.results import Rows, records_of, write_records
from twinlatent.evaluation.white_box import operating_points
from twinlatent.provenance import provenance

IMAGES, RADII = 40, (0.1, 0.2, 0.3)


def main() -> None:
    """Write the records."""
    model, path, note, folder = sys.argv[1:]
    began, origin, detector = time.monotonic(), provenance(), tl.load(model)
    split = tl.data.load(detector.card["data"]["name"], seed=detector.card["seed"])
    points = operating_points(detector, split, WhiteBoxSettings(images=IMAGES), RADII, folder=Path(folder))
    seconds = time.monotonic() - began
    rows = Rows(points.rows(detector.score), f"standard, {note}", origins=points.origins)
    write_records(path, records_of([rows], detector, split, 0, seconds, origin))


if __name__ == "__main__":
    main()
