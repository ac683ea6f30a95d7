"""What the command line prints of an evaluation: tables and lines, made of what the library returned."""

from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.table import Table

from twinlatent.evaluation.protocol import WhiteBoxSettings
from twinlatent.evaluation.results import (
    ACCURACY_SHIFT,
    CERTIFIED,
    FLAGGED_SHIFT,
    MILD,
    UNCHANGED,
    WORST,
    Check,
    Record,
    Report,
)
from twinlatent.evaluation.shift import CHANGES, STRENGTHS, shift_name
from twinlatent.evaluation.white_box import CW, Certified, WhiteBoxRun
from twinlatent.report.paper import PAPER_SCORES, paper_value
from twinlatent.report.select import (
    BENIGN_C3,
    find,
    main_white_box,
    misclassified_only,
    overall,
    percentage,
    substitutes,
)
from twinlatent.terminal import show

DEAD_STEPS = 0.01
"""Above this share of steps without a gradient an attack is called out."""
MOTIVATION = {
    "test_xb_accuracy": "X_b",
    "test_xv_accuracy": "X_v",
    "control_relabelled_accuracy": "relabelled",
    "control_noise_accuracy": "noise",
    "control_unattacked_accuracy": "unattacked",
    "attack_success": "fooled",
}
"""Columns of Table 1."""


def print_attacks(run: WhiteBoxRun, settings: WhiteBoxSettings) -> None:
    """Print a row an attack, and the worst."""
    passed = f"misclassified and not flagged at {100 * settings.fpr:g} %"
    goals = {"undetected": passed, "c1c2": "misclassified, C1 and C2", "misclassified": "misclassified"}
    print(f"Success: {goals[settings.goal]}; {settings.norm} radius {settings.epsilon:g}; 95 % intervals")
    table = _table("attack", "success", "95 %", "misclassified", "steps", "γ stuck", "s", "n")
    for record in run.records:
        shown = [record.attack, f"{record.value:.3f}", f"{record.low:.2f}–{record.high:.2f}"]
        shown += _details(run, record.attack) if record.attack != WORST else [""] * 4
        table.add_row(*shown, str(record.n), style="bold" if record.attack == WORST else None)
    show(table)
    if settings.unproved_only:
        left = int(run.result.by_attack[UNCHANGED].tried.sum())  # the first of every suite
        print(f"Attacked: {left} of {len(run.benign)} images; of the others it is proved that no attack can win")
    for name, tried in run.result.by_attack.items():
        dead, steps = int(tried.result.dead_steps.sum()), int(tried.result.steps.sum())
        if dead > DEAD_STEPS * steps:
            print(f"{name}: {dead} of {steps} steps had no gradient; do not trust it")


def _details(run: WhiteBoxRun, attack: str) -> list[str]:
    """Cells of an attack: share misclassified, mean steps, share of stuck searches, seconds."""
    tried = run.result.by_attack[attack]
    rows, found = tried.tried.cpu(), tried.result
    misclassified = (found.labels.cpu() != run.benign.labels)[rows].double().mean().item()
    gamma = f"{found.gamma_stuck.cpu()[rows].double().mean().item():.2f}" if found.gamma.isfinite().any() else ""
    return [
        f"{misclassified:.3f}",
        f"{found.steps.cpu()[rows].double().mean().item():.0f}",
        gamma,
        f"{tried.seconds:.0f}",
    ]


def print_certified(found: Certified, part: str) -> None:
    """Print what the detector says of the images as they are, and a row a radius and rate with what is proved."""
    flagged = ", ".join(f"{share.value:.4f} where {fpr:g} was asked for" for fpr, share in found.flagged.items())
    accuracy = found.accuracy
    print(f"Benign {part} images: accuracy {accuracy.value:.4f}, flagged {flagged}, n = {accuracy.n}")
    _print_proved([r for r in found.records if r.metric == CERTIFIED])


def print_run(run: Report) -> None:
    """Print benign numbers, the black box, and where there is one the white box with its checks."""
    own = run.model.score
    outside = [r for r in overall(run.records) if not misclassified_only(r)]
    by: dict[tuple[str, str, str | None], Record] = {(r.metric, r.attack, r.score): r for r in outside}
    accuracy, flagged = by.get(("accuracy", "none", None)), [r for r in outside if (r.metric, r.score) == ("fpr", own)]
    asked = ", ".join(f"{r.value:.4f} where {r.asked or run.model.fpr:.4g} was asked for" for r in flagged)
    if accuracy:
        print(f"Benign test images: accuracy {accuracy.value:.4f}, flagged {asked}, n = {accuracy.n}")
    print("Black box: AUC under each score (* the detector's own), and the share of attacked images flagged at k %:")
    scores = list(dict.fromkeys(r.score for r in run.records if r.metric == "auc"))
    rates = [metric for metric in ("tpr@1", "tpr@5", "tpr@10") if any(r.metric == metric for r in run.records)]
    areas = [f"{score}{'*' if score == own else ''}" for score in scores]
    table = _table("attack", "ε", "fooled", *areas, *(f"{rate[4:]} %" for rate in rates), "n")
    for attack in run.suspicion:
        row = [by.get(("attack_success", attack, None)), *(by.get(("auc", attack, score)) for score in scores)]
        row += [by.get((rate, attack, own)) for rate in rates]
        first = next((record for record in row if record), None)
        shown = (f"{record.value:.3f}" if record else "" for record in row)
        table.add_row(attack, _radius(first), *shown, str(first.n) if first else "")
    show(table)
    _print_substitutes(run)
    _print_shift(run)
    _print_white_box(run)


