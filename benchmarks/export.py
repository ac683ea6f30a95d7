"""A detector in PyTorch against its ONNX file in ONNX Runtime: the same verdicts, time of one image and of many, size.

Everything is measured in this one process, alternating between the contestants, with the same number of threads:
`network`, the answers of the detector in PyTorch without verdicts; `detect`, its verdicts, which always computes whole
chunks of 32 images; `onnx`, the verdicts of ONNX Runtime, p-values and flags at 0.05 being part of the graph. The ratio
is of `network`, or of `onnx (detect)` for `detect`: chunks of 32 by `OnnxDetector`, as there.

    python benchmarks/export.py [--models mnist-mim,cats-dogs-mim] [--batches 1,256] [--threads 1] [--rounds 20]
        [--out results/export.json]
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import onnxruntime
import torch
from torch import Tensor

import twinlatent as tl
from twinlatent.files import write_json
from twinlatent.provenance import provenance
from twinlatent.zoo import locate

WARM_UP = 2
RATIOS = {"verdicts in one pass": ("network", "onnx"), "verdicts by chunks": ("detect", "onnx (detect)")}
"""What is compared: PyTorch, ONNX Runtime."""


def contestants(detector: tl.Detector, path: Path, images: Tensor, threads: int) -> dict[str, Callable[[], Any]]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    exported, given = tl.OnnxDetector(path), {"images": images.numpy()}

    @torch.no_grad()
    def network() -> Tensor:
        return detector.outputs(images).suspicion_of_label

    return {"network": network, "onnx": lambda: session.run(None, given),
            "detect": lambda: detector.detect(images), "onnx (detect)": lambda: exported.detect(images)}  # fmt: skip


def differences(detector: tl.Detector, path: Path, images: Tensor) -> dict[str, float]:
    """How verdicts differ: images with another label, another flag, another p-value, and the most that suspicion does,
    as a share of its size, or of 1 where it is smaller."""
    wanted, found = detector.detect(images), tl.OnnxDetector(path).detect(images)
    far = (wanted.suspicion - found.suspicion).abs() / wanted.suspicion.abs().clamp_min(1)
    counts = {name: int((getattr(wanted, name) != getattr(found, name)).sum())
              for name in ("label", "adversarial", "p_value")}  # fmt: skip
    return {"images": len(images), **counts, "suspicion": float(f"{far.max():.2g}")}


def seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def timed(runs: dict[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """Median of each in milliseconds."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(WARM_UP + rounds):
        for name, run in runs.items():
            times[name].append(seconds(run))
    return {name: round(1e3 * median(values[WARM_UP:]), 3) for name, values in times.items()}


def measured(name: str, batches: list[int], threads: int, rounds: int, folder: Path) -> dict[str, Any]:
    """One detector: file sizes, and times of each batch."""
    detector, path = tl.load(name), folder / f"{name}.onnx"
    tl.to_onnx(detector, path)
    test = tl.data.load(detector.card["data"]["name"], progress=False).test.images
    differ, rows = differences(detector, path, test), []
    print(f"{name}: verdicts that differ {differ}", flush=True)
    if differ["label"] or differ["adversarial"]:
        raise SystemExit(f"{name}: the contestants do not agree")
    for batch in batches:
        images = test[torch.arange(batch) % len(test)]
        typical = timed(contestants(detector, path, images, threads), rounds)
        times = {said: round(typical[ours] / typical[theirs], 2) for said, (ours, theirs) in RATIOS.items()}
        rows.append({"batch": batch, "milliseconds": typical, "times_as_fast": times})
        print(f"{name}, {batch} images: {typical} ms; ONNX Runtime is {times} times as fast", flush=True)
    sizes = {"safetensors": locate(name).stat().st_size, "onnx": path.stat().st_size}
    ratio = round(sizes["onnx"] / sizes["safetensors"], 2)
    print(f"{name}: file {sizes} bytes, {ratio} times", flush=True)
    return {"model": name, "bytes": sizes, "size_ratio": ratio, "differences": differ, "by_batch": rows}


def main() -> None:
    """Measure, check that both agree, print the ratios, and write them if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default="mnist-mim,cats-dogs-mim")
    parser.add_argument("--batches", default="1,256")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    batches = [int(batch) for batch in options.batches.split(",")]
    with TemporaryDirectory() as folder:
        rows = [measured(name, batches, options.threads, options.rounds, Path(folder))
                for name in options.models.split(",")]  # fmt: skip
    if options.out:
        said = {**provenance().model_dump()}
        said["versions"] = {**said["versions"], "onnxruntime": onnxruntime.__version__}
        write_json(options.out, {"threads": options.threads, "rounds": options.rounds, "models": rows,
                                 "provenance": said})  # fmt: skip


if __name__ == "__main__":
    main()
