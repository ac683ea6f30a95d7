"""Figures over training rounds and over L∞ radii. Plain arrays in, a matplotlib Figure out."""

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import SubFigure
from matplotlib.ticker import LogFormatter, NullFormatter

from twinlatent.drawing.canvas import (
    COLOURS,
    INK,
    WIDTH,
    Drawing,
    Floats,
    lines,
    marked_lines,
    need,
    need_finite,
    style,
)
from twinlatent.drawing.labels import LEGEND, TITLE, shortened
from twinlatent.errors import TwinlatentError

PALE = "#cfe3ef"
LONG_LABEL = 24  # letters of a label of which two do not fit side by side
POINTS = 150  # at most so many points a training curve, each the mean of its neighbours
THIN = (0, (6, 2))
"""Dashes of what is proved."""
SuccessCurve = tuple[Floats, Floats, Floats, Floats]
"""Radii, success, and lower and upper end of its interval: arrays of one length."""
Interval = tuple[float, float, float]
"""A share, lower and upper end of its interval."""


@style()
def success_curves(
    curves: Mapping[str, SuccessCurve],
    *,
    proved: Mapping[str, SuccessCurve] = MappingProxyType({}),
    benign_pass: float | None = None,
    ylabel: str = "success rate",
) -> Drawing:
    """Draw one curve of success over L∞ radii a name, its interval as a band (figures 6, 12 and 13 of the paper).

    The scale is always 0 to 1, so that figures can be compared.

    Arguments: `curves` name -> `SuccessCurve`, shares; `proved`, of some of the same names, what no attack can
        exceed, is drawn thin and dashed; `benign_pass`, the share of benign images
        that do what is asked of attacked ones, is drawn as a horizontal line.
    Errors: `TwinlatentError` if there is no curve, one has no points or arrays of several lengths, or a number is not
        finite.
    """
    figure = Drawing(figsize=(WIDTH, success_height(curves, benign_pass)), layout="constrained")
    draw_success(figure, curves, proved=proved, benign_pass=benign_pass, ylabel=ylabel)
    return figure


def success_height(curves: Mapping[str, SuccessCurve], benign_pass: float | None = None) -> float:
    """Inches that `draw_success` needs, its legend included."""
    return 3.1 + 0.19 * math.ceil((len(curves) + (benign_pass is not None)) / _columns(curves))


def draw_success(
    figure: Drawing | SubFigure,
    curves: Mapping[str, SuccessCurve],
    *,
    proved: Mapping[str, SuccessCurve] = MappingProxyType({}),
    benign_pass: float | None = None,
    ylabel: str = "success rate",
) -> Axes:
    """What `success_curves` draws, into a figure or a part of one."""
    need(curves, "curves")
    for name, curve in curves.items():
        if not len(curve[0]) or len({len(part) for part in curve}) > 1:
            raise TwinlatentError(f"curve {name!r} has arrays of length {', '.join(str(len(p)) for p in curve)}: give "
                                  "four of one length, at least 1")  # fmt: skip
        need_finite(f"curve {name!r}", *curve)
    axes: Axes = figure.subplots()
    for (name, curve), line in zip(curves.items(), marked_lines(), strict=False):
        _with_band(axes, curve, name, line)
        if name in proved:
            need_finite(f"proved curve {name!r}", *proved[name])
            axes.plot(*proved[name][:2], color=line["color"], linewidth=0.9, linestyle=THIN, marker="_", markersize=7)
    if benign_pass is not None:
        need_finite("benign_pass", benign_pass)
        axes.axhline(benign_pass, color=INK, linewidth=1, linestyle=(0, (1, 1.5)), label="benign images that pass")
    farthest = max(float(np.max(curve[0])) for curve in curves.values())
    axes.set(xlim=(0, farthest * 1.04 or 1), ylim=(-0.02, 1.02), xlabel="L∞ radius ε", ylabel=ylabel)
    figure.legend(loc="outside upper left", ncols=_columns(curves), handlelength=3.4)
    return axes


def _columns(curves: Mapping[str, SuccessCurve]) -> int:
    """Of the legend."""
    return 1 if max(map(len, curves), default=0) > LONG_LABEL else 2


@style()
def attack_bars(rates: Mapping[str, Interval], worst: Interval | None = None) -> Drawing:
    """Draw a bar an attack, the strongest above, with its interval; and one for the worst of all for each image.

    Arguments: `rates` name -> `Interval`, `worst` the same.
    Errors: `TwinlatentError` if there is no attack or a number is not finite.
    """
    need(rates, "attacks")
    shown = sorted(rates.items(), key=lambda item: -item[1][0])
    shown = [("worst of all", worst), *shown] if worst is not None else shown
    for name, rate in shown:
        need_finite(f"attack {name!r}", *rate)
    figure = Drawing(figsize=(WIDTH, 0.6 + 0.235 * len(shown)), layout="constrained")
    axes = figure.subplots()
    reach = max(0.05, *(rate[2] for _, rate in shown))
    for place, (_, (value, low, high)) in enumerate(shown):
        whole = worst is not None and not place
        look: dict[str, Any] = {"color": INK} if whole else {"color": PALE, "edgecolor": COLOURS[0], "hatch": "////"}
        axes.barh(place, value, height=0.66, **look)
        axes.plot(
            [low, high], [place, place], color="#d55e00" if whole else INK, linewidth=1.2, marker="|", markersize=5
        )
        axes.text(high + 0.02 * reach, place, f"{value:.3f}", va="center", fontsize=8)
    names = [shortened(name, TITLE) for name, _ in shown]
    axes.set(yticks=range(len(shown)), yticklabels=names, xlim=(0, 1.14 * reach),
             ylim=(len(shown) - 0.4, -0.6), xlabel="success rate")  # fmt: skip
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)
    return figure


@style()
def training_curves(rounds: Sequence[Mapping[str, Any]]) -> Drawing:
    """Draw the training log: the loss and its terms; below, adversary's success, accuracy and ε.

    A log longer than 150 rounds is shown by the means of neighbouring rounds.

    Arguments: `rounds`, one mapping a round with `round` and any of `loss_...`, `success`, `accuracy`,
        `epsilon`; a value that is missing or None is left out.
    Errors: `TwinlatentError` if there is no round.
    """
    need(rounds, "rounds")
    figure = Drawing(figsize=(WIDTH, 5.2), layout="constrained")
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


def _series(
    figure: SubFigure, rounds: Sequence[Mapping[str, Any]], labels: Mapping[str, str], *, log_scale: bool = False
) -> Axes:
    """Plot each key of `labels` that the rounds hold, with a legend above; on a log scale if all is positive."""
    axes, lowest = figure.subplots(), math.inf
    for (key, label), line in zip(labels.items(), lines(), strict=False):
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


def _with_band(axes: Axes, curve: SuccessCurve, name: str, line: dict[str, Any]) -> None:
    """A curve and its interval; one point alone has whiskers instead of a band."""
    order = np.argsort(curve[0], kind="stable")
    epsilon, value, low, high = (np.asarray(part, dtype=np.float64)[order] for part in curve)
    if len(epsilon) > 1:
        axes.fill_between(epsilon, low, high, color=line["color"], alpha=0.13, linewidth=0)
    else:
        axes.vlines(epsilon, low, high, color=line["color"], linewidth=1.2)
    axes.plot(epsilon, value, label=shortened(name, LEGEND), **line)
