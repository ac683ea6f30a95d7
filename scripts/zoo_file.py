"""Make the file that the zoo ships of a training folder: many weights are rounded to float16 and calibrated again.

python scripts/zoo_file.py runs/cats-dogs-mim runs/cats-dogs-mim/rounded.safetensors

Evaluated, it goes to twinlatent/zoo/NAME.safetensors as it is.
"""

import sys

from twinlatent.data import load as load_data
from twinlatent.method.detector import Detector, rounded
from twinlatent.zoo import load

LARGE = 1_000_000
"""Weights from which a file of 4 bytes each is too large to ship."""


def main() -> None:
    """Write the file."""
    folder, target = sys.argv[1:]
    detector = load(folder)
    assert isinstance(detector, Detector)
    if detector.parameters > LARGE:
        split = load_data(detector.card["data"]["name"], seed=detector.card["seed"])
        assert split.fingerprint == detector.card["data"]["fingerprint"], "other images than it was trained with"
        detector = rounded(detector, split.train, split.calibration)
    detector.save(target)


if __name__ == "__main__":
    main()
