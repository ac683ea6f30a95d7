"""The figures of a page on one evaluation, each with a caption that says how to read it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twinlatent.drawing.labels import attack_name, attack_names
from twinlatent.evaluation.metrics import roc_curve
from twinlatent.evaluation.results import Examples, LatentPoints, PairGrid, Report
from twinlatent.report import figures, select
from twinlatent.report.cells import share, within
from twinlatent.report.rendering import NBSP, Plot, plot
from twinlatent.report.select import Records, WhiteBox
from twinlatent.showing import as_bytes, p_text, png_source

SUCCESS = "share of images misclassified and not flagged"
CONDITIONS = "share of images misclassified, with C1 and C2"
MAX_EXAMPLES = 24
PROVED = " Thin dashed: what no attack can exceed on the same images, by proof; the truth lies between both lines."


def separation(run: Report) -> list[Plot]:
    """Suspicion scores."""
    names = attack_names(run.suspicion)
    scores = {names[attack]: values for attack, values in run.suspicion.items()}
    curves = {name: roc_curve(run.benign_suspicion, values) for name, values in scores.items()}
    line = "The dashed line is the threshold." if run.threshold is not None else "Each class has its own threshold."
    areas = plot(
        figures.roc(curves),
        f"ROC curves of {', '.join(scores)}",
        "Share of attacked images flagged against share of benign images flagged, for every threshold, under the "
        f"{run.model.score} score. The nearer to the upper left corner, the better.",
    )
    histograms = plot(
        figures.score_histograms(run.benign_suspicion, scores, run.threshold),
        f"Histograms of the suspicion scores of benign images and of {', '.join(scores)}",
        f"Suspicion scores of benign and attacked test images. {line} The outermost bars hold all scores beyond.",
    )
    return [areas, histograms]


def strength(run: Report) -> list[Plot]:
    """Attacks on the detector itself: each of them, and success over radii."""
    own = select.of_model(run.records, run.model)
    box = select.main_white_box(own, run.model.score)
    drawn = [] if box is None else [_bars(box), _radii(box)]
    return [found for found in (*drawn, *map(_conditions, select.conditions(own))) if found]


def pictures(run: Report) -> list[Plot]:
    """Attacked images and latents."""
    return [*([] if run.grid is None else [_grid(run.grid)]), *([] if run.latents is None else [_latents(run.latents)])]


def training(log: Sequence[Mapping[str, Any]]) -> list[Plot]:
    """The training log."""
    caption = (
        "Above, the loss and its terms. Below, of the images attacked in training: the share that met C1 and C2 at the "
        "running benign levels, and the share that passed as the class they were attacked towards at a threshold for a "
        f"false-positive rate of 5{NBSP}%; the accuracy on 500 training images; and the size ε of the attack. The "
        "training attack is weak: what it does not find may still be there."
    )
    about = "Loss, success and accuracy over training"
    return [plot(figures.training_curves(log), about, caption, "side")] if log else []


def _bars(box: WhiteBox) -> Plot | None:
    if not box.attacks:
        return None
    names = attack_names(r.attack for r in box.attacks)
    rates = {names[r.attack]: select.interval(r) for r in box.attacks}
    worst = None if box.worst is None else select.interval(box.worst)
    return plot(
        figures.attack_bars(rates, worst),
        f"Success of {len(rates)} attacks on the detector",
        f"Share of test images on which each attack on the detector succeeds{within(box.epsilon)}, at a false-positive "
        f"rate of {box.metric[3:]}{NBSP}%, with 95{NBSP}% intervals; on top the share on which any of them does. The "
        "shorter the bars, the better.",
    )


def _radii(box: WhiteBox) -> Plot | None:
    if len({r.epsilon for r in box.points} - {None}) < 2:
        return None
    curves, proved = box.curves, box.proved_curves
    return plot(
        figures.success_curves(curves, proved=proved, ylabel=SUCCESS),
        "Success of the worst attack over L∞ radii at several false-positive rates",
        "Share of test images that any attack of the suite gets misclassified and not flagged by thresholds fixed "
        f"beforehand, over its L∞ radius. Bands are 95{NBSP}% intervals. The lower, the better.{PROVED * bool(proved)}",
    )


def _conditions(group: Records) -> Plot | None:
    found = [r for r in group if r.metric == "sr_c1c2" and r.epsilon is not None]
    if not found:
        return None
    names = attack_names(r.attack for r in found)
    curves = {names[own[0].attack]: select.curve(own) for own in select.grouped(found, lambda r: r.attack)}
    passed = select.find(group, metric=select.BENIGN_PASS)
    beside = " The dotted line is the share of benign images that pass C1 and C2, too." if passed else ""
    return plot(
        figures.success_curves(curves, benign_pass=passed.value if passed else None, ylabel=CONDITIONS),
        f"Success by C1 and C2 over L∞ radii of {', '.join(curves)}",
        "Share of test images that each attack gets misclassified with C1 and C2 met, over its L∞ radius (figure 6 of "
        f"the paper). Bands are 95{NBSP}% intervals.{beside}",
    )


def _grid(grid: PairGrid) -> Plot:
    names = ", ".join(grid.columns.tolist())
    return plot(
        figures.pair_grid(grid),
        f"{len(grid.benign)} benign images, and the same attacked with {names}",
        "At the left benign images with their true class, then what each attack made of them in search of C1 and C2; "
        f"below each the predicted class, and whether the image is flagged at a false-positive rate of "
        f"{share(grid.fpr)}. A thick frame and bold type mark images that are misclassified and not flagged. Look "
        "whether these still show the true class: where they do not, the attack has changed the meaning, not fooled "
        "the detector.",
        "wide",
    )


def _latents(points: LatentPoints) -> Plot:
    name = points.class_name
    return plot(
        figures.latent_plot(points),
        f"Robust and vulnerable latents of class {name} in the plane",
        f"Latents of the encoder of class {name}, placed in the plane by t-SNE (figure 5 of the paper): benign images "
        f"of {name}, and images of other classes that an attack unaware of the detector made it classify as {name}. "
        "The method wants them apart by their vulnerable latents. Distances between far groups mean nothing.",
        "wide",
    )


# --- examples: a benign image, its attacked version, their difference -------------------------------------------------


@dataclass(frozen=True)
class Picture:
    """An image, what it shows, and what stands below it.

    Attributes:
        title: a word above it.
        source: the image as a data: address.
        height, width: in pixels.
        description: for those who cannot see it.
        label: the class predicted, "" for none.
        lines: what else is said of it.
    """

    title: str
    source: str
    height: int
    width: int
    description: str
    label: str
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Pair:
    """One example; `outcome` is caught, missed or harmless."""

    attack: str
    true: str
    outcome: str
    images: tuple[Picture, Picture, Picture]


@dataclass(frozen=True)
class Pairs:
    """The examples that are `shown`, of `count`; `reach` is the largest change, at the ends of the scale."""

    shown: tuple[Pair, ...]
    count: int
    reach: float


def examples(found: Examples) -> Pairs | None:
    """The first `MAX_EXAMPLES` pairs."""
    count = min(len(found), MAX_EXAMPLES)
    if not count:
        return None
    reach = figures.difference_reach(list(zip(found.benign[:count], found.adversarial[:count], strict=True)))
    return Pairs(tuple(_pair(found, number, reach) for number in range(count)), len(found), reach)


def _pair(found: Examples, i: int, reach: float) -> Pair:
    true, by = str(found.true[i]), attack_name(str(found.attack[i]))
    change = figures.difference(found.benign[i], found.adversarial[i])
    images = (
        _picture(as_bytes(found.benign[i]), "benign", f"benign image of {true}",
                 found.benign_label[i], _verdict(found.benign_flagged[i], found.benign_p[i])),
        _picture(as_bytes(found.adversarial[i]), "attacked", f"the same image after {by}",
                 found.adversarial_label[i], _verdict(found.adversarial_flagged[i], found.adversarial_p[i])),
        _picture(_coloured(change, reach), "difference", "difference of the two",
                 "", ("at most", f"{np.abs(change).max():.2f}")),
    )  # fmt: skip
    return Pair(by, true, _outcome(found, i), images)


def _outcome(found: Examples, i: int) -> str:
    if found.adversarial_flagged[i]:
        return "caught"
    return "harmless" if found.adversarial_label[i] == found.true[i] else "missed"


def _verdict(flagged: Any, p: float) -> tuple[str, str]:
    return "flagged" if flagged else "passes", f"p{NBSP}{p_text(p)}"


def _coloured(change: NDArray[Any], reach: float) -> NDArray[np.uint8]:
    colours = np.asarray(figures.DIFFERENCE_MAP((change / reach + 1) / 2, bytes=True), dtype=np.uint8)
    return np.delete(colours, 3, axis=2)  # without the opacity


def _picture(pixels: NDArray[np.uint8], title: str, description: str, label: Any, lines: tuple[str, ...]) -> Picture:
    height, width = pixels.shape[:2]
    return Picture(title, png_source(pixels), height, width, description, str(label), lines)
