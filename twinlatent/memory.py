"""How the C library of this process treats memory that is freed."""

import ctypes
import sys

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3
"""glibc's names for `mallopt`, from malloc.h."""
LARGEST, AT_ONCE = 2**30, 2**26
"""Bytes: pieces up to the first are kept, and the system is asked for the second more at a time."""


def keep_freed_memory() -> bool:
    """Keep what is freed for the next tensor; returns whether the C library could be told (glibc can).

    Otherwise every large map of a network is new memory from the system, page by page: a quarter of the time of an
    image gradient of 100 images. The process stays as large as it once was. It is for a program to ask for, as the
    command line does, not for a library behind its user's back.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    told = [mallopt(M_MMAP_THRESHOLD, LARGEST), mallopt(M_TRIM_THRESHOLD, LARGEST), mallopt(M_TOP_PAD, AT_ONCE)]
    return all(told)
