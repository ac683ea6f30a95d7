"""Figures of images beside each other. Plain arrays in, a matplotlib Figure out."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap

from twinlatent.drawing.canvas import COLOURS, RULE, WIDTH, Drawing, Floats, need, style

DIFFERENCE_MAP = LinearSegmentedColormap.from_list("difference", ["#0b2a6b", "#8f8f8f", "#ffd58a"])
ACROSS = 5
"""Images in a row of `image_cells`."""


@dataclass(frozen=True)
class GridRow:
    """One row of `image_grid`.

    Attributes:
        benign: (H, W), or in colour (H, W, 3), in [0, 1].
        adversarial: the same.
        true_label: name of the true class.
        benign_verdict: what the detector said of the benign image.
        adversarial_verdict: the same of the attacked one.
        attack: name of the attack.
    """

    benign: Floats
    adversarial: Floats
    true_label: str
    benign_verdict: str
    adversarial_verdict: str
    attack: str


@style()
def image_grid(rows: Sequence[GridRow], title: str = "") -> Drawing:
    """Draw a row a pair: benign image, attacked image, their signed difference on one scale for all rows.

    The difference is grey where nothing changed, dark blue where the attack darkened, light where it brightened.

    Errors: `TwinlatentError` if there is no row.
    """
    need(rows, "rows")
    figure = Drawing(figsize=(WIDTH, 0.3 + 1.85 * len(rows)), layout="constrained")
    if title:
        figure.suptitle(title, fontsize=9)
    panels = figure.subplots(len(rows), 3, squeeze=False)
    reach = difference_reach([(row.benign, row.adversarial) for row in rows])
    for (left, middle, right), row in zip(panels, rows, strict=True):
        change = difference(row.benign, row.adversarial)
        _picture(left, row.benign, f"true: {row.true_label}\n{row.benign_verdict}", cmap="gray", vmin=0, vmax=1)
        _picture(middle, row.adversarial, f"{row.attack}\n{row.adversarial_verdict}", cmap="gray", vmin=0, vmax=1)
        note = f"largest change {np.abs(change).max():.2f}\n"
        _picture(right, change, note, cmap=DIFFERENCE_MAP, vmin=-reach, vmax=reach)
    for axes, title in zip(panels[0], ("benign", "attacked", f"difference (±{reach:.2f})"), strict=True):
        axes.set_title(title)
    return figure


@dataclass(frozen=True)
class ImageCell:
    """One image of `image_cells`.

    Attributes:
        image: (H, W), or in colour (H, W, 3), in [0, 1].
        caption: stands below it.
        framed: whether it stands out.
    """

    image: Floats
    caption: str
    framed: bool


@style()
def image_cells(cells: Sequence[ImageCell], title: str) -> Drawing:
    """Draw images beside each other, five in a row, each with its caption; one axes an image.

    Errors: `TwinlatentError` if there is no image.
    """
    need(cells, "images")
    rows = math.ceil(len(cells) / ACROSS)
    figure = Drawing(figsize=(1.3 * WIDTH, 0.4 + 1.65 * rows), layout="constrained")
    figure.suptitle(title, fontsize=9)
    for place, cell in enumerate(cells, 1):
        axes = figure.add_subplot(rows, ACROSS, place)
        _picture(axes, cell.image, cell.caption, cmap="gray", vmin=0, vmax=1)
        if cell.framed:
            for spine in axes.spines.values():
                spine.set(color=COLOURS[1], linewidth=2.6)
    return figure


def difference(benign: Floats, adversarial: Floats) -> Floats:
    """Return the signed change (H, W) of each pixel; in colour that of the channel which changed most."""
    change = adversarial - benign
    if change.ndim == 2:
        return change
    return np.take_along_axis(change, np.abs(change).argmax(-1)[..., None], -1)[..., 0]


def difference_reach(pairs: Sequence[tuple[Floats, Floats]]) -> float:
    """Return the largest absolute change over all (benign, adversarial) pairs, at least 1/255."""
    return max(1 / 255, *(float(np.abs(adversarial - benign).max()) for benign, adversarial in pairs))


def _picture(axes: Axes, image: Floats, caption: str, **scale: Any) -> None:
    axes.imshow(image, interpolation="none", **scale)
    axes.set(xticks=[], yticks=[], xlabel=caption)
    axes.grid(visible=False)
    for spine in axes.spines.values():
        spine.set(visible=True, color=RULE)
