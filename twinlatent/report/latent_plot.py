"""The figure of latents (figure 5 of the paper). Plain arrays in, a matplotlib Figure out."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from twinlatent.drawing.canvas import BENIGN_COLOUR, COLOURS, INK, RULE, Floats, style
from twinlatent.drawing.labels import TITLE, shortened
from twinlatent.evaluation.results import LatentPoints

PERPLEXITY = 30.0
STEPS = 500
FEWEST = 4
"""Points that t-SNE can place."""


@style()
def latent_plot(points: LatentPoints, seed: int = 0) -> Figure:
    """Draw the robust and the vulnerable latents of one class in the plane, by t-SNE of each by itself.

    Distances between far groups mean nothing in such a picture; whether groups mix does.

    Arguments: `points`, the latents; `seed` of t-SNE.
    """
    figure = Figure(figsize=(5.6, 3.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    for axes, means, title in ((left, points.robust, "robust, z_r"), (right, points.vulnerable, "vulnerable, z_v")):
        _scatter(axes, embedded(means, seed), points)
        axes.set_title(title)
    handles, labels = left.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper left", ncols=2)
    return figure


def embedded(points: Floats, seed: int) -> Floats:
    """`points` (n, Z) in the plane, (n, 2): by t-SNE, or where that is impossible their first two coordinates.

    The exact method is used: unlike the quicker one it gives the same numbers whatever the number of threads.
    """
    if len(points) < FEWEST or points.shape[1] < 2 or not np.ptp(points, axis=0).any():
        return np.pad(points[:, :2], ((0, 0), (0, max(0, 2 - points.shape[1])))).astype(np.float64)
    from sklearn.manifold import TSNE

    perplexity = min(PERPLEXITY, (len(points) - 1) / 3)
    placed = TSNE(2, perplexity=perplexity, init="pca", max_iter=STEPS, method="exact", random_state=seed)
    return np.asarray(placed.fit_transform(points.astype(np.float64)))


def _scatter(axes: Axes, places: Floats, points: LatentPoints) -> None:
    (x, y), (u, v) = places[~points.attacked].T, places[points.attacked].T
    name = shortened(points.class_name, TITLE)
    axes.scatter(x, y, s=14, color=BENIGN_COLOUR, edgecolors=INK, linewidths=0.4, label=f"benign {name}")
    axes.scatter(u, v, s=16, color=COLOURS[1], marker="x", linewidths=1.0, label=f"attacked, classified as {name}")
    axes.set(xticks=[], yticks=[])
    axes.grid(visible=False)
    for spine in axes.spines.values():
        spine.set(visible=True, color=RULE)
