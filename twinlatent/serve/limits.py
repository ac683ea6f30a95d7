"""How much memory requests can make a server take, at its limits."""

import math
from collections.abc import Iterable

from twinlatent.serve.settings import ServeSettings

READERS = 2
"""Threads that decode bodies: together they may hold so many decoded pictures in memory."""
PIXEL = 32
"""Bytes a pixel that a picture takes while it is decoded, greyed or not and resized: up to 30 were measured."""
JSON_BYTE, JSON_MARK = 50, 180
"""Bytes that JSON takes as objects of Python and an array, for each of its own bytes and for each of the marks that are
counted beforehand: up to 49 and 172 were measured."""
BODY_BYTE = 6
"""Bytes that an array or a form takes for each of its own, up to 5.8 being measured."""
ANSWER = 2048
"""Bytes of a verdict in an answer, and on the way to it."""


def most_marks(image_shape: tuple[int, ...], settings: ServeSettings) -> int:
    """Commas and brackets that JSON of a request may have; images have at most about two a value."""
    return 4 * settings.most_images * math.prod(image_shape) + 1000


def most_lists(image_shape: tuple[int, ...], settings: ServeSettings) -> int:
    """Opening brackets among them: those of images whose channels come first or last, and some."""
    channels, height, width = image_shape
    return settings.most_images * (1 + max(channels * (1 + height), height * (1 + width))) + 100


def most_memory(settings: ServeSettings, image_shapes: Iterable[tuple[int, ...]]) -> int:
    """Bytes that requests take at most at a time, beside what the server takes once it has answered one of each kind.

    Bodies that arrive or wait, two that are decoded, images that wait for their verdict, answers, an attack. Open
    connections come on top, with up to 150 kB each.

    Args:
        settings: its limits.
        image_shapes: (channels, height, width) of the detectors, one at least.

    Example:
        >>> round(most_memory(ServeSettings(), [(1, 28, 28)]) / 2**30, 2)
        1.46
    """
    shapes = list(image_shapes)
    image = 4 * max(map(math.prod, shapes))
    of_json = min(JSON_BYTE * settings.most_bytes, JSON_MARK * max(most_marks(shape, settings) for shape in shapes))
    arriving = settings.most_held + settings.most_bytes
    reading = READERS * (max(PIXEL * settings.most_pixels, of_json) + BODY_BYTE * settings.most_bytes)
    waiting = settings.most_under_way * settings.most_images * (2 * image + ANSWER)
    attacked = settings.most_attacked * 3 * settings.most_steps * 2 * image
    return arriving + reading + waiting + attacked
