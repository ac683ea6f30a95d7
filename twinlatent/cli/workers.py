"""Options that say who does long work: worker processes of this machine, or a shard of it."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from twinlatent.cli.options import set_threads
from twinlatent.errors import TwinlatentError

if TYPE_CHECKING:
    from twinlatent.running.shards import Shard
    from twinlatent.running.units import Runner

EACH = 50
"""So many images are worth a worker, where their number is not said: it takes seconds to start."""
Workers = Annotated[
    int | None,
    typer.Option(help="Processes that train and attack; default: the physical cores, or fewer for few images.", min=1),
]
WorkerThreads = Annotated[int | None, typer.Option(help="CPU threads of each worker; default: 1.", min=1)]
OfShard = Annotated[
    str | None,
    typer.Option("--shard", help="Do a part of the attacks, such as 3/8, in a folder of its own; see merge."),
]
OnRay = Annotated[
    str | None,
    typer.Option(
        "--ray", help="Let a Ray cluster train and attack: its HOST:PORT, auto, or local for one of this machine."
    ),
]


def workers_of(
    workers: int | None, threads: int | None, device: str, images: int | None = None, ray: str | None = None
) -> "Runner":
    """Who runs units; this process gets as many threads as each of them, so that the number of workers decides no bit.

    Args:
        workers: asked for; None: as many as there are cores on the CPU, and one elsewhere.
        threads: asked for; None: 1, or off the CPU PyTorch's.
        device: where to compute.
        images: how many are attacked, if that is known.
        ray: address of a cluster that runs them instead.

    Raises:
        TwinlatentError: workers and a cluster are asked for, or there can be no such cluster.
    """
    from twinlatent.running.cores import physical_cores
    from twinlatent.running.units import Here
    from twinlatent.running.workers import Workers as Processes

    on_cpu = device.startswith("cpu")
    if ray is not None:
        from twinlatent.running.ray import Ray

        if workers is not None:
            raise TwinlatentError(f"--workers {workers} and --ray {ray}: give one of them")
        set_threads(threads or 1)
        return Ray(ray, threads or 1, gpus=0 if on_cpu else 1)
    asked = workers is not None
    if workers is None:
        room = physical_cores() if on_cpu else 1
        workers = room if images is None else max(1, min(room, images // EACH))
    set_threads(threads or (1 if on_cpu else None))
    return Here() if workers == 1 else Processes(workers, threads or 1, asked=asked)


def shard_of(text: str | None) -> "Shard | None":
    """The shard that is asked for; `TwinlatentError` for a text that names none."""
    from twinlatent.running.shards import Shard

    return None if text is None else Shard.read(text)


def leave_shard(folder: Path, shard: "Shard", command: str, asked: Mapping[str, Any]) -> None:
    """Say that a shard in its folder is done, and of which command: its options by name."""
    from twinlatent.evaluation.results.merging import ShardFile, write_shard
    from twinlatent.provenance import provenance

    plain = {name: str(value) if isinstance(value, Path) else value for name, value in asked.items()
             if name not in ("shard", "workers", "ray", "progress", "force")}  # fmt: skip
    said: Any = {"command": command, "number": shard.number, "of": shard.of, "asked": plain}
    write_shard(folder, ShardFile(**said, origin=provenance()))
    whole = folder.name.removesuffix(shard.suffix)
    print(f"Shard {shard}: {folder}")
    print(f"When all are done: twinlatent merge {folder.with_name(whole)} {folder.with_name(whole)}.shard-*")
