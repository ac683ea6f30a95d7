"""All of an evaluation runs on images in colour that are not square, of a detector made with augmentation."""

from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

import twinlatent as tl
from twinlatent.data import LabelledImages, Split
from twinlatent.data.augmentation import Augmentation
from twinlatent.method.fit import fit_split
from twinlatent.recipes import recipe_of
from twinlatent.report.page import page

TINTS = torch.tensor([1.0, 0.6, 0.3])[:, None, None]
QUICK = """
[judges]
steps = 20
remembered = 200
[substitutes.f_p]
steps = 20
[substitutes.cnn5]
steps = 20
[substitutes.cleverhans]
steps = 20
"""


def tinted(data: LabelledImages) -> LabelledImages:
    """In three colours, and wider than high."""
    return LabelledImages(F.pad(data.images, (2, 2)) * TINTS, data.labels)


@pytest.mark.slow
def test_a_coloured_detector_is_made_and_judged(digits: Split, tmp_path: Path) -> None:
    split = Split("tinted", *map(tinted, (digits.train, digits.calibration, digits.test)), digits.class_names)
    assert split.image_shape == (3, 8, 12)
    changes = {"augment": Augmentation(flip=True, shift=1, brightness=0.2), "rounds": 40}
    settings = recipe_of(split, "smoke").game_settings().model_copy(update=changes)
    fit_split(split, settings=settings, preset="smoke", folder=tmp_path / "run", progress=False)
    detector = tl.load(tmp_path / "run")
    assert detector.image_shape == (3, 8, 12)
    recipe = tmp_path / "quick.toml"
    recipe.write_text(QUICK, encoding="utf-8")
    report = tl.evaluate(detector, split, suite="quick", images=6, subset=3, blackbox_images=6, steps=2, recipe=recipe,
                         folder=tmp_path / "evaluation", progress=False)  # fmt: skip
    assert report.examples.benign.shape[1:] == report.grid.benign.shape[1:] == (8, 12, 3)
    assert {"gradients", "radius"} & {check.name for check in report.checks}
    assert {case.judge for case in report.judges.cases} > {"cnn"}
    assert "data:image/png" in page(report)
