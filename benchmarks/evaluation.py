"""What an evaluation's attacks cost, now and with an earlier checkout of the package, and which verdicts differ.

Both attack the same test images of a detector that ships, each in a process and under code of its own, with one thread,
taking turns attack by attack; seconds are the processor's, which other work on the machine disturbs least. They run all
attacks of the suite `standard` at the main point, the black box's on a substitute, and CW-L2_W for C1 and C2.

What the attacks of an evaluation of 1,000 images take is reckoned from that: the suite on 1,000 images, and on 100 at
each of 17 other points and, under the score of the paper, at 18; the black box on 1,000 images of three substitutes;
CW-L2_W on 100. Attacks that know no threshold are now run at one rate of each radius, besides the main point.

    git worktree add /tmp/before 4f9b95b
    python benchmarks/evaluation.py --before /tmp/before [--images 64] [--out results/one-core.json]
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

DETECTOR, DATA, EPSILON, FPR = "mnist-mim", "mnist", 0.3, 0.05
CNN, CNN_STEPS = "c(3,8) mp(2) c(3,16) mp(2) d(64) sm(10)", 300
"""The substitute, in the paper's notation, and the steps of its training."""
CW_IMAGES = 16
SUITE, BLACK_BOX, CW = "suite", "black box", "cw"
TIMES = {SUITE: 1000 + (17 + 18) * 100, BLACK_BOX: 3 * 1000, CW: 100}
"""How many images an evaluation of 1,000 attacks so."""
REMEMBERED = 1000 + (6 + 7) * 100
"""Likewise those that attacks are run on which know no threshold."""

Job = Callable[[], tuple[list[bool], int]]
"""Attacks the images; which of them it won, and how many gradients or queries it took."""


# --- one side: a process of one version of the package ------------------------------------------------------------


def serve(count: int) -> None:
    """Run the jobs that standard input names, a line each, and answer with a line of JSON."""
    import torch

    torch.set_num_threads(1)
    try:  # as the command line does, since it can
        from twinlatent.memory import keep_freed_memory

        keep_freed_memory()
    except ImportError:
        pass
    made, blind = jobs(count)
    print(json.dumps([{group: list(named) for group, named in made.items()}, blind]), flush=True)
    for line in sys.stdin:
        group, name = json.loads(line)
        began = time.process_time()
        won, steps = made[group][name]()
        print(json.dumps({"seconds": time.process_time() - began, "won": won, "steps": steps}), flush=True)


def jobs(count: int) -> tuple[dict[str, dict[str, Job]], list[str]]:
    """By group and name; and the names of the suite's attacks that know no threshold."""
    import torch
    from torch.nn import functional as F

    import twinlatent as tl
    from twinlatent.attacks.attack import run
    from twinlatent.attacks.objectives import Bypass, Margin, latent_matching
    from twinlatent.attacks.search import GammaSearch
    from twinlatent.attacks.suites import Suite
    from twinlatent.criteria import C1, C2, Misclassified, Undetected
    from twinlatent.digest import digest
    from twinlatent.evaluation.black_box import BLACK_BOX as BUDGETS
    from twinlatent.evaluation.protocol import draw
    from twinlatent.evaluation.white_box.conditions import CW_GAMMAS, STANDARD_CW
    from twinlatent.method.networks import build_classifier

    split, detector = tl.data.load(DATA), tl.load(DETECTOR)
    drawn, known, bounds = draw(split.test, count, 0), draw(split.calibration, 2000, 0), detector.bounds(FPR)
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    network = build_classifier(CNN, split.image_shape)
    optimiser = torch.optim.Adam(network.parameters(), 2e-3)
    for _ in range(CNN_STEPS):
        some = split.train.subset(torch.randint(len(split.train), (64,), generator=generator))
        optimiser.zero_grad()
        F.cross_entropy(network(some.images), some.labels).backward()
        optimiser.step()
    network.eval()

    def job(attack: Any, model: Any, criterion: Any, images: int, judged: bool) -> Job:
        def attacked() -> tuple[list[bool], int]:
            few = drawn.subset(slice(images))
            found = run(attack, model, few.images, few.labels, criterion=criterion)
            won = found.success
            if judged:
                verdict = detector.detect(found.images, FPR)
                won = won & (verdict.label != few.labels) & ~verdict.adversarial
            return won.tolist(), int(found.steps.sum())

        return attacked

    made = Suite(epsilon=EPSILON, level=bounds.thresholds[FPR], robust=True, substitute=network,
                 references=latent_matching(detector, known.images, known.labels))  # fmt: skip
    suite, elsewhere = made.attacks(), replace(made, level=bounds.thresholds[FPR] + 1).attacks()
    blind = [name for name, attack in suite.items() if digest(attack) == digest(elsewhere[name])]
    undetected = Misclassified() & Undetected(bounds, FPR)
    published = detector.with_score(detector.scores[0])
    levels = published.bounds()
    cw = GammaSearch(STANDARD_CW.build(Margin(STANDARD_CW.confidence) + Bypass(levels.suspicion_mean)), CW_GAMMAS)
    found = {
        SUITE: {name: job(attack, detector, undetected, count, judged=True) for name, attack in suite.items()},
        BLACK_BOX: {b.attack: job(b.build(), network, Misclassified(), count, judged=False) for b in BUDGETS},
        CW: {"cw_w": job(cw, published, Misclassified() & C1(levels) & C2(levels), CW_IMAGES, judged=False)},
    }
    return found, blind


