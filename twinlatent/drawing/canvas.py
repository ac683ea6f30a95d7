"""How figures are drawn and written: one style, readable in grey, and always the same bytes.

Nothing touches pyplot's state, so no window opens and no figure outlives its last reference. The drawing
style is set for the length of a call and put back; like all of matplotlib this is not safe across threads.
"""

import hashlib
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from twinlatent.errors import TwinlatentError
from twinlatent.files import replacing

Floats = NDArray[np.floating[Any]]

STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans", "font.size": 9, "axes.titlesize": 9, "axes.labelsize": 9, "legend.fontsize": 8.5,
    "axes.spines.top": False, "axes.spines.right": False, "axes.edgecolor": "#555555", "axes.grid": True,
    "axes.axisbelow": True, "grid.color": "#e4e4e4", "grid.linewidth": 0.6, "xtick.color": "#333333",
    "ytick.color": "#333333", "legend.frameon": False, "hatch.linewidth": 0.7, "lines.linewidth": 1.6,
    "savefig.dpi": 150, "pdf.fonttype": 42, "svg.fonttype": "path", "svg.hashsalt": "twinlatent",
    "text.parse_math": False,  # a dollar in a class name is a dollar
    "image.composite_image": False,  # each image keeps its own pixels
}  # fmt: skip
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#8c3b7a", "#56b4e9", "#b8860b")  # told apart by colour-blind readers
DASHES = ("-", (0, (5, 1.5)), (0, (1.2, 1.2)), (0, (6, 1.5, 1.2, 1.5)), (0, (3, 1.2, 1.2, 1.2, 1.2, 1.2)))
MARKERS = ("o", "s", "^", "D", "v", "X", "P")
INK, RULE = "#222222", "#bbbbbb"
BENIGN_COLOUR = "#b9b9b9"
WIDTH = 4.4  # inches: on a phone the text stays near its nominal size
NO_METADATA: dict[str, dict[str, Any]] = {
    ".svg": {"Date": None, "Creator": None, "Format": None, "Type": None},
    ".pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    ".png": {"Software": None},
}


class Drawing(Figure):
    """A figure that a notebook shows by itself; pyplot does not know of it."""

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        with style():
            self.savefig(buffer, format="png", dpi=100, metadata=NO_METADATA[".png"])
        return buffer.getvalue()


@contextmanager
def style() -> Iterator[None]:
    """Matplotlib's defaults with `STYLE`, whatever the user's own configuration says."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)
        yield


def save(figure: Figure, path: str | Path) -> None:
    """Write `figure` to `path` as .svg, .pdf or .png, whole or not at all; the same figure gives the same bytes.

    Errors: `TwinlatentError` on any other suffix.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in NO_METADATA:
        raise TwinlatentError(f"{path}: a figure is written as {', '.join(NO_METADATA)}, not as {suffix!r}")
    with replacing(path) as temporary, style():
        figure.savefig(temporary, format=suffix[1:], metadata=NO_METADATA[suffix])


def svg(figure: Figure) -> str:
    """Return `figure` as one <svg> element to put into a page.

    Every id starts with a digest of the drawing, so that two figures on a page do not share one.
    """
    buffer = io.StringIO()
    with style():
        figure.savefig(buffer, format="svg", metadata=NO_METADATA[".svg"])
    text = buffer.getvalue()
    text = text[text.index("<svg") :].strip()
    # Matplotlib's style sheet addresses *, which on a page would be everything; these two properties are inherited.
    text, found = re.subn(r"\s*<defs>\s*<style[^>]*>\*\{([^}]*)\}</style>\s*</defs>", "", text, count=1)
    if found:
        text = text.replace("<svg", '<svg style="stroke-linejoin: round; stroke-linecap: butt"', 1)
    prefix = "f" + hashlib.sha256(text.encode()).hexdigest()[:8]
    return re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{prefix}-", text)


def lines() -> Iterator[dict[str, Any]]:
    """Yield colours with line styles, endlessly; 30 pairs before one comes back."""
    number = 0
    while True:
        yield {"color": COLOURS[number % len(COLOURS)], "linestyle": DASHES[number % len(DASHES)]}
        number += 1


def marked_lines() -> Iterator[dict[str, Any]]:
    """`lines` with a marker at each point, for curves of few points; 210 looks before one comes back."""
    for number, line in enumerate(lines()):
        yield line | {"marker": MARKERS[number % len(MARKERS)], "markersize": 4.5}


def need(things: Mapping[str, Any] | Sequence[Any], name: str) -> None:
    """`TwinlatentError` if there are none."""
    if not things:
        raise TwinlatentError(f"there are no {name} to draw: give at least one")


def need_finite(name: str, *values: Any) -> None:
    """`TwinlatentError` unless all `values`, numbers or arrays, are finite."""
    if not all(np.isfinite(value).all() for value in values):
        raise TwinlatentError(f"{name} holds a number that is not finite: leave that point out")
