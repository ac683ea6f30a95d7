"""Checks of an evaluation by itself: whether the success rates of its attacks can be believed.

Each check is a function from what was counted to a `Check`; docs/trusting_a_result.md has a paragraph for each.
`run_checks` gathers them, and runs a few attacks of its own for those that need one. What is too much makes a check
fail only where the 95 % interval says so, too; else it warns, as it does where an attack is missing.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence

import torch
from torch import Tensor

from twinlatent.attacks.results import AttackResult
from twinlatent.evaluation.checks.attacks import RESTARTS, Slope
from twinlatent.evaluation.metrics import Rate, rate
from twinlatent.evaluation.results import Check, Status
from twinlatent.outputs import Outputs

NAMES = ("gradients", "gradient-balance", "gamma", "adaptive", "iterative", "blind", "epsilon", "unbounded", "effort",
         "determinism", "threshold", "counts", "certificate", "mild-changes")  # fmt: skip
"""Every check, in the order of `run_checks`."""
TRIED = 20
"""So many images the checks' own attacks take."""
TOLERANCE, SLIGHT = 0.05, 0.01
"""Shares of images: so many may be otherwise than they should before a check fails; so few are overlooked."""
BALANCED, DROWNED = 1e2, 1e4
"""One term's gradient may be so many times longer, as far as a search for γ from 1 goes; so many times is too much."""
CLOSE, APART = 1e-4, 1e-2
"""Relative difference that rounding makes between an image alone and in a batch; what rounding cannot make."""
ENOUGH, FEW = 100, 20
"""Images behind a rate: enough; too few to say anything."""
FAR_MORE = 3
"""Times as often as asked: mildly changed benign images may be flagged so often."""
WITHOUT_GRADIENTS = ("noise", "transfer", "square")
ORDER: tuple[Status, ...] = ("skip", "pass", "warn", "fail")


# --- gradients ----------------------------------------------------------------------------------------------------


def mostly_dead(result: AttackResult, won: Tensor) -> Tensor:
    """Images that were not won, with no gradient in more than half of the steps, bool (n,).

    Where an attack won, an earlier γ may have had none: of two classes margin and confidence cancel out at γ = 1.
    """
    return ((2 * result.dead_steps > result.steps) & ~won).cpu()


def check_gradients(terms: Mapping[str, Slope], dead: Mapping[str, Tensor], knowing: Collection[str] = ()) -> Check:
    """No term's gradient is zero, NaN or vanishing, and no attack goes most of its way without one.

    A gradient vanishes where a way across the whole box would not change the value by more than its rounding. Attacks
    without one are a warning, and no failure, where an attack that knows the detector had gradients.

    Args:
        terms: name → its slope at the images.
        dead: attack with gradients → bool (m,), images for which most steps had none.
        knowing: those among these attacks that know the detector.
    """
    said, statuses = [], list[Status]()
    for name, slope in terms.items():
        reach, resolution = slope.gradient.abs().sum(1), torch.finfo(slope.value.dtype).eps * slope.value.abs()
        zero, no_number = reach == 0, ~(reach.isfinite() & slope.value.isfinite())
        bad = no_number | (reach <= resolution)
        statuses.append(_by_share(_rate(bad | zero), 0.0, TOLERANCE))
        kinds = (zero, no_number, bad & ~zero & ~no_number)
        said.append("{} {}, {} and {} of {}".format(name, *(int(kind.sum()) for kind in kinds), len(reach)))
    idle, status = _idle(dead, [name for name in dead if name in knowing])
    return _check("gradients", worst(status, *statuses),
                  f"Gradients that are zero, NaN, vanishing: {'; '.join(said)}; {idle}")  # fmt: skip


def _idle(dead: Mapping[str, Tensor], knowing: Sequence[str]) -> tuple[str, Status]:
    """What is to be said of attacks without gradients in most of their steps, and how bad it is."""
    if not dead:
        return "no attack followed them", "warn"
    most = max(dead, key=lambda name: int(dead[name].sum()))
    said = f"without one in most steps: {most} for {_say(dead[most])}"
    status = worst(*(_by_share(_rate(images), SLIGHT, TOLERANCE) for images in dead.values()))
    if status != "fail" or not knowing:
        return said, status
    least = min(knowing, key=lambda name: int(dead[name].sum()))
    followed = _by_share(_rate(dead[least]), SLIGHT, TOLERANCE) == "pass"
    fewest = f"{least}, of those that know the detector the one with the fewest, for {int(dead[least].sum())}"
    return f"{said}; {fewest}", "warn" if followed else "fail"


