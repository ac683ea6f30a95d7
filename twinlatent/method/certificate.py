"""A proof of what passes a detector: images of whose neighbourhood none is both misclassified and not flagged.

An attack within ε on an image x of class y succeeds if some x' of the ball is predicted as c ≠ y and not flagged: its
suspicion is at most the threshold of c. It cannot if, for every c ≠ y, a lower bound of the suspicion as c over the
ball lies above that threshold, or some class has a lower bound of its logit above the upper bound of that of c. No
bound of y itself is needed: a flagged image is no success of the attacker.

Bounds are those of `twinlatent.method.bounds`, with rounding: they hold for the detector as it computes in float32 on a
CPU, under what that module says of it. They are loose for detectors that were not trained for them. Images that
intervals leave undecided are tried again with linear bounds.

Letters: n images, C classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from twinlatent.arguments import real
from twinlatent.attacks.balls import Norm, ball_of
from twinlatent.data.validation import Array, check_images
from twinlatent.errors import TwinlatentError
from twinlatent.method.bounds import (
    FLOAT32,
    PIXEL_ROUNDING,
    Interval,
    LatentBounds,
    RoundBall,
    ball_in,
    bound_latents,
    bound_log_density,
    density_rounding,
    in_float64,
    squared_distance,
)
from twinlatent.method.calibrated import CalibratedDetector
from twinlatent.method.class_vaes import ClassEncoders
from twinlatent.method.densities import LOG_2PI
from twinlatent.method.detector import Detector
from twinlatent.method.linear_bounds import LinearBounds, linear_bounds, upper_bound
from twinlatent.method.scores import LabelRule, Score
from twinlatent.torch_state import fresh_torch

CERTIFIED_AT_ONCE = 100
"""Images whose bounds are computed together."""
LINEAR_AT_ONCE = 20
"""The same of linear bounds, which need more memory."""
WITHIN = 5.0
"""Images that lack more than this, in nats, are not tried with linear bounds: they gain about one."""
STEPS = 0, 10
"""Of linear bounds, one after the other, of images that are undecided yet; see `linear_bounds.upper_bound`."""
OF_SUMS = 16 * FLOAT32
"""Relative rounding of the few sums and quotients that make a suspicion of two log-densities."""


class Undecided(TwinlatentError):
    """A detector has a layer or a score that nothing here bounds: neither robust nor not."""


@dataclass(frozen=True)
class Certificate:
    """What is proved of n images within a radius, at one false-positive rate.

    Attributes:
        holds: bool (n,): no image of the ball is misclassified and not flagged.
        margin: float64 (n,): by how much, in units of the suspicion or, where that is more, of the logits; positive
            exactly where it holds.
        target: int64 (n,): the wrong class with the smallest margin.
        epsilon: radius.
        fpr: false-positive rate of the thresholds.
        norm: of the ball.
    """

    holds: Tensor
    margin: Tensor
    target: Tensor
    epsilon: float
    fpr: float
    norm: Norm = "linf"

    @property
    def rate(self) -> float:
        """Certified SR@FPR: the share of images for which the proof fails, which no attack can exceed."""
        return 1 - self.holds.double().mean().item()


@dataclass(frozen=True)
class OutputBounds:
    """Intervals of a detector's logits and suspicion, each (n, C), over a ball about each image."""

    logits: Interval
    suspicion: Interval


def certify(
    detector: CalibratedDetector,
    images: Array,
    labels: Array,
    epsilon: float,
    fpr: float = 0.05,
    *,
    norm: Norm = "linf",
    tighter: bool = True,
) -> Certificate:
    """Prove, image by image, that no attack within ε makes the detector misclassify without flagging.

    Args:
        detector: ours, under any label rule and score.
        images: floating (n, channels, H, W) in [0, 1], n at least 1.
        labels: true classes, whole numbers (n,).
        epsilon: radius, in units of the pixels' range, in L∞ at most 1; the ball is cut with [0, 1].
        fpr: false-positive rate whose thresholds decide what is flagged, in (0, 1).
        norm: of the ball: L∞, or L2 (l2), of which a first layer makes use if it is a convolution or dense.
        tighter: in L∞, try linear bounds where intervals nearly do, a tenth of a second for each such image of MNIST.

    Raises:
        Undecided: a detector of another kind.
        TwinlatentError: bad images or labels, a radius or rate that is none, or a rate that calibration cannot tell.

    Example:
        >>> import twinlatent as tl
        >>> split = tl.data.load("digits")
        >>> settings = tl.GameSettings(encoder="z(4,4)", decoder="d(64)", rounds=60, batch=16, learning_rate=0.02)
        >>> detector = tl.fit_split(split, settings=settings, progress=False)
        >>> found = tl.certify(detector, split.test.images[:50], split.test.labels[:50], epsilon=0.01)
        >>> bool((found.holds == (found.margin > 0)).all()), 0 < found.rate < 1
        (True, True)
    """
    return certify_rates(detector, images, labels, epsilon, (fpr,), norm=norm, tighter=tighter)[0]


