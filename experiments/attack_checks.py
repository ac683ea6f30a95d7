"""Are the attacks on a detector strong enough to be believed? What must hold of them, measured.

At every ε the standard suite attacks the same test images: attacks with gradients of the detector must succeed at least
as often as those with less, and success must not fall when ε or the number of steps rises. At ε = 1, where every image
can be made of every other, every image must be misread.

    python experiments/attack_checks.py mnist-mim --images 200 --out results/mnist-mim-adaptive.json

`none` is the share of benign images that count without any attack. It takes about 45 minutes on one thread and ends
with status 1 if one of these fails.
"""

import argparse
import sys
from pathlib import Path

import torch

import twinlatent as tl
from twinlatent.attacks.suites import ADAPTIVE, KINDS
from twinlatent.evaluation.blackbox import train_substitute
from twinlatent.evaluation.records import Record, write_records
from twinlatent.evaluation.split_of import split_of
from twinlatent.evaluation.whitebox import WORST, WhiteBoxRun, WhiteBoxSettings, attack_detector


def share(run: WhiteBoxRun, adaptive: bool) -> float:
    """Images won by any attack with gradients of classifier and detector; or by any that has less."""
    of_kind = [wins for name, wins in run.wins.items() if name != WORST and (KINDS[name] == ADAPTIVE) == adaptive]
    return torch.stack(of_kind).any(0).double().mean().item()


def main() -> int:
    """Measure, print, write, judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--epsilon", type=float, nargs="+", default=[0.1, 0.2, 0.3])
    parser.add_argument("--steps", type=int, nargs="+", default=[10, 30, 100, 300], help="at the largest ε")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    detector = tl.load(options.model)
    split = split_of(detector)
    base, substitute = WhiteBoxSettings(images=options.images), train_substitute(split)
    records: list[Record] = []
    failures: list[str] = []

    def measure(**changes: object) -> WhiteBoxRun:
        settings = WhiteBoxSettings(**base.model_dump() | changes)
        run = attack_detector(detector, split, settings, substitute=substitute)
        records.extend(run.records)
        return run

    def must(holds: bool, what: str) -> None:
        print(f"{'holds' if holds else 'FAILS'}: {what}", flush=True)
        if not holds:
            failures.append(what)

    def must_not_fall(values: list[float], what: str) -> None:
        must(values == sorted(values), f"{what}: {', '.join(f'{value:.3f}' for value in values)}")

    worst, adaptive = [], []
    for epsilon in sorted(options.epsilon):
        run = measure(epsilon=epsilon)
        worst.append(run.wins[WORST].double().mean().item())
        adaptive.append(share(run, True))
        less = share(run, False)
        must(adaptive[-1] >= less, f"ε {epsilon:g}: adaptive attacks {adaptive[-1]:.3f}, those with less {less:.3f}")
    must_not_fall(adaptive, f"adaptive attacks over ε {sorted(options.epsilon)}")
    must_not_fall(worst, f"worst of the suite over ε {sorted(options.epsilon)}")
    largest = max(options.epsilon)
    by_steps = [measure(suite="quick", epsilon=largest, steps=steps) for steps in sorted(options.steps)]
    for name in ("mim_w", "selective", WORST):
        values = [run.wins[name].double().mean().item() for run in by_steps]
        must_not_fall(values, f"{name} at ε {largest:g} over {sorted(options.steps)} steps")
    unbounded = measure(suite="quick", epsilon=1.0, goal="misclassified").wins
    for name in ("pgd", WORST):
        must(bool(unbounded[name].all()), f"ε 1: {name} makes {unbounded[name].double().mean():.3f} misread")
    write_records(options.out, records)
    return int(bool(failures))


if __name__ == "__main__":
    sys.exit(main())