def check_balance(classify: Slope, evade: Slope) -> Check:
    """The gradients of what makes an image misclassified, and of what gets it flagged, are of comparable length."""
    ratio = float((evade.gradient.norm(dim=1) / classify.gradient.norm(dim=1)).nanmedian())
    apart = max(ratio, 1 / ratio) if 0 < ratio < torch.inf else torch.inf
    status: Status = "pass" if apart <= BALANCED else "warn" if apart <= DROWNED else "fail"
    said = f"The suspicion's gradient is {ratio:.3g} times as long as the margin's (median of n={len(evade.value)})"
    return _check("gradient-balance", status, f"{said}; γ makes up for {1 / BALANCED:g} to {BALANCED:g}")


def stuck(result: AttackResult) -> Tensor | None:
    """Where an attack's search for γ ended at an end of its range, bool (n,); None where it searched none."""
    return None if bool(result.gamma.isnan().all()) else result.gamma_stuck.cpu()


def misclassified(results: Iterable[AttackResult], labels: Tensor) -> Tensor:
    """Images that some attack left misclassified, flagged or not, bool (n,)."""
    tried = [result.labels.cpu() for result in results]  # below 0 where it was not run
    return union([(found != labels.cpu()) & (found >= 0) for found in tried], len(labels))


def check_gamma(stuck: Mapping[str, Tensor | None], lost: Tensor, misclassified: Tensor) -> Check:
    """Not every search for γ is stuck on images that can be misclassified and that no attack won.

    Args:
        stuck: attack → bool (n,), where its search ended at an end of its range; None: it searched none.
        lost: bool (n,), images that no attack of the suite won.
        misclassified: bool (n,), images that some attack made the model misclassify.
    """
    searches = {name: found for name, found in stuck.items() if found is not None}
    if not searches:
        return _check("gamma", "warn", "No attack searched γ")
    bad = torch.stack([*searches.values(), lost, misclassified]).all(0)
    said = f"Images that can be misclassified, that no attack won and where γ was stuck in {' and '.join(searches)}"
    return _check("gamma", _by_share(_rate(bad), TOLERANCE, 0.5), f"{said}: {_say(bad)}")


# --- attacks against each other: name → bool (n,), the images that it won --------------------------------------------


def check_adaptive(plain: Mapping[str, Tensor], adaptive: Mapping[str, Tensor]) -> Check:
    """Attacks that know the detector win at least as many images as those that know the classifier alone."""
    return _at_least("adaptive", ("attacks that know the detector", adaptive), ("those that do not", plain))


def check_iterative(wins: Mapping[str, Tensor]) -> Check:
    """Of attacks with gradients, iterative ones win at least as many images as one-step ones."""
    one = {name: won for name, won in wins.items() if name.startswith("fgsm")}
    many = {name: won for name, won in wins.items() if name not in one}
    return _at_least("iterative", ("iterative attacks", many), ("one-step ones", one))


def check_blind(blind: Mapping[str, Tensor], guided: Mapping[str, Tensor]) -> Check:
    """Noise, transfer and Square (`blind`) win no image that no attack with gradients (`guided`) won."""
    if not blind or not guided:
        return _check("blind", "warn", f"No attack {'with' if blind else 'without'} gradients was run")
    n = len(next(iter(blind.values())))
    alone = {name: won & ~union(guided.values(), n) for name, won in blind.items()}
    found, missing = union(alone.values(), n), [name for name in WITHOUT_GRADIENTS if name not in blind]
    status = worst(_by_share(_rate(found), SLIGHT, TOLERANCE), "warn" if missing else "pass")
    by = ", ".join(f"{name} {int(won.sum())}" for name, won in alone.items())
    return _check("blind", status, f"Won by no attack with gradients but without: {_say(found)}, by {by}"
                                   f"{'; not run: ' if missing else ''}{', '.join(missing)}")  # fmt: skip


