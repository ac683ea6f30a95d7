"""All checks of an evaluation, and the few attacks of their own that they need.

What is too much makes a check fail only where the 95 % interval says so, too; else it warns, as it does where an attack
is missing. docs/trusting_a_result.md has a paragraph for each.
"""

from collections.abc import Mapping

from torch import Tensor

from twinlatent.attacks.suite_runs import SuiteResult
from twinlatent.attacks.suites import ADAPTIVE, KINDS, PLAIN, STEPS
from twinlatent.data import LabelledImages
from twinlatent.errors import TwinlatentError
from twinlatent.evaluation.checks.attacks import Probe, more_effort, repeated, slopes, unbounded_attacks
from twinlatent.evaluation.checks.each import (
    check_adaptive,
    check_balance,
    check_blind,
    check_certificate,
    check_counts,
    check_determinism,
    check_effort,
    check_epsilon,
    check_gamma,
    check_gradients,
    check_iterative,
    check_mild_changes,
    check_threshold,
    check_unbounded,
    misclassified,
    mostly_dead,
    stuck,
    union,
)
from twinlatent.evaluation.metrics import Rate, rate
from twinlatent.evaluation.protocol import WhiteBoxSettings
from twinlatent.evaluation.results import UNCHANGED, Check
from twinlatent.method.calibrated import CalibratedDetector
from twinlatent.progress import bar

TRIED = 20
"""So many images the checks' own attacks take."""
NO_CERTIFICATE, NO_CHANGES = check_certificate(()), check_mild_changes({})


def run_checks(
    detector: CalibratedDetector,
    attacked: LabelledImages,
    result: SuiteResult,
    *,
    settings: WhiteBoxSettings,
    by_epsilon: Mapping[float, Tensor],
    benign: Tensor,
    certificate: Check = NO_CERTIFICATE,
    mild: Check = NO_CHANGES,
    seed: int,
    progress: bool = True,
) -> tuple[Check, ...]:
    """Check an evaluation, which takes up to 700 gradients of 20 images.

    Args:
        detector: that was attacked.
        attacked: the attacked images as they were, with their true labels.
        result: what the attacks did to them.
        settings: of those attacks.
        by_epsilon: L∞ radius → bool (n,), what MIM_W wins there, the same images throughout.
        benign: all benign test images, (m, channels, H, W), which the threshold is checked on.
        certificate: what `check_certificate` says of the attacks.
        mild: what `check_mild_changes` says of the detector.
        seed: of random starts.
        progress: whether to show a bar.

    Raises:
        TwinlatentError: the goal was not `undetected`, or attacks were run on some of the images only.
    """
    if settings.goal != "undetected" or settings.remaining_only or settings.unproved_only:
        raise TwinlatentError("checks need the goal undetected and every attack on every image; the goal is "
                              f"{settings.goal}, remaining_only {settings.remaining_only}, unproved_only "
                              f"{settings.unproved_only}")  # fmt: skip
    few, device = attacked.subset(slice(TRIED)), detector.device
    steps = settings.steps or STEPS[settings.suite]
    probe = Probe(detector, few.images.to(device), few.labels.to(device), detector.bounds(settings.fpr), settings.fpr,
                  settings.norm, settings.epsilon, steps, seed)  # fmt: skip
    hits = detector.detect(benign, settings.fpr).adversarial
    flagged = rate(int(hits.sum()), len(hits))
    return checks_of(probe, attacked.labels, result, by_epsilon=by_epsilon, flagged=flagged, certificate=certificate,
                     mild=mild, progress=progress)  # fmt: skip


def checks_of(
    probe: Probe,
    labels: Tensor,
    result: SuiteResult,
    *,
    by_epsilon: Mapping[float, Tensor],
    flagged: Rate,
    certificate: Check = NO_CERTIFICATE,
    mild: Check = NO_CHANGES,
    progress: bool = True,
) -> tuple[Check, ...]:
    """`run_checks` of anything that can be attacked.

    Args:
        probe: the model, and the first of the attacked images.
        labels: int64 (n,), true labels of all attacked images.
        result, by_epsilon, certificate, mild, progress: see `run_checks`.
        flagged: share of benign test images that are flagged at the threshold.
    """
    n, unchanged = len(labels), result.by_attack.get(UNCHANGED)
    already = union([] if unchanged is None else [unchanged.wins.cpu()], n)
    tried = {name: part for name, part in result.by_attack.items() if name != UNCHANGED}
    found = {name: part.result for name, part in tried.items()}
    wins = {name: part.wins.cpu() & ~already for name, part in tried.items()}
    plain, adaptive = (
        {name: w for name, w in wins.items() if KINDS.get(name, ADAPTIVE) == kind} for kind in (PLAIN, ADAPTIVE)
    )
    lost, guided = ~union([already, *wins.values()], n), plain | adaptive
    counts = {name: int(part.tried.sum()) for name, part in tried.items()}
    counts |= {f"mim_w at {epsilon:g}": len(won) for epsilon, won in by_epsilon.items()}
    with bar("checks", 3, show=progress) as shown:
        terms = slopes(probe)
        shown.advance()
        unbounded = check_unbounded(*unbounded_attacks(probe))
        shown.advance()
        effort = check_effort(*more_effort(probe, lost[: len(probe.labels)]))
        shown.advance()
    return (
        check_gradients(terms, {name: mostly_dead(found[name], tried[name].wins) for name in guided}, list(adaptive)),
        check_balance(terms["Margin"], terms["Suspicion"]),
        check_gamma({name: stuck(part) for name, part in found.items()}, lost, misclassified(found.values(), labels)),
        check_adaptive(plain, adaptive),
        check_iterative(guided),
        check_blind({name: won for name, won in wins.items() if name not in guided}, guided),
        check_epsilon(by_epsilon),
        unbounded,
        effort,
        check_determinism(*repeated(probe)),
        check_threshold(flagged, probe.fpr),
        check_counts(counts | {"benign": flagged.n}),
        certificate,
        mild,
    )
