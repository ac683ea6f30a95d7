"""twinlatent.progress: a bar on a terminal, lines elsewhere, nothing when told so."""

import io
import time
from contextlib import redirect_stderr

import pytest

import twinlatent.progress as progress
from twinlatent.progress import bar, duration


class Clock:
    """Stands in for the module's `time`: moves only when told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    return clock


@pytest.fixture
def terminal(monkeypatch) -> Terminal:
    """A terminal to be put in the place of standard error with `redirect_stderr`."""
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "120")
    return Terminal()


def test_nothing_is_shown_when_told_so(capfd, clock) -> None:
    with bar("training", 2, show=False) as counter:
        clock.now += 3600
        counter.note = "loss 1.0"
        counter.advance(2)
    assert capfd.readouterr() == ("", "")
    assert counter.done == 2


def test_elsewhere_one_line_at_the_end(capfd, clock) -> None:
    with bar("training", 3) as counter:
        for _ in range(3):
            clock.now += 1
            counter.advance()
    out, err = capfd.readouterr()
    assert out == ""  # standard output is for results
    assert err == "training: 3/3, 0 s left\n"


def test_elsewhere_a_line_every_half_minute_with_the_time_left(capfd, clock) -> None:
    with bar("training", 10) as counter:
        for step in range(10):
            counter.note = f"loss {step}"
            clock.now += 10
            counter.advance()
    lines = capfd.readouterr().err.splitlines()
    assert lines == [
        "training: 3/10, 70 s left loss 2",
        "training: 6/10, 40 s left loss 5",
        "training: 9/10, 10 s left loss 8",
        "training: 10/10, 0 s left loss 9",
    ]


def test_the_time_left_is_reckoned_from_what_is_typical(capfd, clock) -> None:
    with bar("evaluation", 11) as counter:
        clock.now += 600
        counter.advance(typical=False)
        clock.now += 30
        counter.advance(3)  # 10 s each, 7 to go
    lines = capfd.readouterr().err.splitlines()
    assert lines[:2] == ["evaluation: 1/11", "evaluation: 4/11, 70 s left"]


def test_a_terminal_forgets_how_fast_it_was_before_what_is_typical(terminal) -> None:
    with redirect_stderr(terminal), bar("evaluation", 11) as counter:
        for _ in range(5):
            time.sleep(0.01)
            counter.advance()
        assert counter._progress.tasks[0].time_remaining is not None
        counter.advance(typical=False)
        shown = counter._progress.tasks[0]
        assert (shown.completed, shown.total, shown.time_remaining) == (6, 11, None)


def test_the_time_left_counts_only_what_was_done_now(capfd, clock) -> None:
    with bar("training", 100, done=90) as counter:
        clock.now += 40
        counter.advance(4)  # 10 s each, 6 to go
    assert capfd.readouterr().err.splitlines()[0] == "training: 94/100, 60 s left"


@pytest.mark.parametrize(("seconds", "text"), [(45, "45 s"), (800, "13 min"), (7500, "2 h 05 min")])
def test_a_long_time_is_readable(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize("show", [True, False])
def test_every_kind_of_bar_counts_alike(clock, show) -> None:
    with bar("training", 10, show=show, done=2) as counter:
        counter.advance()
        counter.advance(3)
        assert (counter.done, counter.total, counter.note) == (6, 10, "")


def test_on_a_terminal_a_bar_with_count_and_note(terminal) -> None:
    with redirect_stderr(terminal), bar("training", 4, done=1) as counter:
        counter.note = "loss 0.5"
        counter.advance()
        assert counter.done == 2
        counter.advance(2)
    shown = terminal.getvalue()
    assert "training" in shown
    assert "4/4" in shown
    assert "loss 0.5" in shown


def test_on_a_terminal_nothing_when_told_so(terminal) -> None:
    with redirect_stderr(terminal), bar("training", 1, show=False) as counter:
        counter.advance()
    assert terminal.getvalue() == ""


def test_an_error_goes_through(clock) -> None:
    with pytest.raises(KeyboardInterrupt), bar("training", 2):
        raise KeyboardInterrupt


def test_on_a_terminal_an_error_goes_through_and_the_cursor_comes_back(terminal) -> None:
    with pytest.raises(KeyboardInterrupt), redirect_stderr(terminal), bar("training", 2):
        raise KeyboardInterrupt
    hidden, shown = terminal.getvalue().rfind("\x1b[?25l"), terminal.getvalue().rfind("\x1b[?25h")
    assert 0 <= hidden < shown


def test_without_standard_error_nothing_is_shown_and_nothing_breaks(monkeypatch) -> None:
    closed = io.StringIO()
    closed.close()
    for missing in (None, closed):
        monkeypatch.setattr(progress.sys, "stderr", missing)
        with bar("training", 2) as counter:
            counter.advance(2)
        assert counter.done == 2


def test_a_reader_that_is_gone_does_not_stop_the_work(monkeypatch) -> None:
    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    monkeypatch.setattr(progress.sys, "stderr", Gone())
    with bar("training", 2) as counter:
        counter.advance(2)
    assert counter.done == 2
