"""`twinlatent detect`: it says what the detector says, of every kind of file."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from twinlatent.data import Split
from twinlatent.method.detector import Detector


def rows(done: Any) -> list[dict]:
    return [json.loads(line) for line in done.out.splitlines()]


def test_json_lines_say_what_the_detector_says(trained: Path, detector: Detector, images: Tensor, ok: Callable) -> None:
    np.save("images.npy", images.numpy())
    said = rows(ok("detect", trained, "images.npy", "--json"))
    verdict = detector.detect(images)
    assert [row["image"] for row in said] == [f"images.npy[{i}]" for i in range(6)]
    assert [row["label"] for row in said] == [detector.class_names[label] for label in verdict.label]
    assert [row["adversarial"] for row in said] == verdict.adversarial.tolist()
    for field in ("p_value", "suspicion"):
        assert [row[field] for row in said] == pytest.approx(getattr(verdict, field).tolist(), abs=1e-6)
    assert {tuple(row) for row in said} == {("image", "label", "adversarial", "p_value", "suspicion")}


@pytest.mark.parametrize("fpr", [0.05, 0.3])
def test_the_rate_decides_who_is_flagged(fpr: float, trained: Path, digits: Split, ok: Callable) -> None:
    np.save("all.npy", digits.test.images.numpy())
    said = rows(ok("detect", trained, "all.npy", "--fpr", fpr, "--json"))
    assert [row["adversarial"] for row in said] == [row["p_value"] <= fpr for row in said]
    assert 0 < sum(row["adversarial"] for row in said) < len(said)


def test_the_table_has_a_row_an_image(trained: Path, images: Tensor, ok: Callable) -> None:
    name = "all [red][].npy"  # no markup, a file's name
    np.save(name, images.numpy())
    done = ok("detect", trained, name)
    assert [done.out.count(f"{name}[{i}]") for i in range(6)] == [1] * 6
    assert "p-value" in done.out


def test_a_detector_is_found_by_folder_and_by_file(trained: Path, images: Tensor, ok: Callable) -> None:
    np.save("a.npy", images.numpy())
    (Path("elsewhere.safetensors")).write_bytes((trained / "detector.safetensors").read_bytes())
    assert ok("detect", trained, "a.npy", "--json") == ok("detect", "elsewhere.safetensors", "a.npy", "--json")


# --- kinds of files -------------------------------------------------------------------------------------------------


def write_pictures(suffix: str, **options: object) -> Callable[[Tensor], list[str]]:
    def write(images: Tensor) -> list[str]:
        names = [f"{i}{suffix}" for i in range(len(images))]
        for name, image in zip(names, images[:, 0], strict=True):
            Image.fromarray(image.mul(255).round().byte().numpy()).save(name, **options)
        return names

    return write


def write_array(shape: str, kind: str) -> Callable[[Tensor], list[str]]:
    def write(images: Tensor) -> list[str]:
        values = {"n1hw": images, "nhw": images[:, 0], "hw": images[0, 0]}[shape]
        np.save("a.npy", (values * 255).round().byte().numpy() if kind == "uint8" else values.numpy().astype(kind))
        return ["a.npy"]

    return write


def write_npz(**names: str) -> Callable[[Tensor], list[str]]:
    def write(images: Tensor) -> list[str]:
        pieces = {"images": images.numpy(), "labels": np.arange(len(images))}
        np.savez("a.npz", **{name: pieces[piece] for name, piece in names.items()})
        return ["a.npz"]

    return write


@pytest.mark.parametrize(
    ("write", "count", "tolerance"),
    [
        pytest.param(write_pictures(".png"), 6, 0, id="png"),
        pytest.param(write_pictures(".jpg", quality=100, subsampling=0), 6, 0.5, id="jpeg"),  # lossy
        pytest.param(write_array("n1hw", "float32"), 6, 0, id="npy"),
        pytest.param(write_array("nhw", "float64"), 6, 0, id="npy without channels, float64"),
        pytest.param(write_array("nhw", "uint8"), 6, 0, id="npy of bytes"),
        pytest.param(write_array("hw", "float32"), 1, 0, id="npy of one image"),
        pytest.param(write_npz(anything="images"), 6, 0, id="npz of one array"),
        pytest.param(write_npz(images="images", labels="labels"), 6, 0, id="npz with images"),
    ],
)
def test_all_kinds_of_files_give_the_same_verdicts(
    write, count: int, tolerance: float, trained: Path, detector: Detector, images: Tensor, ok: Callable
) -> None:
    said = rows(ok("detect", trained, *write(images), "--json"))
    wanted = detector.detect(images[:count]).suspicion.tolist()
    assert [row["suspicion"] for row in said] == pytest.approx(wanted, abs=tolerance or 2e-5)


def test_files_of_all_kinds_go_together_in_their_order(trained: Path, images: Tensor, ok: Callable) -> None:
    png = write_pictures(".png")(images)[3]
    np.save("two.npy", images[:2].numpy())
    said = rows(ok("detect", trained, png, "two.npy", png, "--json"))
    assert [row["image"] for row in said] == ["3.png", "two.npy[0]", "two.npy[1]", "3.png"]
    assert said[0] == said[3]


def test_image_files_of_another_size_are_resized(trained: Path, detector: Detector, ok: Callable) -> None:
    Image.new("L", (31, 20), round(0.4 * 255)).save("large.png")
    (row,) = rows(ok("detect", trained, "large.png", "--json"))
    small = detector.detect(torch.full((1, 1, 8, 8), 0.4))
    assert row["suspicion"] == pytest.approx(small.suspicion.item(), abs=2e-5)


def test_colours_that_a_grey_detector_leaves_out_are_said_once(trained: Path, program: Callable) -> None:
    Image.new("RGB", (8, 8), (200, 190, 202)).save("scan.png")
    Image.new("LA", (8, 8), (200, 100)).save("clear.png")
    assert program("detect", trained, "scan.png", "clear.png", "--json").err == ""
    line = "{} in colour; the detector takes grey images, so colours were left out\n"
    Image.new("RGB", (8, 8), (200, 100, 50)).save("a.png")
    assert program("detect", trained, "a.png", "scan.png").err == line.format("a.png is")
    Image.new("CMYK", (8, 8), (200, 100, 50, 0)).save("b.tif")
    Image.new("P", (8, 8), 1).save("c.png")  # of a palette of greys
    done = program("detect", trained, "scan.png", "a.png", "b.tif", "c.png", "--json")
    assert (done.status, done.err) == (0, line.format("a.png and 1 more are"))
    assert len(done.out.splitlines()) == 4


def test_invert_swaps_black_and_white(trained: Path, images: Tensor, ok: Callable) -> None:
    np.save("plain.npy", images.numpy())
    np.save("swapped.npy", 1 - images.numpy())
    plain, swapped, back = (
        [(row["label"], row["suspicion"]) for row in rows(ok("detect", trained, *words, "--json"))]
        for words in (["plain.npy"], ["swapped.npy"], ["swapped.npy", "--invert"])
    )
    assert [label for label, _ in back] == [label for label, _ in plain]
    assert [s for _, s in back] == pytest.approx([s for _, s in plain], abs=2e-5)
    assert [s for _, s in swapped] != pytest.approx([s for _, s in plain], abs=1e-2)
