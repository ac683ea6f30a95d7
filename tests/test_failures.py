"""twinlatent.failures: whatever goes wrong is one line and a status, wherever output goes."""

import errno
import io
import os
import subprocess
import sys

import pytest
import torch
from pydantic import TypeAdapter, ValidationError

from twinlatent.errors import TwinlatentError
from twinlatent.failures import last_resort, line_of, safe_streams


def invalid() -> Exception:
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(int).validate_python("many")
    return caught.value


def no_memory() -> Exception:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60, dtype=torch.uint8)
    return caught.value


def not_text() -> Exception:
    with pytest.raises(UnicodeEncodeError) as caught:
        "ε".encode("ascii")
    return caught.value


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (TwinlatentError("rounds is 0; give\nat least 1"), "rounds is 0; give\\nat least 1"),
        (ValueError(" two\n\n lines\x1b[31m \udce9"), "ValueError: two lines\\x1b[31m \\udce9; run again"),
        (OSError(errno.ENOSPC, "No space left on device", "a.npz"), "a.npz: No space left on device; make room"),
        (OSError(errno.ENOSPC, "No space left on device"), "No space left on device; make room"),
        (PermissionError(errno.EACCES, "Permission denied", "a.npz"), "a.npz: Permission denied"),
        (MemoryError(), "out of memory"),
        (no_memory(), "out of memory"),
        (not_text(), "UnicodeEncodeError: "),
        (invalid(), "ValidationError: "),
        (RecursionError("too deep"), "RecursionError: too deep"),
        (AssertionError(), "AssertionError; run again with --debug"),
        (KeyError("x" * 5000), "KeyError: "),
    ],
)
def test_any_error_is_one_short_line(error: Exception, said: str) -> None:
    line = line_of(error)
    assert line.startswith(said)
    assert line.isprintable()
    assert len(line) < 500
    ours = isinstance(error, TwinlatentError | OSError)
    assert line.endswith("run again with --debug for the traceback") != ours


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (TwinlatentError("no"), 1, "twinlatent: no\n"),
        (ValueError("no"), 1, "twinlatent: ValueError: no; run again with --debug for the traceback\n"),
        (KeyboardInterrupt(), 130, "twinlatent: stopped\n"),
        (KeyboardInterrupt("stopped after 3"), 130, "twinlatent: stopped after 3\n"),
    ],
)
def test_the_last_resort_says_it_and_exits(error: BaseException, status: int, said: str, capsys) -> None:
    for debug in (False, True):
        with pytest.raises(SystemExit) as stopped, last_resort(debug):
            raise error
        shown = capsys.readouterr().err
        assert stopped.value.code == status
        assert shown.endswith(said)
        assert ("Traceback" in shown, shown == said) == (debug, not debug)


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "latin-1", "utf-8"])
def test_any_text_can_be_printed_in_any_encoding(encoding: str, monkeypatch) -> None:
    bytes_ = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(bytes_, encoding=encoding, errors="strict"))
    safe_streams()
    print("ε 0.3 \udce9", flush=True)
    assert bytes_.getvalue().decode(encoding).startswith("ε" if encoding == "utf-8" else "\\u03b5")


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_stream_that_is_not_there_swallows_all(stream: str, monkeypatch) -> None:
    for missing in (None, closed()):
        monkeypatch.setattr(sys, stream, missing)
        safe_streams()
        there = getattr(sys, stream)
        assert there is not missing
        assert not there.closed
        print("ε", file=there, flush=True)
        there.close()


def closed() -> io.StringIO:
    stream = io.StringIO()
    stream.close()
    return stream


HEAD = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location("failures", sys.argv[1])
errors = sys.modules["twinlatent.errors"] = type(sys)("twinlatent.errors")
errors.TwinlatentError, errors.one_line = ValueError, str
sys.modules["twinlatent"] = type(sys)("twinlatent")
failures = importlib.util.module_from_spec(spec)
spec.loader.exec_module(failures)
failures.safe_streams()
with failures.last_resort():
"""


def alone(body: str, **streams) -> subprocess.CompletedProcess:
    """Run a body within the last resort, in a process that starts fast."""
    path = sys.modules["twinlatent.failures"].__file__
    return subprocess.run([sys.executable, "-S", "-c", f"{HEAD}    {body}", path], check=False, **streams)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
def test_a_full_disk_behind_standard_output_is_said() -> None:
    with open("/dev/full", "wb") as full:
        done = alone("print('x')", stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 1
    assert done.stderr.startswith(b"twinlatent: No space left on device; make room")
    assert done.stderr.count(b"\n") == 1


@pytest.mark.skipif(sys.platform == "win32", reason="pipes differ")
def test_a_reader_that_is_gone_is_no_error_to_speak_of() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = alone("print('x' * 100000)", stdout=writing, stderr=subprocess.PIPE)
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, b"")


@pytest.mark.skipif(sys.platform == "win32", reason="descriptors differ")
def test_no_file_gets_the_number_of_a_closed_stream(tmp_path) -> None:
    body = "open(sys.argv[2], 'w').write(str(open(sys.argv[0] or sys.argv[1]).fileno()))"
    program = f"{HEAD}    {body}"
    command = 'exec "$0" -S -c "$1" "$2" "$3" >&- 2>&-'
    path = sys.modules["twinlatent.failures"].__file__
    program = program.replace("sys.argv[0] or ", "")
    subprocess.run(["sh", "-c", command, sys.executable, program, path, str(tmp_path / "number")], check=True)
    assert int((tmp_path / "number").read_text()) > 2
