"""How much memory computations take: what a device has room for, and what the C library keeps."""

import ctypes
import sys

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3
"""glibc's names for `mallopt`, from malloc.h."""
LARGEST, AT_ONCE = 2**30, 2**26
"""Bytes: pieces up to the first are kept, and the system is asked for the second more at a time."""

SHARE = 4
"""One batch gets this part of a device's memory; the rest is for weights, libraries and others who compute there."""
HELD = 256
"""Numbers that attacks and gradients hold for each pixel and class: the maps of all layers, several times."""
MOST = 512
"""Images of more at a time make a device no faster."""


def images_at_once(memory: int, pixels: int, classes: int, most: int = MOST) -> int:
    """How many images a device of so many bytes computes at a time: a power of two, at least 1.

    It hangs on all of the memory, not on what is free just now: so a run that is resumed on such a device divides its
    images as before.

    Args:
        memory: bytes that the device has.
        pixels: numbers of an image.
        classes: whose networks see it.
        most: never more.

    Example:
        >>> images_at_once(8 * 2**30, pixels=28 * 28, classes=10), images_at_once(80 * 2**30, 28 * 28, 10)
        (256, 512)
    """
    room = memory // SHARE // (4 * HELD * max(1, pixels * classes))
    return 1 << (max(1, min(room, most)).bit_length() - 1)


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
