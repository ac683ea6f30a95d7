"""The figures of a page, each with a caption that says how to read it."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from twinlatent.evaluation.metrics import roc_curve
from twinlatent.evaluation.pictures import LatentCloud, PairGrid
from twinlatent.evaluation.records import Record
from twinlatent.evaluation.run_folder import EvaluationRun
from twinlatent.report import figures, select
from twinlatent.report.labels import attack_name
from twinlatent.report.page_parts import NBSP, plot, section, share
from twinlatent.report.select import Records, WhiteBox

WINS = "share of images misclassified and not flagged"
CONDITIONS = "share of images misclassified, with C1 and C2"


def separation(run: EvaluationRun) -> str:
    """The section of suspicion scores."""
    scores = {attack_name(attack): values for attack, values in run.suspicion.items()}
    curves = {name: roc_curve(run.benign_suspicion, values) for name, values in scores.items()}
    line = "The dashed line is the threshold." if run.threshold is not None else "Each class has its own threshold."
    areas = plot(
        figures.svg(figures.roc(curves)),
        f"ROC curves of {', '.join(scores)}",
        f"Share of attacked images flagged against share of benign images flagged, for every threshold, under the "
        f"{escape(run.model.score)} score. The nearer to the upper left corner, the better.",
    )
    histograms = plot(
        figures.svg(figures.score_histograms(run.benign_suspicion, scores, run.threshold)),
        f"Histograms of the suspicion scores of benign images and of {', '.join(scores)}",
        f"Suspicion scores of benign and attacked test images. {line} The outermost bars hold all scores beyond.",
    )
    return section("separation", "How far apart the scores lie", f"<div class=pair>{areas}{histograms}</div>")


def attacked(run: EvaluationRun) -> str:
    """The section of attacks on the detector itself: each of them, and success over radii."""
    own = select.of_model(run.records, run.model)
    box = select.main_white_box(own, run.model.score)
    drawn = [] if box is None else [_bars(box), _radii(box)]
    drawn += [_conditions(group) for group in select.conditions(own)]
    body = "".join(drawn)
    return section("strength", "What attacks on the detector reach", body and f"<div class=pair>{body}</div>")


def pictures(run: EvaluationRun) -> str:
    """The section of attacked images and latents."""
    body = ("" if run.grid is None else pairs(run.grid)) + ("" if run.latents is None else _latents(run.latents))
    return section("pictures", "What attacks on the detector make of images", body)


def pairs(grid: PairGrid) -> str:
    """Images and what attacks made of them."""
    names = ", ".join(grid.columns.tolist())
    return plot(
        figures.svg(figures.pair_grid(grid)),
        f"{len(grid.benign)} benign images, and the same attacked with {names}",
        "At the left benign images with their true class, then what each attack made of them in search of C1 and C2; "
        f"below each the class that the detector reads, and whether it flags the image at {share(grid.fpr)} false "
        "alarms. A thick frame and bold type mark images that the attack won. Look whether these still show the true "
        "class: where they do not, the attack has changed the meaning, not fooled the detector.",
        "wide",
    )


def training(log: Sequence[Mapping[str, Any]]) -> str:
    """The section of the training log."""
    if not log:
        return ""
    caption = (
        "Above, the loss and its terms. Below, of the images attacked in training: the share that met C1 and C2 at the "
        "running benign levels, and the share that passed as the class they were attacked towards at a threshold for "
        "5&nbsp;% false alarms; the accuracy on 500 training images; and the size ε of the attack. The training attack "
        "is weak: what it does not find may still be there."
    )
    drawing = figures.svg(figures.training_curves(log))
    return section(
        "training", "How training went", plot(drawing, "Loss, success and accuracy over training", caption, "side")
    )


def named_rate(metric: str) -> str:
    """What a curve of sr@k is called."""
    return f"at {metric[3:]} % false alarms"


def _bars(box: WhiteBox) -> str:
    if not box.attacks:
        return ""
    rates = {attack_name(r.attack): select.interval(r) for r in box.attacks}
    worst = None if box.worst is None else select.interval(box.worst)
    where = "" if box.epsilon is None else f" within L∞ {box.epsilon:g}"
    return plot(
        figures.svg(figures.attack_bars(rates, worst)),
        f"Success of {len(rates)} attacks on the detector",
        f"Share of test images that each attack on the detector wins{where} at {box.metric[3:]}{NBSP}% false alarms, "
        "with 95&nbsp;% intervals; on top the share that any of them wins. The shorter the bars, the better.",
    )


def _radii(box: WhiteBox) -> str:
    by_rate: dict[str, list[Record]] = {}
    for record in sorted(box.points, key=lambda r: int(r.metric[3:])):
        if record.epsilon is not None:
            by_rate.setdefault(record.metric, []).append(record)
    if len({r.epsilon for found in by_rate.values() for r in found}) < 2:
        return ""
    curves = {named_rate(metric): select.curve(found) for metric, found in by_rate.items()}
    return plot(
        figures.svg(figures.success_curves(curves, ylabel=WINS)),
        "Success of the worst attack over L∞ radii at several false-alarm rates",
        "Share of test images that any attack of the suite gets misclassified and past thresholds fixed "
        "beforehand, over its "
        "L∞ radius. Bands are 95&nbsp;% intervals. The lower, the better.",
    )


def _conditions(group: Records) -> str:
    found = [r for r in group if r.metric == "sr_c1c2" and r.epsilon is not None]
    if not found:
        return ""
    curves = {attack_name(own[0].attack): select.curve(own) for own in select.grouped(found, lambda r: r.attack)}
    passed = select.find(group, metric=select.BENIGN_PASS)
    beside = " The dotted line is the share of benign images that pass C1 and C2, too." if passed else ""
    return plot(
        figures.svg(figures.success_curves(curves, benign_pass=passed.value if passed else None, ylabel=CONDITIONS)),
        f"Success by C1 and C2 over L∞ radii of {', '.join(curves)}",
        f"Share of test images that each attack gets misclassified with C1 and C2 met, over its L∞ radius (figure 6 "
        f"of the "
        f"paper). Bands are 95&nbsp;% intervals.{beside}",
    )


def _latents(cloud: LatentCloud) -> str:
    name = escape(cloud.class_name)
    return plot(
        figures.svg(figures.latent_clouds(cloud)),
        f"Robust and vulnerable latents of class {cloud.class_name} in the plane",
        f"Latents of the encoder of class {name}, placed in the plane by t-SNE (figure 5 of the paper): benign images "
        f"of {name}, and images of other classes that an attack unaware of the detector made it read as {name}. The "
        "method wants them apart by their vulnerable latents. Distances between far groups mean nothing.",
        "wide",
    )
