"""Your own images, a folder a class: train on them, then judge them.

    python examples/04_own_images.py

The same from the command line: `twinlatent train folder:PATH --size 8 --out RUN`, `twinlatent detect RUN FILES`.
"""

import tempfile
from pathlib import Path

from PIL import Image
from sklearn.datasets import load_digits

import twinlatent as tl

NAMES = ("zero", "one", "two")


def write_pictures(root: Path) -> None:
    """Stand-in for your photographs: PNG files in root/zero, root/one and root/two."""
    pictures = load_digits()
    for number, (image, label) in enumerate(zip(pictures.images, pictures.target, strict=True)):
        if label < len(NAMES):
            path = root / NAMES[label] / f"{number:04}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray((image * 15.9).astype("uint8")).resize((32, 32)).save(path)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        write_pictures(Path(folder))
        # Any size, colour or format that Pillow reads; all become grey and `size` by `size`.
        split = tl.data.load(f"folder:{folder}", size=8, progress=False)
    print(f"classes {', '.join(split.class_names)}: {len(split.train)} training, {len(split.calibration)} calibration, "
          f"{len(split.test)} test images")  # fmt: skip

    detector = tl.fit_split(split, preset="smoke", progress=False)
    verdict = detector.detect(split.test.images)
    read = (verdict.label == split.test.labels).double().mean()
    print(f"test images: {read:.0%} classified correctly, {int(verdict.adversarial.sum())} flagged")


if __name__ == "__main__":
    main()
