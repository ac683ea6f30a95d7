"""The last resort of the command line: whatever goes wrong ends in one line and an exit status."""

import errno
import os
import re
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NoReturn

from twinlatent.errors import TwinlatentError, one_line

FAILED, WRONG_USAGE, INTERRUPTED = 1, 2, 130
LONGEST = 300
"""Letters of a message that is not ours, at most."""
NO_MEMORY = re.compile(r"out of memory|can't allocate memory|cannot allocate memory|not enough memory", re.IGNORECASE)
FULL = frozenset({errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)})
DEBUG = "--debug"
"""The option that shows the traceback."""
AGAIN = f"run again with {DEBUG} for the traceback"


def safe_streams() -> None:
    """Make standard output and error take any text: closed ones swallow it, others escape what they cannot encode.

    Closed descriptors 0 to 2 are opened, lest a file of ours gets the number that libraries print to.
    """
    with suppress(OSError):
        while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
            pass
        os.close(descriptor)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None or stream.closed:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


@contextmanager
def last_resort(debug: bool = False) -> Iterator[None]:
    """Turn any exception but an exit into a line on standard error, with status 1, or 130 after Ctrl-C.

    A reader that is gone, such as `head`, is no failure to speak of. `debug` prints the traceback first.
    """
    try:
        yield
        sys.stdout.flush()
    except KeyboardInterrupt as stopped:
        _show(stopped, debug)
        fail(str(stopped) or "stopped", INTERRUPTED)
    except BrokenPipeError:
        _forget(sys.stdout)
        raise SystemExit(FAILED) from None
    except Exception as error:
        _show(error, debug)
        fail(line_of(error))


def fail(line: str, status: int = FAILED) -> NoReturn:
    """Say so in one line on standard error, and exit."""
    with suppress(OSError, ValueError):
        print(f"twinlatent: {one_line(line)}", file=sys.stderr, flush=True)
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        _forget(sys.stdout)
    raise SystemExit(status)


def line_of(error: Exception) -> str:
    """What went wrong, and what to do, in one line."""
    if isinstance(error, TwinlatentError):
        return str(error)
    if isinstance(error, OSError) and error.errno is not None:
        return _of_system(error)
    said = one_line(" ".join(str(error).split()))
    said = f"{said[:LONGEST]} …" if len(said) > LONGEST else said
    if isinstance(error, MemoryError) or NO_MEMORY.search(said):
        return f"out of memory ({said or 'no more was given'}); ask for fewer or smaller images; {AGAIN}"
    return f"{type(error).__name__}{f': {said}' if said else ''}; {AGAIN}"


def _of_system(error: OSError) -> str:
    name = "" if error.filename is None else f"{error.filename}: "
    reason = name + (error.strerror or str(error))
    if error.errno in FULL:
        return f"{reason}; make room and run the same command again: what was written before is kept"
    return reason if name else f"{reason}; {AGAIN}"


def _show(error: BaseException, debug: bool) -> None:
    if debug:
        with suppress(OSError, ValueError):
            traceback.print_exception(error, file=sys.stderr)


def _forget(stream: object) -> None:
    """Let nothing more go to a stream that nobody reads, the last flush neither."""
    with suppress(OSError, ValueError, AttributeError):
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, stream.fileno())  # type: ignore[attr-defined]
        os.close(nothing)