def _print_substitutes(run: Report) -> None:
    """Where there are several: the AUC of the detector's own score on each of them, of which the mean was printed."""
    names = substitutes(run.records)
    if len(names) < 2:
        return
    print("Means over substitutes; AUC of the detector's own score on each:")
    found = [r for r in run.records if (r.metric, r.score) == ("auc", run.model.score) and not misclassified_only(r)]
    table = _table("attack", *names)
    for attack in run.suspicion:
        areas = (find(found, attack=attack, substitute=name) for name in names)
        table.add_row(attack, *(f"{area.value:.3f}" if area else "" for area in areas))
    show(table)


def _print_shift(run: Report) -> None:
    """A row a mild change: share flagged at the detector's rate, and accuracy, at each strength."""
    found = [r for r in run.records if r.budget == MILD and r.asked in (None, run.model.fpr)]
    if not found:
        return
    print(f"Mild changes of benign images, at strengths {', '.join(map(str, STRENGTHS))}: flagged where "
          f"{run.model.fpr:.4g} was asked for, and accuracy:")  # fmt: skip
    table = _table("change", "flagged", "accuracy", "n")
    named = {UNCHANGED: [UNCHANGED], **{change: [shift_name(change, s) for s in STRENGTHS] for change in CHANGES}}
    for name, attacks in named.items():
        flagged, right = (
            [r for attack in attacks if (r := find(found, metric=metric, attack=attack))]
            for metric in (FLAGGED_SHIFT, ACCURACY_SHIFT)
        )
        shown = (" ".join(f"{r.value:.3f}" for r in cells) for cells in (flagged, right))
        table.add_row(name, *shown, str(right[0].n) if right else "")
    show(table)


def _print_white_box(run: Report) -> None:
    """The worst of the suite at each radius and rate, C1 and C2, and the checks."""
    worst = [r for r in run.records if r.attack == WORST and r.metric.startswith("sr@")]
    if worst:
        print("White box: misclassified and not flagged at k % false positives, by the worst attack of the suite:")
        rates = sorted({r.metric for r in worst}, key=percentage)
        table = _table("score", "ε", *(f"{rate[3:]} %" for rate in rates), "n")
        for score, epsilon in dict.fromkeys((r.score, r.epsilon) for r in worst):
            found = {r.metric: r for r in worst if (r.score, r.epsilon) == (score, epsilon)}
            cells = [f"{found[rate].value:.3f}" if rate in found else "" for rate in rates]
            counts = " ".join(str(found[rate].n) for rate in rates if rate in found)
            table.add_row(score, f"{epsilon:g}", *cells, counts)
        show(table)
    _print_proved([r for r in run.records if r.metric == CERTIFIED])
    _print_conditions(run)
    print_checks(run.checks)


def _reach(record: Record) -> str:
    """The radius of a certificate: in L∞, or in L2 as the budget says it."""
    return _radius(record) if record.epsilon is not None else f"L2 {record.budget.rpartition(' ')[2]}"


def _print_proved(found: Sequence[Record]) -> None:
    """A row a radius with what no attack can exceed; a line where nothing is proved of any image."""
    if found and all(r.value == 1 for r in found):
        print("Nothing is proved: the detector was not trained with bounds, or the radius is too large; attack it")
        if found[0].epsilon is None:
            print("In L2 little is ever proved of encoders that begin with ramps")
    if all(r.value == 1 for r in found):
        return
    print("Proved: at most this share of the images can be misclassified and not flagged at k % false positives by any "
          "attack within ε [95 %]:")  # fmt: skip
    rates = sorted({r.asked or 0 for r in found})
    table = _table("score", "ε", *(f"{100 * rate:g} %" for rate in rates), "n")
    for score, radius, n in sorted({(r.score or "", _reach(r), r.n) for r in found}):
        same = {r.asked: r for r in found if (r.score, _reach(r), r.n) == (score, radius, n)}
        cells = (f"{r.value:.4f} [{r.low:.4f}, {r.high:.4f}]" if (r := same.get(rate)) else "" for rate in rates)
        table.add_row(score, radius, *cells, str(n))
    show(table)


