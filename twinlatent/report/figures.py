"""Results to figures: plain arrays in, a matplotlib Figure out, readable in grey.

Nothing touches pyplot's state, so no window opens and no figure outlives its last reference. The drawing
style is set for the length of a call and put back; like all of matplotlib this is not safe across threads.
"""

import hashlib
import io
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import LogFormatter, NullFormatter
from numpy.typing import NDArray

from twinlatent.errors import TwinlatentError
from twinlatent.files import replacing

Floats = NDArray[np.floating[Any]]
Curve = tuple[Floats, Floats]

STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans", "font.size": 9, "axes.titlesize": 9, "axes.labelsize": 9, "legend.fontsize": 8.5,
    "axes.spines.top": False, "axes.spines.right": False, "axes.edgecolor": "#555555", "axes.grid": True,
    "axes.axisbelow": True, "grid.color": "#e4e4e4", "grid.linewidth": 0.6, "xtick.color": "#333333",
    "ytick.color": "#333333", "legend.frameon": False, "hatch.linewidth": 0.7, "lines.linewidth": 1.6,
    "savefig.dpi": 150, "pdf.fonttype": 42, "svg.fonttype": "path", "svg.hashsalt": "twinlatent",
    "text.parse_math": False,  # a dollar in a class name is a dollar
}  # fmt: skip
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#8c3b7a", "#56b4e9", "#b8860b")  # told apart by colour-blind readers
DASHES = ("-", (0, (5, 1.5)), (0, (1.2, 1.2)), (0, (6, 1.5, 1.2, 1.5)), (0, (3, 1.2, 1.2, 1.2, 1.2, 1.2)))
BENIGN_COLOUR = "#b9b9b9"
WIDTH = 4.4  # inches: on a phone the text stays near its nominal size
BINS = 36
CLIPPED = 0.005  # share of the scores on either side gathered in the outermost bars
POINTS = 150  # at most so many points a training curve, each the mean of its neighbours
DIFFERENCE_MAP = LinearSegmentedColormap.from_list("difference", ["#0b2a6b", "#8f8f8f", "#ffd58a"])
NO_METADATA: dict[str, dict[str, Any]] = {
    ".svg": {"Date": None, "Creator": None, "Format": None, "Type": None},
    ".pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    ".png": {"Software": None},
}


@dataclass(frozen=True)
class GridRow:
    """One row of `image_grid`.

    Attributes:
        benign: (H, W) in [0, 1].
        adversarial: (H, W) in [0, 1].
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


@contextmanager
def _style() -> Iterator[None]:
    """Matplotlib's defaults with `STYLE`, whatever the user's own configuration says."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)
        yield


@_style()
def roc(curves: Mapping[str, Curve]) -> Figure:
    """Draw one ROC curve a name, its area in the legend.

    Arguments: `curves` name -> (fpr, tpr), two arrays of one length, rising from 0 to 1, as
        `twinlatent.evaluation.metrics.roc_curve` gives.
    Errors: `TwinlatentError` if there is no curve.
    """
    _need(curves, "curves")
    figure = Figure(figsize=(WIDTH, 4.0), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="#999999", linewidth=0.8, linestyle=(0, (1, 2)), label="guessing  AUC 0.500")
    for (name, (fpr, tpr)), line in zip(curves.items(), _lines(), strict=False):
        axes.plot(fpr, tpr, label=f"{name}  AUC {np.trapezoid(tpr, fpr):.3f}", **line)
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), xlabel="share of benign images flagged",
             ylabel="share of attacked images flagged")  # fmt: skip
    handles, labels = axes.get_legend_handles_labels()
    axes.legend(handles[1:] + handles[:1], labels[1:] + labels[:1], loc="lower right", handlelength=3)
    return figure


