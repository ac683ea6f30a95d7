"""Attacks on a detector that multiplies in bfloat16 meanwhile, and on a compiled one, against attacks as they are.

What is found is judged in float32 by the detector itself, so neither way can make a verdict wrong; both can find other
images. Seconds are the processor's, ways take turns on one thread, and the compiler's own time is said apart.

    python benchmarks/precision.py [--images 64] [--out results/precision.json]
"""

import argparse
import copy
import time
from pathlib import Path
from typing import Any

import torch
from torch import nn

import twinlatent as tl
from twinlatent.attacks.attack import run
from twinlatent.attacks.suites import Suite
from twinlatent.criteria import Misclassified, Undetected
from twinlatent.evaluation.protocol import draw
from twinlatent.files import write_json
from twinlatent.method.class_vaes import ClassNetworks
from twinlatent.provenance import provenance

DETECTOR, EPSILON, FPR = "mnist-mim", 0.3, 0.05
ATTACKS = "pgd_w", "mim_w", "selective", "bypass-targets", "probing", "square"
PLAIN, LOW, COMPILED = "float32", "bfloat16", "compiled"
ROUNDS = 2


def in_bfloat16(detector: tl.Detector) -> tl.Detector:
    """A copy whose encoders multiply in bfloat16."""
    low = copy.deepcopy(detector)
    for module in low.encoders.modules():
        if isinstance(module, ClassNetworks):
            module.products = torch.bfloat16
    return low


def compiled(detector: tl.Detector, images: torch.Tensor) -> tuple[nn.Module, float]:
    """The detector with compiled encoders, and the processor's seconds until it has answered with a gradient."""
    fast, began = copy.deepcopy(detector), time.process_time()
    for module in fast.encoders.modules():
        if isinstance(module, ClassNetworks):
            module.compile(dynamic=True)
    for count in (len(images), len(images) // 2):  # the first is compiled for its size, the second for any
        some = images[:count].clone().requires_grad_()
        fast.outputs(some).suspicion.sum().backward()
        with torch.no_grad():
            fast.outputs(some)
    return fast, time.process_time() - began


def main() -> None:
    """Measure, print, and write if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    split, detector = tl.data.load("mnist", progress=False), tl.load(DETECTOR)
    assert isinstance(detector, tl.Detector)
    drawn, bounds = draw(split.selection, asked.images, 0), detector.bounds(FPR)
    suite = Suite(epsilon=EPSILON, level=bounds.thresholds[FPR], robust=True).attacks()
    fast, compiling = compiled(detector, drawn.images)
    models: dict[str, Any] = {PLAIN: detector, LOW: in_bfloat16(detector), COMPILED: fast}
    found: dict[str, Any] = {}
    for name in ATTACKS:
        seconds, won = dict.fromkeys(models, 0.0), {}
        for _ in range(ROUNDS):
            for way, model in models.items():
                began = time.process_time()
                result = run(suite[name], model, drawn.images, drawn.labels,
                             criterion=Misclassified() & Undetected(bounds, FPR))  # fmt: skip
                seconds[way] += time.process_time() - began
                verdict = detector.detect(result.images, FPR)
                won[way] = (verdict.label != drawn.labels) & ~verdict.adversarial
        found[name] = {
            "seconds": {way: round(value / ROUNDS, 2) for way, value in seconds.items()},
            "won": {way: int(one.sum()) for way, one in won.items()},
            "other verdicts": {way: int((won[way] != won[PLAIN]).sum()) for way in (LOW, COMPILED)},
        }
        print(name, found[name], flush=True)
    sums = {way: sum(one["seconds"][way] for one in found.values()) for way in models}
    ratios = {way: round(sums[PLAIN] / sums[way], 2) for way in (LOW, COMPILED)}
    print(f"as fast as {PLAIN}: {ratios}; compiling took {compiling:.0f} s")
    if asked.out is not None:
        write_json(asked.out, {"detector": DETECTOR, "images": asked.images, "ratio": ratios,
                               "compiling": round(compiling, 1), "attacks": found,
                               "provenance": provenance().model_dump()})  # fmt: skip


if __name__ == "__main__":
    main()