# --- both sides ---------------------------------------------------------------------------------------------------


class Side:
    """A process that serves with the package at `path`."""

    def __init__(self, path: Path, count: int) -> None:
        asked = [sys.executable, str(Path(__file__).resolve()), "--serve", "--images", str(count)]
        self.process = subprocess.Popen(asked, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                        env=os.environ | {"PYTHONPATH": str(path), "OMP_NUM_THREADS": "1"})  # fmt: skip
        self.jobs: dict[str, list[str]]
        self.blind: list[str]
        self.jobs, self.blind = json.loads(self._line())

    def asked(self, group: str, name: str) -> dict[str, Any]:
        """Its answer to one job."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps([group, name]) + "\n")
        self.process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._line())
        return answer

    def _line(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.process.args} ended with {self.process.wait()}")
        return line


def compared(before: Side, now: Side, group: str, name: str) -> dict[str, Any]:
    """One attack by both, and the images whose verdict differs."""
    old, new = before.asked(group, name), now.asked(group, name)
    pairs = list(zip(old["won"], new["won"], strict=True))
    return {
        "seconds": {"before": round(old["seconds"], 2), "now": round(new["seconds"], 2)},
        "ratio": round(old["seconds"] / new["seconds"], 2),
        "steps": {"before": old["steps"], "now": new["steps"]},
        "won": {"before": sum(old["won"]), "now": sum(new["won"])},
        "before alone": [number for number, (a, b) in enumerate(pairs) if a and not b],
        "now alone": [number for number, (a, b) in enumerate(pairs) if b and not a],
    }


def reckoned(results: dict[str, dict[str, dict[str, Any]]], blind: list[str], count: int) -> dict[str, Any]:
    """Ratios of the groups and of an evaluation of 1,000 images, if none is won at a harder point beforehand.

    Args:
        results: by group and attack.
        blind: the suite's attacks that know no threshold.
        count: images of each, but of CW-L2_W.
    """
    sums, whole = {group: {"before": 0.0, "now": 0.0} for group in results}, {"before": 0.0, "now": 0.0}
    for group, rows in results.items():
        for name, row in rows.items():
            for side, seconds in row["seconds"].items():
                once = side == "now" and group == SUITE and name in blind
                times = REMEMBERED if once else TIMES[group]
                sums[group][side] += seconds
                whole[side] += seconds * times / (CW_IMAGES if group == CW else count)
    return {"groups": {group: round(both["before"] / both["now"], 2) for group, both in sums.items()},
            "evaluation": round(whole["before"] / whole["now"], 2),
            "evaluation_seconds": {side: round(value) for side, value in whole.items()}}  # fmt: skip


def main() -> None:
    """Measure, print the ratios, and write them if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", type=Path, help="checkout of the package to compare with")
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    if options.serve:
        serve(options.images)
        return
    if options.before is None:
        parser.error("give a checkout to compare with: --before PATH")
    from twinlatent.files import write_json
    from twinlatent.provenance import provenance

    origin, count = provenance(), options.images
    before, now = Side(options.before, count), Side(Path(__file__).resolve().parents[1], count)
    results: dict[str, dict[str, dict[str, Any]]] = {group: {} for group in now.jobs}
    for group, names in now.jobs.items():
        for name in names:
            row = results[group][name] = compared(before, now, group, name)
            print(f"{group:10} {name:18} {row['seconds']['before']:7.2f} s -> {row['seconds']['now']:7.2f} s"
                  f"{row['ratio']:6.2f} ×   won {row['won']['before']:3} and {row['won']['now']:3}, "
                  f"alone {row['before alone']} and {row['now alone']}", flush=True)  # fmt: skip
    sums = reckoned(results, now.blind, count)
    print(f"{sums['groups']}; an evaluation of 1,000 images {sums['evaluation']} ×, {sums['evaluation_seconds']}")
    if options.out:
        commit = subprocess.run(["git", "-C", str(options.before), "rev-parse", "--short=12", "HEAD"],
                                capture_output=True, text=True, check=True).stdout.strip()  # fmt: skip
        write_json(options.out, {"detector": DETECTOR, "images": count, "threads": 1, "before": commit, **sums,
                                 "attacks": results, "provenance": origin.model_dump()})  # fmt: skip


if __name__ == "__main__":
    main()
