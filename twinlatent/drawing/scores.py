"""Figures of suspicion scores: ROC curves and histograms. Plain arrays in, a matplotlib Figure out."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import SubFigure

from twinlatent.drawing.canvas import BENIGN_COLOUR, INK, WIDTH, Drawing, Floats, lines, need, style
from twinlatent.drawing.labels import LEGEND, TITLE, shortened

Curve = tuple[Floats, Floats]
BINS = 36
CLIPPED = 0.005  # share of the scores on either side gathered in the outermost bars


@style()
def roc(curves: Mapping[str, Curve]) -> Drawing:
    """Draw one ROC curve a name, its area in the legend.

    Arguments: `curves` name -> (fpr, tpr), two arrays of one length, rising from 0 to 1, as
        `twinlatent.evaluation.metrics.roc_curve` gives.
    Errors: `TwinlatentError` if there is no curve.
    """
    need(curves, "curves")
    figure = Drawing(figsize=(WIDTH, 4.0), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="#999999", linewidth=0.8, linestyle=(0, (1, 2)), label="guessing  AUC 0.500")
    for (name, (fpr, tpr)), line in zip(curves.items(), lines(), strict=False):
        axes.plot(fpr, tpr, label=f"{shortened(name, LEGEND)}  AUC {np.trapezoid(tpr, fpr):.3f}", **line)
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), xlabel="share of benign images flagged",
             ylabel="share of attacked images flagged")  # fmt: skip
    handles, labels = axes.get_legend_handles_labels()
    axes.legend(handles[1:] + handles[:1], labels[1:] + labels[:1], loc="lower right", handlelength=3)
    return figure


@style()
def score_histograms(benign: Floats, adversarial: Mapping[str, Floats], threshold: float | None = None) -> Drawing:
    """Draw one panel an attack: its suspicion scores over those of benign images, on one scale.

    Scores beyond the 0.5 % and 99.5 % quantiles of all of them are counted in the outermost bars.

    Arguments: `benign` (n,), `adversarial` name -> (m,), higher is more suspicious; `threshold` draws a line.
    Errors: `TwinlatentError` if there is no attack.
    """
    need(adversarial, "adversarial scores")
    figure = Drawing(figsize=(WIDTH, histograms_height(adversarial)), layout="constrained")
    draw_histograms(figure, benign, adversarial, threshold)
    return figure


def histograms_height(adversarial: Mapping[str, Floats]) -> float:
    """Inches that `draw_histograms` needs."""
    return 0.7 + 1.65 * math.ceil(len(adversarial) / 2)


def draw_histograms(
    figure: Drawing | SubFigure, benign: Floats, adversarial: Mapping[str, Floats], threshold: float | None = None
) -> None:
    """What `score_histograms` draws, into a figure or a part of one."""
    columns = min(2, len(adversarial))
    rows = math.ceil(len(adversarial) / columns)
    panels = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    edges = _edges([benign, *adversarial.values()])
    for axes, (name, scores), line in zip(panels.flat, adversarial.items(), lines(), strict=False):
        _bars(axes, benign, edges, color=BENIGN_COLOUR, fill=True, label="benign")
        _bars(axes, scores, edges, color=line["color"], hatch="/////", linewidth=1.1, label="attacked")
        if threshold is not None:
            axes.axvline(threshold, color=INK, linewidth=1, linestyle=(0, (4, 2)), label="threshold")
        axes.set_title(shortened(name, TITLE))
    for axes in panels.flat[len(adversarial) :]:
        axes.set_axis_off()
    figure.legend(*panels.flat[0].get_legend_handles_labels(), loc="outside upper left", ncols=3)
    figure.supxlabel("suspicion score", fontsize=9)
    figure.supylabel("share of images", fontsize=9)


def _edges(samples: Sequence[Floats]) -> Floats:
    pooled = np.concatenate(samples)
    finite = pooled[np.isfinite(pooled)]
    low, high = np.quantile(finite, [CLIPPED, 1 - CLIPPED]) if len(finite) else (0.0, 0.0)
    return np.linspace(low, high if high > low else low + 1, BINS + 1)


def _bars(axes: Axes, scores: Floats, edges: Floats, **look: Any) -> None:
    counts, _ = np.histogram(np.clip(scores, edges[0], edges[-1]), edges)
    axes.stairs(counts / len(scores), edges, **look)
