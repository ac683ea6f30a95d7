"""Ship the detector of a training folder; one of many weights with these in float16, calibrated again.

python scripts/zoo_file.py cats-dogs-mim runs/cats-dogs-mim
"""

import sys

from twinlatent.data import load as load_data
from twinlatent.method.detector import Detector, rounded
from twinlatent.zoo import FOLDER, SUFFIX, load

LARGE = 1_000_000
"""Weights from which a file of 4 bytes each is too large to ship."""


def main() -> None:
    """Write twinlatent/zoo/NAME.safetensors."""
    name, folder = sys.argv[1:]
    detector = load(folder)
    assert isinstance(detector, Detector)
    if detector.parameters > LARGE:
        split = load_data(detector.card["data"]["name"], seed=detector.card["seed"])
        assert split.fingerprint == detector.card["data"]["fingerprint"], "other images than it was trained with"
        detector = rounded(detector, split.train, split.calibration)
    detector.save(FOLDER / f"{name}{SUFFIX}")


if __name__ == "__main__":
    main()
