"""A white-box attack by two worker processes against the same by one process, in one run, and whether it is the same.

Both have one thread a process; starting the workers counts. The machine must be idle: on two busy cores nothing is
gained. With --evaluate a whole evaluation is measured instead, whose last part, judging, is one process's.

    python benchmarks/workers.py [--images 160] [--steps 20] [--workers 2] [--evaluate] [--out results/workers.json]
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import torch

import twinlatent as tl
from twinlatent.evaluation.black_box import train_substitute
from twinlatent.evaluation.protocol import WhiteBoxSettings
from twinlatent.evaluation.white_box import attack_detector
from twinlatent.files import write_json
from twinlatent.provenance import provenance

Measured = Callable[[int], object]
"""The work, by so many workers, and what it found."""


def attacked(asked: argparse.Namespace) -> Measured:
    """Every attack's image for every image."""
    split, detector = tl.data.load("mnist", progress=False), tl.load(asked.detector)
    settings = WhiteBoxSettings(images=asked.images, steps=asked.steps)
    substitute = train_substitute(split, progress=False).network

    def measured(workers: int) -> object:
        found = attack_detector(detector, split, settings, substitute=substitute, workers=workers, progress=False)
        return {name: part.result.images.numpy().tobytes() for name, part in found.result.by_attack.items()}

    return measured


def evaluated(asked: argparse.Namespace) -> Measured:
    """Every number of an evaluation."""
    split, detector = tl.data.load("mnist", progress=False), tl.load(asked.detector)

    def measured(workers: int) -> object:
        report = tl.evaluate(detector, split, images=asked.images, subset=asked.images // 2, steps=asked.steps,
                             blackbox_images=asked.images, workers=workers, progress=False)  # fmt: skip
        return [(r.metric, r.attack, r.epsilon, r.score, r.value) for r in report.records]

    return measured


def timed(work: Measured, workers: int) -> tuple[float, object]:
    """Seconds, and what was found."""
    began = time.perf_counter()
    found = work(workers)
    return time.perf_counter() - began, found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--detector", default="mnist-mim")
    parser.add_argument("--images", type=int, default=160)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--evaluate", action="store_true")
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    work = evaluated(asked) if asked.evaluate else attacked(asked)
    (alone, first), (together, second) = timed(work, 1), timed(work, asked.workers)
    found = {
        "what": "evaluate" if asked.evaluate else "attack",
        "detector": asked.detector,
        "images": asked.images,
        "steps": asked.steps,
        "workers": asked.workers,
        "seconds": {"1": round(alone, 1), str(asked.workers): round(together, 1)},
        "ratio": round(alone / together, 3),
        "same": first == second,
        "origin": provenance().model_dump(),
    }
    print(f"one process {alone:.1f} s, {asked.workers} workers {together:.1f} s: {alone / together:.2f} ×, "
          f"the same bit for bit: {first == second}")  # fmt: skip
    if asked.out:
        write_json(asked.out, found)


if __name__ == "__main__":
    main()
