"""The figure of a whole evaluation: success over radii, and suspicion scores. Plain arrays in, a figure out."""

from collections.abc import Mapping

from twinlatent.drawing.canvas import WIDTH, Drawing, Floats, need, style
from twinlatent.drawing.curves import SuccessCurve, draw_success, success_height
from twinlatent.drawing.scores import draw_histograms, histograms_height

FOUND = "found by attacks"
FOUND_AND_PROVED = "marked: found by attacks; thin, dashed: proved"


@style()
def overview(
    curves: Mapping[str, SuccessCurve],
    proved: Mapping[str, SuccessCurve],
    benign: Floats,
    adversarial: Mapping[str, Floats],
    threshold: float | None = None,
) -> Drawing:
    """Draw success over radii above, where there are curves, and below a histogram of scores an attack.

    Arguments: as of `success_curves` and `score_histograms`.
    Errors: `TwinlatentError` if there is no attack, or a number is not finite.
    """
    need(adversarial, "adversarial scores")
    heights = [*([success_height(curves)] if curves else []), histograms_height(adversarial)]
    figure = Drawing(figsize=(WIDTH, sum(heights)), layout="constrained")
    *above, below = figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False).flat
    for part in above:
        axes = draw_success(part, curves, proved=proved, ylabel="misclassified and not flagged")
        axes.set_title(FOUND_AND_PROVED if proved else FOUND)
    draw_histograms(below, benign, adversarial, threshold)
    return figure
