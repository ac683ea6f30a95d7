"""Figures of images. Plain arrays in, a matplotlib Figure out."""

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from twinlatent.drawing.canvas import COLOURS, INK, RULE, Floats, need, style
from twinlatent.drawing.labels import LONGEST, attack_name, shortened
from twinlatent.errors import TwinlatentError
from twinlatent.evaluation.results import Flags, Names, PairGrid

CELL = 0.66  # inches of an image in a grid of pairs
TEXT_ROOM, NAME_ROOM, HEAD_ROOM, LINE, GAP, GROUP_GAP = 0.52, 1.25, 0.65, 0.2, 0.1, 0.3  # in images
LETTERS = 13  # of the note that go below an image
SOFT = "#555555"


@style()
def pair_grid(grid: PairGrid) -> Figure:
    """Draw a row a benign image and a column an attack, under each image what the detector says (figures 7, 9 to 11).

    A thick frame is round the images with which an attack succeeded: misclassified and not flagged.
    """
    benign = _Column(
        "", "benign", grid.benign, grid.benign_label, grid.benign_flagged, np.zeros(len(grid.benign), bool)
    )
    attacked = [_column(grid, number, *_split(name)) for number, name in enumerate(grid.columns.tolist())]
    return _mosaic([benign, *attacked], grid.true, grid.fpr)


@style()
def comparison_grid(grids: Mapping[str, PairGrid], columns: Sequence[str] | None = None) -> Figure:
    """Draw attacks on several detectors side by side, all on the same benign images (figure 8 of the paper).

    Arguments: `grids` name of a detector -> its grid; `columns` which attacks, None for all that all grids have.
    Errors: `TwinlatentError` if there is no grid, the benign images differ, or no attack is common to all.
    """
    need(grids, "grids")
    first = next(iter(grids.values()))
    for name, grid in grids.items():
        if not np.array_equal(grid.benign, first.benign) or not np.array_equal(grid.true, first.true):
            raise TwinlatentError(
                f"the grid of {name!r} begins with other benign images: compare grids of the same ones"
            )
    shared = [name for name in first.columns.tolist() if all(name in grid.columns for grid in grids.values())]
    chosen = [name for name in shared if columns is None or name in columns]
    need(chosen, "attacks that all grids have")
    blank = np.array([""] * len(first.true))
    benign = _Column("", "benign", first.benign, blank, None, np.zeros(len(blank), bool))
    attacked = [
        _column(grid, grid.columns.tolist().index(name), " ".join(_split(name)).strip(), detector)
        for name in chosen
        for detector, grid in grids.items()
    ]
    return _mosaic([benign, *attacked], first.true, first.fpr)


@dataclass(frozen=True)
class _Column:
    """k images below each other, with a heading over this and its equal neighbours and one of its own."""

    group: str
    title: str
    images: Floats
    labels: Names
    flagged: Flags | None
    won: Flags


def _column(grid: PairGrid, number: int, group: str, title: str) -> _Column:
    return _Column(group, title, grid.images[number], grid.predicted[number], grid.flagged[number], grid.won[number])


def split_column(column: str) -> tuple[str, float | None]:
    """`mim_w 0.2` → mim_w and 0.2, `cw_w` → cw_w and None; an attack's own name may hold spaces."""
    attack, _, radius = column.rpartition(" ")
    try:
        return (attack, float(radius)) if attack else (column, None)
    except ValueError:
        return column, None


def _split(column: str) -> tuple[str, str]:
    """`mim_w 0.2` → MIM_W and ε 0.2, `cw_w` → CW-L2_W and nothing."""
    attack, radius = split_column(column)
    return attack_name(attack), "" if radius is None else f"ε {column.rpartition(' ')[2]}"


def _mosaic(columns: Sequence[_Column], true: Names, fpr: float) -> Figure:
    """All images in one coordinate system, in which an image is 1 wide."""
    rows, (height, width) = len(true), columns[0].images.shape[1:3]
    tall = height / width
    step, lefts = tall + TEXT_ROOM, _lefts(columns)
    right, bottom = lefts[-1] + 1, rows * step
    said = (
        f"At the left the true class. Thick frame: misclassified and not flagged (false-positive rate {100 * fpr:g} %)."
    )
    note = textwrap.wrap(said, int(LETTERS * (right + NAME_ROOM)))
    titles = [textwrap.wrap(column.title, LONGEST, break_long_words=False) for column in columns]
    top = LINE * max(map(len, titles))
    foot, head = bottom + LINE * (len(note) + 1), HEAD_ROOM + top
    inches = (right + NAME_ROOM) * CELL, (foot + head) * CELL
    figure = Figure(figsize=inches)
    axes = figure.add_axes((0, 0, 1, 1))
    for left, column, title in zip(lefts, columns, titles, strict=True):
        axes.text(left + 0.5, -0.12, "\n".join(title), ha="center", va="bottom", fontsize=6.5)
        for row in range(rows):
            _cell(axes, column, row, (left, left + 1, row * step + tall, row * step))
    for left, group in _groups(lefts, columns):
        axes.text(left, -0.32 - top, group, ha="left", va="bottom", fontsize=7.5, weight="bold")
    for row, name in enumerate(true.tolist()):
        axes.text(-0.12, row * step + tall / 2, shortened(name), ha="right", va="center", fontsize=7.5, weight="bold")
    axes.text(-NAME_ROOM + 0.1, bottom + 0.1, "\n".join(note), ha="left", va="top", fontsize=6.5, color=SOFT)
    axes.set(xlim=(-NAME_ROOM, right + 0.05), ylim=(foot, -head))
    axes.set_axis_off()
    return figure


def _cell(axes: Axes, column: _Column, row: int, extent: tuple[float, float, float, float]) -> None:
    left, right, bottom, top = extent
    axes.imshow(column.images[row], cmap="gray", vmin=0, vmax=1, extent=extent, interpolation="none", aspect="auto")
    won = bool(column.won[row])
    frame: dict[str, Any] = (
        {"edgecolor": COLOURS[1], "linewidth": 2.6} if won else {"edgecolor": RULE, "linewidth": 0.6}
    )
    axes.add_patch(Rectangle((left, top), right - left, bottom - top, fill=False, **frame))
    middle, weight = (left + right) / 2, "bold" if won else "normal"
    axes.text(
        middle, bottom + 0.06, shortened(str(column.labels[row])), ha="center", va="top", fontsize=6.5, weight=weight
    )
    if column.flagged is not None:
        verdict = "flagged" if column.flagged[row] else "passes"
        axes.text(middle, bottom + 0.26, verdict, ha="center", va="top", fontsize=5.8, color=INK if won else SOFT)


def _lefts(columns: Sequence[_Column]) -> list[float]:
    """Left edge of each column, with a wider gap between groups."""
    lefts = [0.0]
    for before, after in pairwise(columns):
        lefts.append(lefts[-1] + 1 + (GAP if before.group == after.group else GROUP_GAP))
    return lefts


def _groups(lefts: Sequence[float], columns: Sequence[_Column]) -> list[tuple[float, str]]:
    """Left edge of each group, and its heading."""
    starts = [0, *(number for number in range(1, len(columns)) if columns[number].group != columns[number - 1].group)]
    return [(lefts[number], columns[number].group) for number in starts]