@fresh_torch()
@torch.no_grad()
def certify_rates(
    detector: CalibratedDetector,
    images: Array,
    labels: Array,
    epsilon: float,
    fprs: Sequence[float],
    *,
    norm: Norm = "linf",
    tighter: bool = True,
) -> tuple[Certificate, ...]:
    """`certify` at each of several false-positive rates, which costs no more than one."""
    detector = bounded(detector)
    epsilon, fprs = ball_of(norm, epsilon).epsilon, [real("fpr", fpr) for fpr in fprs]
    thresholds = [detector.calibration.thresholds(fpr).double() for fpr in fprs]
    checked, of_class = _checked(detector, images, labels)
    encoders = in_float64(detector.encoders).cpu()
    off = PIXEL_ROUNDING * (1 if norm == "linf" else checked[0].numel() ** 0.5)
    found = [
        _proved(detector, encoders, ball_in(norm, some.double(), epsilon + off), own, thresholds, tighter)
        for some, own in zip(checked.split(CERTIFIED_AT_ONCE), of_class.split(CERTIFIED_AT_ONCE), strict=True)
    ]
    least = torch.cat(found, 1).min(2)  # (rates, n)
    return tuple(
        Certificate(margin > 0, margin, target, epsilon, fpr, norm)
        for margin, target, fpr in zip(least.values, least.indices, fprs, strict=True)
    )


def bounded(detector: object) -> Detector:
    """The detector, as one that has bounds.

    Raises:
        Undecided: no bound is known for such a detector.
    """
    if isinstance(detector, Detector):
        return detector
    called = detector.method if isinstance(detector, CalibratedDetector) else f"a {type(detector).__name__}"
    raise Undecided(f"no bound is known for {called}; give a detector that twinlatent trained")


def _checked(detector: Detector, images: Array, labels: Array) -> tuple[Tensor, Tensor]:
    """Images and labels as tensors on the CPU, the labels being classes of the detector."""
    given: object = labels
    if given is None:
        raise TwinlatentError("labels are None; give the true class of each image")
    checked, of_class = check_images(images, labels, shape=detector.image_shape, channels=None)
    if int(of_class.max()) >= detector.classes:
        raise TwinlatentError(f"label {int(of_class.max())} is none of the detector's; it has classes 0 to "
                              f"{detector.classes - 1}")  # fmt: skip
    return checked.detach().cpu(), of_class.cpu()


def _proved(
    detector: Detector,
    encoders: ClassEncoders,
    around: Interval,
    labels: Tensor,
    thresholds: Sequence[Tensor],
    tighter: bool,
) -> Tensor:
    """By how much each wrong class is out of reach of images of a ball, at each of several thresholds (rates, n, C)."""

    def margins(bounds: OutputBounds, labels: Tensor) -> Tensor:
        return torch.stack([_margins(bounds, labels, levels) for levels in thresholds])

    found = margins(bound_outputs(detector, bound_latents(encoders, around, FLOAT32)), labels)
    for steps in STEPS if tighter and not isinstance(around, RoundBall) else ():  # linear bounds know boxes alone
        least = found.amin(2)
        undecided = (least <= 0) & (least > -WITHIN)  # (rates, n)
        for some in undecided.any(0).nonzero()[:, 0].split(LINEAR_AT_ONCE):
            outputs = tighter_outputs(detector, linear_bounds(encoders, around[some], FLOAT32), steps)
            better = torch.maximum(found[:, some], margins(outputs, labels[some]))
            found[:, some] = torch.where(undecided[:, some, None], better, found[:, some])
    return found


def _margins(bounds: OutputBounds, labels: Tensor, thresholds: Tensor) -> Tensor:
    """By how much each wrong class is out of reach, (n, C); infinite for the right one."""
    flagged = bounds.suspicion.lower - thresholds
    (best, second), (first, _) = (part.split(1, 1) for part in bounds.logits.lower.topk(2))
    other = torch.where(torch.arange(len(thresholds)) == first, second, best)  # the most certain but for the class
    margins = torch.maximum(flagged, other - bounds.logits.upper)
    margins = margins.nan_to_num(-torch.inf, torch.inf, -torch.inf)  # NaN: there is no bound
    return margins.scatter(1, labels[:, None], torch.inf)


