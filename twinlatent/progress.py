"""One progress bar for everything that takes long: rich on a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.progress import Progress

PLAIN_LINE_SECONDS = 30.0


def duration(seconds: float) -> str:
    """A time a reader can grasp.

    Example:
        >>> duration(119), duration(600), duration(9000)
        ('119 s', '10 min', '2 h 30 min')
    """
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60:02d} min"


class Bar:
    """Counts towards `total`. Call `advance`, or set `note` to a short text shown beside the count."""

    note: str = ""

    def __init__(self, total: int, done: int = 0) -> None:
        self.total, self.done, self.first = total, done, done

    def advance(self, amount: int = 1, *, typical: bool = True) -> None:
        """Count `amount` more units as done; the time until now says nothing about the rest if they are not typical."""
        self.done += amount
        if not typical:
            self.first = self.done


class _RichBar(Bar):
    def __init__(self, progress: "Progress", description: str, total: int, done: int) -> None:
        super().__init__(total, done)
        self._progress = progress
        self._task = progress.add_task(description, total=total, completed=done, note="")

    def advance(self, amount: int = 1, *, typical: bool = True) -> None:
        super().advance(amount, typical=typical)
        if not typical:
            self._progress.reset(self._task)  # how fast it was
        self._progress.update(self._task, completed=self.done, note=self.note)


class _PlainBar(Bar):
    def __init__(self, stream: TextIO, description: str, total: int, done: int) -> None:
        super().__init__(total, done)
        self._stream, self._description = stream, description
        self._start = self._said = time.monotonic()  # the time left is reckoned from there and then
        self.said_at: int | None = None

    def advance(self, amount: int = 1, *, typical: bool = True) -> None:
        super().advance(amount, typical=typical)
        if not typical:
            self._start = time.monotonic()
        if time.monotonic() - self._said >= PLAIN_LINE_SECONDS:
            self.say()

    def say(self) -> None:
        """Print a line: how far, how long still, and the note."""
        self._said, self.said_at = time.monotonic(), self.done
        counted = self.done - self.first
        left = (self._said - self._start) / counted * (self.total - self.done) if counted > 0 else None
        time_left = f", {duration(left)} left" if left is not None else ""
        line = f"{self._description}: {self.done}/{self.total}{time_left} {self.note}"
        with suppress(OSError, ValueError):  # a reader that is gone or a full disk is no reason to stop the work
            print(line.rstrip(), file=self._stream, flush=True)


@contextmanager
def bar(description: str, total: int, *, show: bool = True, done: int = 0) -> Iterator[Bar]:
    """Show progress towards `total` on standard error while the block runs.

    A terminal gets a bar with the time left; anything else gets a plain line every 30 seconds
    and one at the end; `show=False`, or no standard error, gets nothing. `done` units count as finished beforehand.
    """
    stream = sys.stderr  # None in a process that has no such thing
    if not show or stream is None or stream.closed:
        yield Bar(total, done)
    elif stream.isatty():
        with _rich_progress() as progress:
            yield _RichBar(progress, description, total, done)
    else:
        plain = _PlainBar(stream, description, total, done)
        try:
            yield plain
        finally:
            if plain.said_at != plain.done:
                plain.say()


def _rich_progress() -> "Progress":
    """Columns of the bar; rich is imported here because importing it draws from Python's global random state."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    name, note = (TextColumn(text, markup=False) for text in ("{task.description}", "{task.fields[note]}"))
    columns = (name, BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), note)
    return Progress(*columns, console=Console(stderr=True))
