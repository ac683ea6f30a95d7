"""`twinlatent calibrate`: from a folder, an array or a data set to a detector file."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import twinlatent as tl
from twinlatent.data import Split
from twinlatent.evaluation.shift import changed


@pytest.fixture
def photos(digits: Split, tmp_path: Path) -> Path:
    """Faint test images, without labels, some in a folder below."""
    for k, image in enumerate(changed(digits.test.images[:120], "contrast", 3)[:, 0]):
        path = tmp_path / "photos" / ("more" if k % 2 else "") / f"{k:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image.mul(255).round().byte().numpy()).save(path)
    return tmp_path / "photos"


def test_a_folder_without_labels_gives_a_detector(
    trained: Path, photos: Path, digits: Split, program: Callable
) -> None:
    done = program("calibrate", trained, f"folder:{photos}", "--out", "new/own.safetensors", "--no-progress")
    made = tl.load(Path("new/own.safetensors"))
    assert done.status == 0
    assert done.err.startswith("too few images are predicted as 0, 1, 2 and ")
    assert made.calibration_images == 120
    assert [one["data"] for one in made.card["calibrated"]] == ["digits", "folder:photos"]
    assert done.out.startswith(
        "new/own.safetensors: calibrated on 120 images of folder:photos, before on 360 of digits,"
    )
    faint = changed(digits.test.images[120:], "contrast", 3)
    before, now = (d.detect(faint).adversarial.double().mean() for d in (tl.load(trained), made))
    assert now < 0.15 < before


def test_an_array_and_the_calibration_part_of_a_data_set_will_do(
    trained: Path, digits: Split, program: Callable
) -> None:
    np.save("own.npy", 1 - digits.test.images[:60].numpy())
    assert program("calibrate", trained, "own.npy", "--invert", "--out", "a.safetensors", "--no-progress").status == 0
    assert program("calibrate", trained, "digits", "--out", "b.safetensors", "--no-progress").status == 0
    array, named = tl.load(Path("a.safetensors")), tl.load(Path("b.safetensors"))
    assert array.card["calibrated"][-1]["data"] == "own.npy"
    torch.testing.assert_close(array.calibration.pooled,
                               tl.calibrate(tl.load(trained), digits.test.images[:60], say=str).calibration.pooled,
                               atol=1e-4, rtol=1e-4)  # fmt: skip
    assert torch.equal(named.calibration.pooled, tl.load(trained).calibration.pooled)


def test_what_is_there_stays_unless_forced(trained: Path, program: Callable) -> None:
    Path("there").write_text("mine")
    refused = program("calibrate", trained, "digits", "--out", "there", "--no-progress")
    assert refused.refusal == "there is there already; give another --out, or --force to write over it"
    assert Path("there").read_text() == "mine"
    assert program("calibrate", trained, "digits", "--out", "there", "--force", "--no-progress").status == 0
    assert tl.load(Path("there")).calibration_images == 360