@_style()
def score_histograms(benign: Floats, adversarial: Mapping[str, Floats], threshold: float | None = None) -> Figure:
    """Draw one panel an attack: its suspicion scores over those of benign images, on one scale.

    Scores beyond the 0.5 % and 99.5 % quantiles of all of them are counted in the outermost bars.

    Arguments: `benign` (n,), `adversarial` name -> (m,), higher is more suspicious; `threshold` draws a line.
    Errors: `TwinlatentError` if there is no attack.
    """
    _need(adversarial, "adversarial scores")
    columns = min(2, len(adversarial))
    rows = math.ceil(len(adversarial) / columns)
    figure = Figure(figsize=(WIDTH, 0.7 + 1.65 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    edges = _edges([benign, *adversarial.values()])
    for axes, (name, scores), line in zip(panels.flat, adversarial.items(), _lines(), strict=False):
        _bars(axes, benign, edges, color=BENIGN_COLOUR, fill=True, label="benign")
        _bars(axes, scores, edges, color=line["color"], hatch="/////", linewidth=1.1, label="attacked")
        if threshold is not None:
            axes.axvline(threshold, color="#222222", linewidth=1, linestyle=(0, (4, 2)), label="threshold")
        axes.set_title(name)
    for axes in panels.flat[len(adversarial) :]:
        axes.set_axis_off()
    figure.legend(*panels.flat[0].get_legend_handles_labels(), loc="outside upper left", ncols=3)
    figure.supxlabel("suspicion score", fontsize=9)
    figure.supylabel("share of images", fontsize=9)
    return figure


@_style()
def image_grid(rows: Sequence[GridRow]) -> Figure:
    """Draw a row a pair: benign image, attacked image, their signed difference on one scale for all rows.

    The difference is grey where nothing changed, dark blue where the attack darkened, light where it brightened.

    Errors: `TwinlatentError` if there is no row.
    """
    _need(rows, "rows")
    figure = Figure(figsize=(WIDTH, 0.3 + 1.85 * len(rows)), layout="constrained")
    panels = figure.subplots(len(rows), 3, squeeze=False)
    reach = difference_reach([(row.benign, row.adversarial) for row in rows])
    for (left, middle, right), row in zip(panels, rows, strict=True):
        change = row.adversarial - row.benign
        _picture(left, row.benign, f"true: {row.true_label}\n{row.benign_verdict}", cmap="gray", vmin=0, vmax=1)
        _picture(middle, row.adversarial, f"{row.attack}\n{row.adversarial_verdict}", cmap="gray", vmin=0, vmax=1)
        note = f"largest change {np.abs(change).max():.2f}\n"
        _picture(right, change, note, cmap=DIFFERENCE_MAP, vmin=-reach, vmax=reach)
    for axes, title in zip(panels[0], ("benign", "attacked", f"difference (±{reach:.2f})"), strict=True):
        axes.set_title(title)
    return figure


@_style()
def training_curves(rounds: Sequence[Mapping[str, Any]]) -> Figure:
    """Draw the training log: the loss and its terms; below, adversary's success, accuracy and ε.

    A log longer than 150 rounds is shown by the means of neighbouring rounds.

    Arguments: `rounds`, one mapping a round with `round` and any of `loss_...`, `success`, `accuracy`,
        `epsilon`; a value that is missing or None is left out.
    Errors: `TwinlatentError` if there is no round.
    """
    _need(rounds, "rounds")
    figure = Figure(figsize=(WIDTH, 5.2), layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=[1.15, 1], squeeze=False).flat
    losses = sorted({key for line in rounds for key in line if key.startswith("loss_")}, key=_total_first)
    terms = {key: key.removeprefix("loss_").replace("_", " ") for key in losses}
    _series(above, rounds, terms, log_scale=True).set_ylabel("loss")
    shares = {
        "success": "C1 and C2 met",
        "passed": "adversary passed",
        "accuracy": "accuracy",
        "epsilon": "ε of the attack",
    }
    _series(below, rounds, shares).set(xlabel="round", ylabel="share, or ε", ylim=(-0.03, 1.03))
    return figure


def difference_reach(pairs: Sequence[tuple[Floats, Floats]]) -> float:
    """Return the largest absolute change over all (benign, adversarial) pairs, at least 1/255."""
    return max(1 / 255, *(float(np.abs(adversarial - benign).max()) for benign, adversarial in pairs))


def save(figure: Figure, path: str | Path) -> None:
    """Write `figure` to `path` as .svg, .pdf or .png, whole or not at all; the same figure gives the same bytes.

    Errors: `TwinlatentError` on any other suffix.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in NO_METADATA:
        raise TwinlatentError(f"{path}: a figure is written as {', '.join(NO_METADATA)}, not as {suffix!r}")
    with replacing(path) as temporary, _style():
        figure.savefig(temporary, format=suffix[1:], metadata=NO_METADATA[suffix])


def svg(figure: Figure) -> str:
    """Return `figure` as one <svg> element to put into a page.

    Every id starts with a digest of the drawing, so that two figures on a page do not share one.
    """
    buffer = io.StringIO()
    with _style():
        figure.savefig(buffer, format="svg", metadata=NO_METADATA[".svg"])
    text = buffer.getvalue()
    text = text[text.index("<svg") :].strip()
    # Matplotlib's style sheet addresses *, which on a page would be everything; these two properties are inherited.
    text, found = re.subn(r"\s*<defs>\s*<style[^>]*>\*\{([^}]*)\}</style>\s*</defs>", "", text, count=1)
    if found:
        text = text.replace("<svg", '<svg style="stroke-linejoin: round; stroke-linecap: butt"', 1)
    prefix = "f" + hashlib.sha256(text.encode()).hexdigest()[:8]
    return re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{prefix}-", text)


def _lines() -> Iterator[dict[str, Any]]:
    """Yield colours with line styles, endlessly; 30 pairs before one comes back."""
    number = 0
    while True:
        yield {"color": COLOURS[number % len(COLOURS)], "linestyle": DASHES[number % len(DASHES)]}
        number += 1


def _edges(samples: Sequence[Floats]) -> Floats:
    pooled = np.concatenate(samples)
    finite = pooled[np.isfinite(pooled)]
    low, high = np.quantile(finite, [CLIPPED, 1 - CLIPPED]) if len(finite) else (0.0, 0.0)
    return np.linspace(low, high if high > low else low + 1, BINS + 1)


def _bars(axes: Axes, scores: Floats, edges: Floats, **look: Any) -> None:
    counts, _ = np.histogram(np.clip(scores, edges[0], edges[-1]), edges)
    axes.stairs(counts / len(scores), edges, **look)


def _picture(axes: Axes, image: Floats, caption: str, **scale: Any) -> None:
    axes.imshow(image, interpolation="none", **scale)
    axes.set(xticks=[], yticks=[], xlabel=caption)
    axes.grid(visible=False)
    for spine in axes.spines.values():
        spine.set(visible=True, color="#bbbbbb")


def _series(
    figure: SubFigure, rounds: Sequence[Mapping[str, Any]], labels: Mapping[str, str], *, log_scale: bool = False
) -> Axes:
    """Plot each key of `labels` that the rounds hold, with a legend above; on a log scale if all is positive."""
    axes, lowest = figure.subplots(), math.inf
    for (key, label), line in zip(labels.items(), _lines(), strict=False):
        points = [(entry["round"], entry[key]) for entry in rounds if entry.get(key) is not None]
        if points:
            number, values = _thinned(np.array(points, dtype=np.float64))
            axes.plot(number, values, label=label, **line)
            lowest = min(lowest, values.min())
    if log_scale and 0 < lowest < math.inf:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(LogFormatter())
        axes.yaxis.set_minor_formatter(NullFormatter())
    if axes.get_lines():
        figure.legend(loc="outside upper left", ncols=2, handlelength=2.8)
    return axes


def _thinned(points: Floats) -> Floats:
    """Average runs of neighbouring points, (n, 2) → (2, at most POINTS)."""
    return np.array([part.mean(axis=0) for part in np.array_split(points, min(len(points), POINTS))]).T


def _total_first(key: str) -> tuple[bool, str]:
    return key != "loss_total", key


def _need(things: Mapping[str, Any] | Sequence[Any], name: str) -> None:
    if not things:
        raise TwinlatentError(f"there are no {name} to draw: give at least one")