def bound_outputs(detector: Detector, latents: LatentBounds) -> OutputBounds:
    """What the detector's label rule and score make of bounds of latents, float64, with rounding of float32."""
    robust, vulnerable = (bound_log_density(means, FLOAT32) for means in (latents.robust, latents.vulnerable))
    ratio = Interval(robust.lower - vulnerable.upper, robust.upper - vulnerable.lower)
    return _outputs(detector, latents.robust, robust, vulnerable, ratio)


def tighter_outputs(detector: Detector, bounds: LinearBounds, steps: int) -> OutputBounds:
    """The same of linear bounds: those ends that make an image suspicious are tighter.

    Args:
        detector: whose encoders the bounds are of.
        bounds: over balls about n images.
        steps: see `linear_bounds.upper_bound`.
    """
    means = bounds.means
    robust, vulnerable = (bound_log_density(means, FLOAT32) for means in (means.robust, means.vulnerable))
    miss_r, miss_v = (density_rounding(means, FLOAT32) for means in (means.robust, means.vulnerable))
    constant_r, constant_v = (0.5 * LOG_2PI * means.lower.shape[-1] for means in (means.robust, means.vulnerable))
    ratio = Interval(robust.lower - vulnerable.upper, robust.upper - vulnerable.lower)
    if detector.settings.score == "ratio":
        above = upper_bound(bounds, 1, 1, steps) + constant_v - constant_r + miss_r + miss_v
        ratio = Interval(ratio.lower, torch.minimum(ratio.upper, above))
    else:
        above = upper_bound(bounds, 1, 0, steps) + constant_v + miss_v
        vulnerable = Interval(torch.maximum(vulnerable.lower, -above), vulnerable.upper)
    if detector.settings.score == "joint":
        above = upper_bound(bounds, 0, 1, steps) - constant_r + miss_r
        robust = Interval(robust.lower, torch.minimum(robust.upper, above))
    return _outputs(detector, means.robust, robust, vulnerable, ratio)


def _outputs(
    detector: Detector, means: Interval, robust: Interval, vulnerable: Interval, ratio: Interval
) -> OutputBounds:
    """Of intervals of μ_r (C, n, Z), of both log-densities and of their difference, (C, n)."""
    robust, vulnerable, ratio = _by_image(robust), _by_image(vulnerable), _widened(_by_image(ratio))
    settings = detector.settings
    logits = _logits(settings.label_rule, robust, ratio, means, detector.class_means.cpu().double())
    return OutputBounds(logits, _suspicion(settings.score, robust, vulnerable, ratio, detector.levels.cpu().double()))


def _by_image(of_classes: Interval) -> Interval:
    """(C, n) → (n, C)."""
    return Interval(of_classes.lower.T, of_classes.upper.T)


def _widened(interval: Interval) -> Interval:
    """By the rounding of float32 of one sum or difference."""
    slack = OF_SUMS * interval.magnitude
    return Interval(interval.lower - slack, interval.upper + slack)


def _logits(rule: LabelRule, robust: Interval, ratio: Interval, means: Interval, class_means: Tensor) -> Interval:
    match rule:
        case "density":
            return robust
        case "ratio":
            return ratio
        case "nearest_mean":
            distance = _by_image(squared_distance(means, class_means[:, None], FLOAT32))
            return Interval(-distance.upper, -distance.lower)


def _suspicion(score: Score, robust: Interval, vulnerable: Interval, ratio: Interval, levels: Tensor) -> Interval:
    match score:
        case "vulnerable":
            return vulnerable
        case "ratio":
            return Interval(-ratio.upper, -ratio.lower)
        case "joint":
            mean_r, std_r, mean_v, std_v = levels
            of_v = _standardised(vulnerable, mean_v, std_v)
            of_r = _standardised(Interval(-robust.upper, -robust.lower), -mean_r, std_r)
            return Interval(torch.maximum(of_v.lower, of_r.lower), torch.maximum(of_v.upper, of_r.upper))


def _standardised(values: Interval, mean: Tensor, spread: Tensor) -> Interval:
    """(values − mean) / spread, with the rounding of both."""
    slack = OF_SUMS * (values.magnitude + mean.abs()) / spread
    return Interval((values.lower - mean) / spread - slack, (values.upper - mean) / spread + slack)
