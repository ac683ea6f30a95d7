"""Ctrl-C between two steps of a long work rather than in the middle of one, and SIGTERM, which does the same."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def deferred_interrupt() -> Iterator[Callable[[], bool]]:
    """Within the block a first Ctrl-C is only noted; the yielded function says whether it came.

    The block asks at its safe points, saves, and raises `KeyboardInterrupt` itself. A second Ctrl-C interrupts at
    once. Outside the main thread signals cannot be caught and nothing changes.
    """
    asked = False

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            signal.default_int_handler(number, frame)
        asked = True

    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    before = signal.signal(signal.SIGINT, note)
    try:
        yield lambda: asked
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def at_once() -> Iterator[None]:
    """Within the block Ctrl-C interrupts, also inside of `deferred_interrupt`."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def ending_as_by_ctrl_c() -> Iterator[None]:
    """Within the block SIGTERM, as schedulers send it before they kill, does what Ctrl-C does just then.

    It does so where Ctrl-C is ignored, too, as in what a script runs in the background. Outside the main thread nothing
    changes.
    """

    def stop(_: int, frame: FrameType | None) -> None:
        heard = signal.getsignal(signal.SIGINT)
        if callable(heard):
            heard(signal.SIGINT, frame)
        else:
            raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
