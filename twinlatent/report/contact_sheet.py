"""A contact sheet: sample images of every class on one page, to look at data before trusting it."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from twinlatent.data.split import LabelledImages, as_pictures
from twinlatent.errors import TwinlatentError
from twinlatent.files import replacing

GAP = 2
MARGIN = 4
PAPER, INK = 255, 0


def contact_sheet(
    data: LabelledImages,
    class_names: Sequence[str],
    path: str | Path,
    *,
    columns: int = 10,
    rows_per_class: int = 1,
    scale: int = 2,
) -> None:
    """Write a PNG, grey or in colour, with sample images of each class, its name at the left.

    The samples are spread evenly over the images of a class in their order, so equal data give equal files. A class
    with fewer images than places leaves places empty. The file is written whole or not at all.

    Args:
        data: where the samples come from.
        class_names: a name for each label in `data`.
        path: of the PNG file; missing folders are made.
        columns: images in a row.
        rows_per_class: rows of images for a class.
        scale: width and height of a pixel.

    Raises:
        TwinlatentError: a count below 1, or a label without a name.
    """
    _check(data, class_names, {"columns": columns, "rows_per_class": rows_per_class, "scale": scale})
    blocks = [_block(samples(data, label, columns * rows_per_class), columns, rows_per_class, scale)
              for label in range(len(class_names))]  # fmt: skip
    sheet = _captioned(blocks, [" ".join(name.split()) for name in class_names])
    with replacing(path) as temporary:
        sheet.save(temporary, format="PNG")


def _check(data: LabelledImages, class_names: Sequence[str], counts: dict[str, int]) -> None:
    for name, value in counts.items():
        if value < 1:
            raise TwinlatentError(f"{name} is {value}; give at least 1")
    largest = int(data.labels.max()) if len(data) else -1
    if largest >= len(class_names) or not class_names:
        raise TwinlatentError(f"label {largest} but {len(class_names)} class names; give a name for each class")


def samples(data: LabelledImages, label: int, count: int) -> NDArray[np.uint8]:
    """At most `count` images of class `label` as bytes (k, H, W) or (k, H, W, 3), spread evenly over them."""
    members = (data.labels == label).nonzero().squeeze(1)
    places = torch.linspace(0, max(len(members) - 1, 0), min(count, len(members))).round().long()
    pixels: NDArray[np.uint8] = np.rint(as_pictures(data.images[members[places]]) * 255).astype(np.uint8)
    return pixels


def _block(images: NDArray[np.uint8], columns: int, rows: int, scale: int) -> NDArray[np.uint8]:
    """Images (k, H, W) or (k, H, W, 3) side by side, row by row, a gap after each."""
    height, width = (side * scale + GAP for side in images.shape[1:3])
    block = np.full((rows * height, columns * width, *images.shape[3:]), PAPER, dtype=np.uint8)
    for place, image in enumerate(images):
        row, column = divmod(place, columns)
        top, left = row * height, column * width
        block[top : top + height - GAP, left : left + width - GAP] = image.repeat(scale, 0).repeat(scale, 1)
    return block


def _captioned(blocks: Sequence[NDArray[np.uint8]], names: Sequence[str]) -> Image.Image:
    """Blocks below each other with a name at the left of each; a block is at least as high as its name."""
    font = ImageFont.load_default()
    boxes = [font.getbbox(name) for name in names]
    left = MARGIN + round(max(box[2] for box in boxes)) + MARGIN
    heights = [max(len(block), round(box[3])) + MARGIN for block, box in zip(blocks, boxes, strict=True)]
    mode, paper = ("L", PAPER) if blocks[0].ndim == 2 else ("RGB", (PAPER, PAPER, PAPER))
    sheet = Image.new(mode, (left + blocks[0].shape[1] + MARGIN, MARGIN + sum(heights)), paper)
    draw = ImageDraw.Draw(sheet)
    top = MARGIN
    for block, name, height in zip(blocks, names, heights, strict=True):
        draw.text((MARGIN, top), name, fill=INK if mode == "L" else (INK, INK, INK), font=font)
        sheet.paste(Image.fromarray(block), (left, top))
        top += height
    return sheet
