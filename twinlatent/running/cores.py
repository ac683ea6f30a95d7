"""How many processes a machine has room for."""

import os
from contextlib import suppress
from pathlib import Path

TOPOLOGY = Path("/sys/devices/system/cpu")
QUOTA = Path("/sys/fs/cgroup/cpu.max")


def physical_cores(topology: Path = TOPOLOGY, quota: Path = QUOTA) -> int:
    """Cores that this process may use, those that share their units with another counted once.

    Where the system does not say what is shared, each that may be used counts. A container that is given the time of
    fewer cores has so many.

    Args:
        topology: folder in which Linux describes its processors.
        quota: file in which Linux says how much of their time this container gets, such as `200000 100000` for two
            cores, or `max 100000` for all.
    """
    allowed = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))
    shared = set()
    for number in allowed:
        alone = str(number)
        with suppress(OSError):
            alone = (topology / f"cpu{number}" / "topology" / "thread_siblings_list").read_text().strip() or alone
        shared.add(alone)
    cores = len(shared)
    with suppress(OSError, ValueError, ZeroDivisionError):  # ValueError: it has all
        time, period = map(int, quota.read_text().split())
        cores = min(cores, time // period)
    return max(1, cores)
