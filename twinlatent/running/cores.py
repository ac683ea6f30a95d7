"""How many processes a machine has room for."""

import os
from contextlib import suppress
from pathlib import Path

TOPOLOGY = Path("/sys/devices/system/cpu")


def physical_cores(topology: Path = TOPOLOGY) -> int:
    """Cores that this process may use, those that share their units with another counted once.

    Where the system does not say what is shared, each that may be used counts.

    Args:
        topology: folder in which Linux describes its processors.
    """
    allowed = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))
    shared = set()
    for number in allowed:
        alone = str(number)
        with suppress(OSError):
            alone = (topology / f"cpu{number}" / "topology" / "thread_siblings_list").read_text().strip() or alone
        shared.add(alone)
    return max(1, len(shared))