def check_epsilon(by_epsilon: Mapping[float, Tensor]) -> Check:
    """One attack wins no fewer images in a larger ball, and in the largest more than in the smallest, or all."""
    if len(by_epsilon) < 2:
        return _check("epsilon", "warn", f"Success was measured at {len(by_epsilon)} radii, which is no curve")
    curve = {radius: by_epsilon[radius].cpu() for radius in sorted(by_epsilon)}
    first, *_, last = curve.values()
    rises, best, statuses = bool(last.all()) or int(last.sum()) > int(first.sum()), first, list[Status]()
    for won in curve.values():
        statuses.append(_no_fewer(won, best))
        best = max(best, won, key=lambda one: int(one.sum()))
    said = ", ".join(f"{int(won.sum())} at {radius:g}" for radius, won in curve.items())
    return _check("epsilon", worst(*statuses, "pass" if rises else "warn"), f"Of n={len(first)} MIM_W wins {said}")


# --- the checks' own attacks --------------------------------------------------------------------------------------


def check_unbounded(misclassified: Tensor, passed: Tensor) -> Check:
    """With no bound on the change every image can be misclassified; how many of them pass the detector is said, too."""
    said = f"In the whole box {_say(misclassified)} are misclassified, and {_say(passed)} misclassified and not flagged"
    return _check("unbounded", _by_share(_rate(~misclassified), 0, TOLERANCE), said)


def check_effort(lost: Tensor, doubled: Tensor, restarted: Tensor) -> Check:
    """Twice the steps and random restarts win hardly any image that the suite lost; each bool (n,)."""
    gained = lost & (doubled | restarted)
    said = f"{int(doubled.sum())} with twice the steps, {int(restarted.sum())} with {RESTARTS} restarts"
    return _check("effort", _by_share(_rate(gained), TOLERANCE, TOLERANCE),
                  f"The suite lost {_say(lost)}; more effort wins {_say(gained)} of all, {said}")  # fmt: skip


# --- answers, threshold, counts -----------------------------------------------------------------------------------


def check_determinism(first: Outputs, second: Outputs, alone: Outputs) -> Check:
    """Answers are the same bit for bit when asked again, and up to rounding for an image `alone`."""
    one, two, single = (torch.cat([a.logits, a.suspicion], 1) for a in (first, second, alone))
    other = (one != two).any(1)  # true of NaN, too
    apart = float(((one - single).abs() / (1 + one.abs())).max())
    alike: Status = "pass" if apart <= CLOSE else "warn" if apart <= APART else "fail"
    said = f"{int(other.sum())} of n={len(other)} images otherwise; alone and in a batch, answers differ by {apart:.1g}"
    return _check("determinism", "fail" if bool(other.any()) else alike, f"Asked twice, it answers {said}, relatively")


def check_threshold(flagged: Rate, fpr: float) -> Check:
    """As many benign images, on which no threshold was fixed, are flagged as were promised: `fpr`, or near it."""
    near = flagged.low <= 1.25 * fpr and flagged.high >= fpr / 1.25
    status: Status = "pass" if near else "fail" if flagged.low > 1.5 * fpr else "warn"
    said = f"{100 * flagged.value:.2f} % [{100 * flagged.low:.2f}, {100 * flagged.high:.2f}] of n={flagged.n}"
    return _check("threshold", status, f"The threshold fixed beforehand for {100 * fpr:g} % flags {said} benign images "
                                       "of a third split")  # fmt: skip


