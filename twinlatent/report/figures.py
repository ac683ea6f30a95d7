"""Results to figures: plain arrays in, a matplotlib Figure out, readable in grey. One function a figure."""

from twinlatent.drawing.canvas import Floats, save, svg
from twinlatent.drawing.curves import POINTS, SuccessCurve, attack_bars, success_curves, training_curves
from twinlatent.drawing.images import DIFFERENCE_MAP, GridRow, difference, difference_reach, image_grid
from twinlatent.drawing.scores import Curve, roc, score_histograms
from twinlatent.report.grids import comparison_grid, pair_grid
from twinlatent.report.latent_plot import latent_plot

__all__ = [
    "Curve",
    "DIFFERENCE_MAP",
    "Floats",
    "GridRow",
    "POINTS",
    "SuccessCurve",
    "attack_bars",
    "comparison_grid",
    "difference",
    "difference_reach",
    "image_grid",
    "latent_plot",
    "pair_grid",
    "roc",
    "save",
    "score_histograms",
    "success_curves",
    "svg",
    "training_curves",
]
