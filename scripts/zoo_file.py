"""Make the file that the zoo ships of a training folder: many weights are rounded to float16 and calibrated again.

python scripts/zoo_file.py runs/cats-dogs-mim runs/cats-dogs-mim/rounded.safetensors

Evaluated, it goes to twinlatent/zoo/NAME.safetensors as it is.
"""

import sys

from twinlatent.data import load as load_data
from twinlatent.method.detector import Detector, rounded
from twinlatent.zoo import load

LARGE = 500_000
"""Weights from which a file of 4 bytes each is too large to ship."""


def main() -> None:
    """Write the file."""
    if len(sys.argv) != 3:
        raise SystemExit("usage: python scripts/zoo_file.py FOLDER FILE")
    folder, target = sys.argv[1:]
    detector = load(folder)
    if not isinstance(detector, Detector):
        raise SystemExit(f"{folder} holds a baseline; give the folder of a training of twinlatent")
    if detector.parameters > LARGE:
        split = load_data(detector.card["data"]["name"], seed=detector.card["seed"])
        if split.fingerprint != detector.card["data"]["fingerprint"]:
            raise SystemExit(f"{split.name} has other images here than {folder} was trained with; prepare them anew")
        detector = rounded(detector, split.train, split.calibration)
    detector.save(target)


if __name__ == "__main__":
    main()