def check_counts(counts: Mapping[str, int]) -> Check:
    """Every rate has enough images behind it; `counts` is what was measured → on how many."""
    least, most = min(counts, key=lambda name: counts[name]), max(counts.values())
    n = counts[least]
    wide = rate(n // 2, n) if n else Rate(0.0, 0, 0.0, 1.0)
    said = f"the least, {least}, has an interval of up to {100 * (wide.high - wide.low):.0f} points"
    return _check("counts", "pass" if n >= ENOUGH else "warn" if n >= FEW else "fail",
                  f"{len(counts)} rates rest on n={n} to n={most} images; {said}")  # fmt: skip


# --- attacks against proofs ---------------------------------------------------------------------------------------


def check_certificate(
    settled: Sequence[tuple[Tensor, Tensor]], beyond: tuple[Rate, Rate] | None = None, undecided: str = ""
) -> Check:
    """No attack won an image of which it is proved that none can; so the floor is not above the ceiling.

    Args:
        settled: at each point bool (n,) twice: the images that an attack won, and those for which none can win.
        beyond: success at the main point, and the ceiling there on more images; None if it was not measured.
        undecided: why nothing is proved, where nothing is.
    """
    if not settled:
        return _check("certificate", "skip", undecided[:1].upper() + undecided[1:] or "No certificate was made")
    won, holds = (torch.cat([point[number].cpu() for point in settled]) for number in (0, 1))
    both = won & holds
    said = (f"Over {len(settled)} points attacks win {int(won.sum())} of n={len(won)} images, and it is proved for "
            f"{int(holds.sum())} that none can; {int(both.sum())} are both")  # fmt: skip
    above = beyond is not None and beyond[0].low > beyond[1].high
    if beyond is not None:
        (floor, ceiling), sign = beyond, ">" if above else "≤"
        said += f"; attacked {_share(floor)} {sign} proved {_share(ceiling)}"
    status: Status = "fail" if bool(both.any()) or above else "pass" if bool(holds.any()) else "skip"
    return _check("certificate", status, said)


# --- honest images ------------------------------------------------------------------------------------------------


def check_mild_changes(flagged: Mapping[str, Rate], fpr: float = 0.05) -> Check:
    """Benign images that are mildly changed are flagged no more than `FAR_MORE` times as often as asked; else it warns.

    So it does where the whole interval of a change is above that. It fails never: what it finds is of the detector, and
    the other numbers may be believed.

    Args:
        flagged: change → share of images that are flagged after it, at its mildest.
        fpr: that was asked.
    """
    if not flagged:
        return _check("mild-changes", "skip", "No mild changes were measured")
    limit, most = FAR_MORE * fpr, max(flagged, key=lambda name: flagged[name].value)
    often = [name for name, share in flagged.items() if share.low > limit]
    after = f"{len(often)} of {len(flagged)} mild changes" + f" ({', '.join(often)})" * bool(often)
    return _check("mild-changes", "warn" if often else "pass",
                  f"Where {fpr:g} was asked for, clearly more than {limit:.2g} of the benign images are flagged after "
                  f"{after}; most after {most}: {_share(flagged[most])}")  # fmt: skip


# --- helpers ------------------------------------------------------------------------------------------------------


def worst(*statuses: Status) -> Status:
    """The worst of several."""
    return max(statuses, key=ORDER.index)


def union(wins: Iterable[Tensor], n: int) -> Tensor:
    """Images that are in any of several, bool (n,)."""
    return torch.stack([torch.zeros(n, dtype=torch.bool), *wins]).any(0)


def _at_least(name: str, strong: tuple[str, Mapping[str, Tensor]], weak: tuple[str, Mapping[str, Tensor]]) -> Check:
    """A check that the first win at least as many images as the second."""
    for called, wins in (strong, weak):
        if not wins:
            return _check(name, "warn", f"There is nothing to compare: {called} were not run")
    n = len(next(iter(weak[1].values())))
    more, less = (union(wins.values(), n) for _, wins in (strong, weak))
    said = f"{strong[0]} win {int(more.sum())}, {weak[0]} {int(less.sum())}, {int((less & ~more).sum())} of them alone"
    return _check(name, _no_fewer(more, less), f"Of n={n} images {said}")


def _no_fewer(more: Tensor, less: Tensor) -> Status:
    """Whether `more` are as many of the same images as `less`; a failure where even odds can be excluded."""
    gained, missed = int((more & ~less).sum()), int((less & ~more).sum())
    return "pass" if gained >= missed else "fail" if rate(missed, gained + missed).low > 0.5 else "warn"


def _by_share(share: Rate, tolerated: float, limit: float) -> Status:
    """It passes up to what is tolerated, and fails where the interval lies above the limit."""
    return "pass" if share.value <= tolerated else "fail" if share.low > limit else "warn"


def _rate(images: Tensor) -> Rate:
    return rate(int(images.sum()), len(images))


def _share(share: Rate) -> str:
    """Such as `0.050 of n=200 [0.028, 0.090]`."""
    return f"{share.value:.3f} of n={share.n} [{share.low:.3f}, {share.high:.3f}]"


def _say(images: Tensor) -> str:
    """Such as `3 of n=20 [5, 36] %`."""
    found = _rate(images)
    return f"{int(images.sum())} of n={found.n} [{100 * found.low:.1f}, {100 * found.high:.1f}] %"


def _check(name: str, status: Status, finding: str) -> Check:
    return Check(name=name, status=status, finding=f"{finding}.")
