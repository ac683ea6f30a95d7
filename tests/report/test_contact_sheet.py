from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from twinlatent.data import LabelledImages, load
from twinlatent.errors import TwinlatentError
from twinlatent.report.contact_sheet import GAP, MARGIN, contact_sheet, samples


def flat(labels: list[int], height: int = 10, width: int = 12) -> LabelledImages:
    """Flat images; the k-th is of grey value k / 255."""
    values = torch.arange(len(labels)).reshape(-1, 1, 1, 1) / 255
    return LabelledImages(values.repeat(1, 1, height, width), torch.tensor(labels, dtype=torch.int64))


def grey_values(samples: np.ndarray) -> list[int]:
    return samples[:, 0, 0].tolist()


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        assert (image.format, image.mode) == ("PNG", "L")
        return np.asarray(image)


def test_samples_are_spread_over_the_class() -> None:
    data = flat([0, 1] * 10)
    assert grey_values(samples(data, 1, 1)) == [1]
    assert grey_values(samples(data, 1, 2)) == [1, 19]
    assert grey_values(samples(data, 0, 4)) == [0, 6, 12, 18]
    assert grey_values(samples(data, 0, 99)) == list(range(0, 20, 2))
    assert grey_values(samples(data, 5, 3)) == []


@pytest.mark.parametrize("scale", [1, 3])
def test_every_sample_is_on_the_sheet_in_its_place(tmp_path, scale: int) -> None:
    data = flat([0] * 6 + [1] * 3)
    contact_sheet(data, ["a", "b"], tmp_path / "sheet.png", columns=2, rows_per_class=2, scale=scale)
    sheet = pixels(tmp_path / "sheet.png")
    height, width = 10 * scale + GAP, 12 * scale + GAP
    block_height = max(2 * height, 10) + MARGIN
    assert sheet.shape[0] == MARGIN + 2 * block_height
    for label, expected in enumerate(([0, 2, 3, 5], [6, 7, 8])):
        for place, value in enumerate(expected):
            top = MARGIN + label * block_height + place // 2 * height
            left = sheet.shape[1] - MARGIN - 2 * width + place % 2 * width
            assert (sheet[top : top + 10 * scale, left : left + 12 * scale] == value).all()
    assert (sheet[-MARGIN - 10 * scale :, -MARGIN - width :] == 255).all(), "the fourth place of b stays empty"


def test_colours_are_shown_as_they_are(tmp_path) -> None:
    colours = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.2, 1.0]])[:, :, None, None].expand(2, 3, 10, 12)
    contact_sheet(LabelledImages(colours, torch.tensor([0, 1])), ["a", "b"], tmp_path / "sheet.png", columns=1, scale=1)
    with Image.open(tmp_path / "sheet.png") as image:
        assert image.mode == "RGB"
        sheet = np.asarray(image)
    right = sheet.shape[1] - MARGIN - (12 + GAP)
    assert (sheet[MARGIN : MARGIN + 10, right : right + 12] == (255, 0, 0)).all()
    assert (sheet == (0, 51, 255)).all(-1).sum() == 120
    assert (sheet[:, :right] < 128).all(-1).any(), "names are dark"


def test_the_name_is_at_the_left_of_its_class(tmp_path) -> None:
    contact_sheet(flat([0, 1]), [" ", "trouser"], tmp_path / "sheet.png", columns=1, scale=2)
    sheet = pixels(tmp_path / "sheet.png")
    names = sheet[:, : sheet.shape[1] - MARGIN - (2 * 12 + GAP)]
    half = len(sheet) // 2
    assert (names[:half] == 255).all()
    assert (names[half:] < 128).any()


def test_small_images_leave_room_for_the_names(tmp_path) -> None:
    contact_sheet(flat([0, 1], 2, 2), ["Ångström", "gypsy"], tmp_path / "sheet.png", columns=1, scale=1)
    sheet = pixels(tmp_path / "sheet.png")
    contact_sheet(flat([0], 2, 2), ["Ångström"], tmp_path / "one.png", columns=1, scale=1)
    one = pixels(tmp_path / "one.png")
    np.testing.assert_array_equal(sheet[: len(one), : one.shape[1] - 8], one[:, :-8])


def test_equal_data_give_equal_files(tmp_path) -> None:
    split = load("digits")
    for name in ("a.png", "deep/b.png"):
        contact_sheet(split.test, split.class_names, tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "deep" / "b.png").read_bytes()
    assert sorted(path.name for path in tmp_path.rglob("*.png")) == ["a.png", "b.png"]


def test_a_class_without_images_is_an_empty_row(tmp_path) -> None:
    contact_sheet(flat([0, 0]), ["some", "none"], tmp_path / "sheet.png", columns=2)
    assert pixels(tmp_path / "sheet.png").shape[0] == MARGIN + 2 * (2 * 10 + GAP + MARGIN)


@pytest.mark.parametrize(
    ("class_names", "options", "complaint"),
    [
        (["a", "b"], {"columns": 0}, "columns is 0"),
        (["a", "b"], {"rows_per_class": 0}, "rows_per_class is 0"),
        (["a", "b"], {"scale": -1}, "scale is -1"),
        (["a"], {}, "label 1 but 1 class names"),
    ],
)
def test_bad_requests_leave_no_file(tmp_path, class_names: list[str], options: dict[str, int], complaint: str) -> None:
    with pytest.raises(TwinlatentError, match=complaint):
        contact_sheet(flat([0, 1]), class_names, tmp_path / "sheet.png", **options)
    assert list(tmp_path.iterdir()) == []
