"""What a class costs: a step of training and a detector's file, encoders that share a trunk against separate ones.

A step is a plain pass and a pass of interval bounds of one batch for all classes, and the gradients of both with
respect to all weights. Everything is measured in this one process, alternating between the contestants.

    python benchmarks/classes.py [--classes 10,43,100] [--batch 32] [--threads 1] [--rounds 7] [--out PATH]
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import torch
from torch import Tensor
from torch.nn import functional as F

from twinlatent.data import LabelledImages
from twinlatent.files import write_json
from twinlatent.method.bounds import ball, bound_latents, bound_log_ratio
from twinlatent.method.class_vaes import ClassEncoders
from twinlatent.method.densities import log_standard_normal
from twinlatent.method.detector import build_detector
from twinlatent.method.plans import plan
from twinlatent.provenance import provenance

ENCODERS = {"shared": "c(4,32) c(4,64) d(256) | z(8,8)", "separate": "c(4,32) c(4,64) d(256) z(8,8)"}
SIDE, EPSILON = 28, 0.1


def step(encoders: ClassEncoders, images: Tensor) -> Tensor:
    """Forward and backward of a plain pass and of one of bounds; the loss."""
    encoders.zero_grad()
    latents = encoders(images)
    ratio = log_standard_normal(latents.robust.mean) - log_standard_normal(latents.vulnerable.mean)
    upper = bound_log_ratio(bound_latents(encoders, ball(images, EPSILON))).upper
    loss: Tensor = F.softplus(ratio).mean() + F.softplus(upper).mean()
    loss.backward()  # type: ignore[no-untyped-call]
    return loss


def seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def file_size(encoders: ClassEncoders, images: Tensor) -> int:
    """Bytes of a detector's file; its calibration, here of few images, is the same for both."""
    few = LabelledImages(images, torch.arange(len(images)) % encoders.classes)
    detector = build_detector(encoders, few, few, tuple(map(str, range(encoders.classes))))
    with TemporaryDirectory() as folder:
        detector.save(Path(folder) / "detector.safetensors")
        return (Path(folder) / "detector.safetensors").stat().st_size


def measured(classes: int, batch: int, rounds: int) -> dict[str, object]:
    """Medians of one number of classes, in milliseconds, and megabytes."""
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(batch, 1, SIDE, SIDE, generator=generator)
    made = {name: ClassEncoders(plan(text, (1, SIDE, SIDE), "encoder"), classes, generator, "narrow")
            for name, text in ENCODERS.items()}  # fmt: skip
    times: dict[str, list[float]] = {name: [] for name in made}
    for _ in range(1 + rounds):  # the first is a warm-up
        for name, encoders in made.items():
            times[name].append(seconds(lambda encoders=encoders: step(encoders, images)))
    milliseconds = {name: round(1e3 * median(values[1:]), 1) for name, values in times.items()}
    megabytes = {name: round(file_size(encoders, images) / 1e6, 3) for name, encoders in made.items()}
    return {"classes": classes, "step_milliseconds": milliseconds, "file_megabytes": megabytes,
            "step_ratio": round(milliseconds["separate"] / milliseconds["shared"], 2),
            "file_ratio": round(megabytes["separate"] / megabytes["shared"], 2)}  # fmt: skip


def main() -> None:
    """Measure, print the ratios, and write them if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--classes", default="10,43,100")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rows = []
    for classes in map(int, options.classes.split(",")):
        rows.append(row := measured(classes, options.batch, options.rounds))
        print(f"{classes:4} classes: step {row['step_milliseconds']} ms, {row['step_ratio']} times; "
              f"file {row['file_megabytes']} MB, {row['file_ratio']} times", flush=True)  # fmt: skip
    if options.out:
        write_json(options.out, {"encoders": ENCODERS, "batch": options.batch, "threads": options.threads,
                                 "by_classes": rows, "provenance": provenance().model_dump()})  # fmt: skip


if __name__ == "__main__":
    main()
