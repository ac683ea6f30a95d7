"""Forward pass and image gradient of all encoders of a data set: ours against a loop and torch.func.vmap.

Everything is measured in this one process, alternating between the contestants, with the same number of threads.
The peak is the machine's own, from a large float32 matrix product in the same run.

    python benchmarks/encoder_step.py [--data cats-dogs] [--threads 2] [--rounds 60] [--out results/encoder_step.json]
"""

import argparse
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

import torch
from torch import Tensor
from torch.func import functional_call, stack_module_state

from twinlatent.files import write_json
from twinlatent.method.class_vaes import ClassNetworks
from twinlatent.method.plans import Conv, Dense, Pool, plan
from twinlatent.provenance import provenance

ENCODERS = {  # classes, images of each, pixels a side, notation
    "mnist": (10, 32, 28, "3(c(4,16)) z(8,8)"),
    "cats-dogs": (2, 16, 64, "2(c(12,32)-bn-relu-mp(2)) c(12,32)-bn-relu-z(64,64)"),
}


def image_gradient(networks: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """Gradient of the squared outputs, summed, with respect to the images (C, B, 1, H, W)."""
    x = images.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(networks(x).square().sum(), x)
    return gradient


def contestants(networks: ClassNetworks) -> dict[str, Callable[[Tensor], Tensor]]:
    singles = [networks.single(c).requires_grad_(False) for c in range(networks.classes)]
    parameters, buffers = stack_module_state(singles)
    state = {name: value.detach() for name, value in (parameters | buffers).items()}

    last = [networks.single(c).requires_grad_(False) for c in range(networks.classes)]
    for single in last:
        single.to(memory_format=torch.channels_last)

    def loop(x: Tensor) -> Tensor:
        return torch.stack([single(x[c]) for c, single in enumerate(singles)])

    def loop_channels_last(x: Tensor) -> Tensor:
        return torch.stack(
            [single(x[c].contiguous(memory_format=torch.channels_last)) for c, single in enumerate(last)]
        )

    def one(values: dict[str, Tensor], x: Tensor) -> Tensor:
        return functional_call(singles[0], values, (x,))

    def vmap(x: Tensor) -> Tensor:
        return torch.func.vmap(one)(state, x)

    return {"ours": networks, "loop": loop, "loop, channels last": loop_channels_last, "vmap": vmap}


def operations(networks: ClassNetworks, batch: int) -> list[int]:
    """Floating-point operations of each layer's forward pass as a loop does them, two a multiply-add."""
    counts, (_, side, _) = [], networks.plan.input_shape
    for operation in networks.plan.operations:
        count = 0
        if isinstance(operation, Conv):
            side = -(-side // operation.stride)
            count = side**2 * operation.filters * operation.inputs * operation.kernel**2
        elif isinstance(operation, Dense):
            count = operation.inputs * operation.units
        elif isinstance(operation, Pool):
            side //= operation.size
        counts.append(2 * count * networks.classes * batch)
    return counts


def forward_seconds(networks: ClassNetworks, images: Tensor, rounds: int) -> list[float]:
    """What each layer's forward pass takes."""
    x, found = networks.arranged(images), []
    for index in range(len(networks.plan.operations)):
        found.append(median(seconds(partial(networks.applied, index, x.clone())) for _ in range(rounds)))
        x = networks.applied(index, x)
    return found


def seconds(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def main() -> None:
    """Measure, check that all agree, print the ratios, and write them if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", choices=ENCODERS, default="mnist")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    generator = torch.Generator().manual_seed(0)
    classes, batch, side, notation = ENCODERS[options.data]
    networks = ClassNetworks(plan(notation, (1, side, side), "encoder"), classes, generator)
    networks.requires_grad_(False).eval()
    images = torch.rand(classes, batch, 1, side, side, generator=generator)
    runs = {name: lambda f=f: image_gradient(f, images) for name, f in contestants(networks).items()}
    wanted = runs["loop"]()
    errors = {name: ((run() - wanted).norm() / wanted.norm()).item() for name, run in runs.items()}
    matrix = torch.rand(1024, 1024, generator=generator)
    runs["peak"] = lambda: matrix @ matrix
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(options.rounds):
        for name, run in runs.items():
            times[name].append(seconds(run))
    typical = {name: median(values[options.rounds // 5 :]) for name, values in times.items()}
    peak = 2 * 1024**3 / typical["peak"]
    rivals = [name for name in typical if name not in ("ours", "peak")]
    speedup = min(typical[name] for name in rivals) / typical["ours"]
    counts = operations(networks, batch)
    share = 2 * sum(counts) / typical["ours"] / peak  # the input gradient takes as many as the forward pass
    for name in (*rivals, "ours"):
        print(f"{name:20} {1e3 * typical[name]:7.2f} ms   relative difference to the loop {errors[name]:.1e}")
    print(f"ours is {speedup:.2f} times as fast as the best of the others")
    share_text = f"ours does a loop's work at {100 * share:.1f} % of that"
    print(f"matrix products reach {peak / 1e9:.0f} GFLOP/s here; {share_text}")
    for operation, count, spent in zip(
        networks.plan.operations, counts, forward_seconds(networks, images, options.rounds), strict=True
    ):
        if count:
            print(f"  {operation}: forward {1e3 * spent:.2f} ms, {100 * count / spent / peak:.0f} % of the peak")
    pooled = any(isinstance(operation, Pool) for operation in networks.plan.operations)
    if max(errors.values()) > (1e-2 if pooled else 1e-5):  # rounding can move the maximum of a pooling
        raise SystemExit("the contestants do not agree")
    if options.out:
        milliseconds = {name: round(1e3 * value, 3) for name, value in typical.items()}
        write_json(options.out, {"data": options.data, "threads": options.threads, "milliseconds": milliseconds,
                                 "speedup": round(speedup, 3), "share_of_peak": round(share, 4),
                                 "relative_error": errors, "provenance": provenance().model_dump()})  # fmt: skip


if __name__ == "__main__":
    main()
