"""Write twinlatent/data/cats_dogs.csv, the photographs and squares of cats-dogs with fingerprints and shades.

python scripts/cats_dogs_list.py $TWINLATENT_DATA/cat-dog-faces

The folder holds faces64.csv (photograph and square of each face) and faces64.npz (the faces themselves).
"""

import csv
import io
import sys
from pathlib import Path

import numpy as np

from twinlatent.data.faces import LIST, shades
from twinlatent.data.fingerprints import fingerprints
from twinlatent.files import write_text

COLUMNS = ("file", "label", "width", "height", "x", "y", "side", "fingerprint", "mean", "deviation")


def main() -> None:
    """Write the list."""
    folder = Path(sys.argv[1])
    with np.load(folder / "faces64.npz", allow_pickle=False) as arrays:
        images, labels = arrays["images"], arrays["labels"]
    with (folder / "faces64.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["label"]) for row in rows] == labels.tolist(), "the two files do not belong together"
    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row, fingerprint, shade in zip(rows, fingerprints(images).tolist(), shades(images).tolist(), strict=True):
        numbers = [row[name] for name in ("photo_width", "photo_height", "crop_x", "crop_y", "crop_side")]
        writer.writerow([Path(row["source_path"]).name, row["label"], *numbers, f"{fingerprint:016x}",
                         *(f"{value:.1f}" for value in shade)])  # fmt: skip
    write_text(LIST, written.getvalue())


if __name__ == "__main__":
    main()
