"""How large images may be, and how much memory they may take together."""

import os
import sys

from twinlatent.errors import TwinlatentError

SMALLEST, LARGEST = 4, 1024  # pixels a side
COPIES = 3  # of all images at once, while they are read, divided and joined


def check_size(size: int) -> None:
    """Raise a `TwinlatentError` unless images may have `size` pixels a side."""
    if not SMALLEST <= size <= LARGEST:
        raise TwinlatentError(f"size is {size}; give {SMALLEST} to {LARGEST} pixels")


def check_memory(count: int, pixels: int, what: object) -> None:
    """Raise a `TwinlatentError` that begins with `what` if `count` float32 images of `pixels` each cannot fit."""
    needed, there = 4 * count * pixels * COPIES, memory()
    if needed > there:
        raise TwinlatentError(
            f"{what}: {count:,} images of {pixels:,} pixels need {needed / 1e9:,.0f} GB of memory, and there are "
            f"{there / 1e9:,.0f}; give fewer or smaller ones"
        )


def memory() -> int:
    """Bytes of memory of this machine, or those that this process may use if they are fewer."""
    try:
        import resource  # not on every system, nor is sysconf

        may_use = resource.getrlimit(resource.RLIMIT_AS)[0]
        there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ImportError, AttributeError, ValueError, OSError):
        return sys.maxsize
    return there if may_use == resource.RLIM_INFINITY else min(may_use, there)