def _print_conditions(run: Report) -> None:
    """Success by C1 and C2, divided by what the judges see, and how many benign images meet C3."""
    conditions = [r for r in run.records if r.metric == "sr_c1c2"]
    if not conditions:
        return
    print("Misclassified, C1 and C2; of these: the judges see the true class (C3), agree on another, differ:")
    table = _table("attack", "ε", "C1 C2", "C1 C2 C3", "another", "differ", "n")
    judged = {(s.attack, s.epsilon): s for s in (run.judges.attacks if run.judges else ()) if s.goal == "c1c2"}
    for r in conditions:
        third = find(run.records, metric="sr_c1c2c3", attack=r.attack, epsilon=r.epsilon)
        seen = judged.get((r.attack, r.epsilon))
        counts = (seen.shows_predicted + seen.neither, seen.disagree) if seen else ()
        cells = [f"{third.value:.3f}" if third else "", *([f"{count / r.n:.3f}" for count in counts] or ["", ""])]
        table.add_row(r.attack, _radius(r), f"{r.value:.3f}", *cells, str(r.n))
    show(table)
    _print_ceiling(run)


def _print_ceiling(run: Report) -> None:
    met = find(run.records, metric=BENIGN_C3)
    if met is not None:
        print(f"C3 alone is met by {met.value:.3f} [{met.low:.2f}, {met.high:.2f}] of {met.n} benign images, since an "
              "image on which the judges differ counts as no longer showing its class: with C3 a rate can be at most "
              "about that")  # fmt: skip
    elif find(run.records, metric="sr_c1c2c3"):
        print("How many benign images meet C3 was not measured: with C3 a rate can be at most about that")


def print_checks(checks: Sequence[Check]) -> None:
    """A line a check, the failed ones first."""
    for status in ("fail", "warn", "pass", "skip"):
        for check in checks:
            if check.status == status:
                print(f"{status:4}  {check.name}: {check.finding}")


def _table(*columns: str) -> Table:
    return Table(*columns, box=SIMPLE_HEAD, padding=(0, 1))


def _radius(record: Record | None) -> str:
    return "" if record is None or record.epsilon is None else f"{record.epsilon:g}"


def print_comparison(data: str, runs: Sequence[Report]) -> None:
    """A row a detector: the headline of each table, the paper's number in brackets."""
    print(f"{data}: accuracy; AUC in the black box under each paper's score; misclassified and not flagged at 5 % "
          "by the worst attack; CW-L2_W; in brackets the paper's")  # fmt: skip
    attacks = list(dict.fromkeys(name for run in runs for name in run.suspicion))
    table = _table("detector", "accuracy", *(f"AUC {name}" for name in attacks), "SR@5 worst", "CW C1 C2", "CW size")
    for run in runs:
        first = _published(run)
        main = main_white_box(run.records, run.model.score)
        areas = [find(first, metric="auc", attack=name) for name in attacks]
        shown = [find(run.records, metric="accuracy"), *areas]
        shown += [main.headline if main else None, find(run.records, metric="sr_c1c2", attack=CW)]
        shown += [find(run.records, metric="l2_rms255", attack=CW)]
        table.add_row(f"{run.model.method}, {run.model.trained_with}", *map(_beside_paper, shown))
    show(table)


def _published(run: Report) -> list[Record]:
    """Black-box records under the score that its paper has, over all attacked images."""
    own = PAPER_SCORES.get(run.model.method, run.model.score)
    return [r for r in overall(run.records) if r.score == own and not misclassified_only(r)]


def _beside_paper(record: Record | None) -> str:
    if record is None:
        return ""
    value, published = f"{record.value:.3f}" if record.value < 1.5 else f"{record.value:.1f}", paper_value(record)
    return value if published is None else f"{value} ({published:g})"


def print_motivation(records: Sequence[Record]) -> None:
    """A row a cell of Table 1: F_v's accuracies, the paper's in brackets, and below what they rest on."""
    print("F_v, trained on X_v alone: accuracy on benign test images and on X_v of test images (the paper's); on "
          "benign ones the same network trained otherwise; how often the attack fooled F_p")  # fmt: skip
    table, lines = _table("data", "attack", *MOTIVATION.values()), []
    for data, attack in dict.fromkeys((r.data, r.attack) for r in records):
        own = [r for r in records if (r.data, r.attack) == (data, attack)]
        table.add_row(data, attack, *(_beside_paper(find(own, metric=metric)) for metric in MOTIVATION))
        fooled = find(own, metric="attack_success")
        if fooled:
            added = round(fooled.value * fooled.n)
            spent = fooled.budget.removeprefix("section3, ")
            lines.append(f"{data}, {attack}: {spent}: {added} added to X_v, {fooled.n - added} did not fool F_p")
    show(table)
    for line in lines:
        print(line)
