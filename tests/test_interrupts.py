"""Ctrl-C is noted, then obeyed."""

import signal
import subprocess
import sys
import threading

import pytest

from twinlatent.interrupts import deferred_interrupt, ending_as_by_ctrl_c


def press_ctrl_c() -> None:
    signal.raise_signal(signal.SIGINT)


def test_a_first_ctrl_c_is_only_noted() -> None:
    before = signal.getsignal(signal.SIGINT)
    with deferred_interrupt() as interrupted:
        assert not interrupted()
        press_ctrl_c()
        assert interrupted()
        assert interrupted(), "it stays noted"
    assert signal.getsignal(signal.SIGINT) is before


def test_a_second_ctrl_c_interrupts_at_once() -> None:
    before, reached = signal.getsignal(signal.SIGINT), []

    def twice() -> None:
        with deferred_interrupt() as interrupted:
            press_ctrl_c()
            reached.append(interrupted())
            press_ctrl_c()
            reached.append("too far")

    with pytest.raises(KeyboardInterrupt):
        twice()
    assert reached == [True]
    assert signal.getsignal(signal.SIGINT) is before


def test_the_old_handler_comes_back_after_an_error() -> None:
    heard = []

    def mine(number: int, frame: object) -> None:
        heard.append(number)

    def fail() -> None:
        with deferred_interrupt():
            raise ValueError("stop")

    before = signal.signal(signal.SIGINT, mine)
    try:
        with pytest.raises(ValueError, match="stop"):
            fail()
        press_ctrl_c()
    finally:
        signal.signal(signal.SIGINT, before)
    assert heard == [signal.SIGINT]


def test_outside_the_main_thread_nothing_changes() -> None:
    before, seen = signal.getsignal(signal.SIGINT), []

    def work() -> None:
        with deferred_interrupt() as interrupted:
            seen.extend([interrupted(), signal.getsignal(signal.SIGINT) is before])

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [False, True]


def test_a_block_that_ends_by_itself_hands_ctrl_c_back() -> None:
    program = """
import signal
from twinlatent.interrupts import deferred_interrupt, ending_as_by_ctrl_c
with deferred_interrupt() as interrupted:
    signal.raise_signal(signal.SIGINT)
    print("noted", interrupted(), flush=True)
signal.raise_signal(signal.SIGINT)
print("too far")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stdout == "noted True\n"
    assert "KeyboardInterrupt" in done.stderr
    assert done.returncode != 0


def test_sigterm_is_noted_or_interrupts_as_ctrl_c_does() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with ending_as_by_ctrl_c():
        with deferred_interrupt() as interrupted:
            signal.raise_signal(signal.SIGTERM)
            assert interrupted()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before


def test_sigterm_interrupts_where_ctrl_c_is_ignored() -> None:
    """A shell lets what a script runs in the background ignore it."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with ending_as_by_ctrl_c(), pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGINT, before)
