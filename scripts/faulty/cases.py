"""A bad input, how it is given, and what is wrong with the answer; nothing where it is refused in one line."""

import asyncio
import io
import json
import re
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from typing import Any, Literal

from twinlatent import cli
from twinlatent.errors import TwinlatentError
from twinlatent.failures import DEBUG
from twinlatent.files import SCRAP

Kind = Literal["files", "settings", "models", "tensors", "bodies", "headers"]
LINE = re.compile(r"twinlatent: (.+)\n")
ADDRESS = "/v1/models/digits/detect"
LONGEST = 1000
"""Letters of a line that somebody may read."""


@dataclass(frozen=True)
class Case:
    """A bad input.

    Attributes:
        kind: of what it is.
        name: of itself, unique within its kind.
        complaint: gives it to the library, and says what is wrong with what comes back.
    """

    kind: Kind
    name: str
    complaint: Callable[[], str]


@dataclass(frozen=True)
class Tried:
    """What became of a case.

    Attributes:
        case: it.
        complaint: what was wrong with the answer, empty if nothing was.
        seconds: it took.
    """

    case: Case
    complaint: str
    seconds: float


def tried(cases: Iterable[Case]) -> list[Tried]:
    """All cases, one after the other."""
    found = []
    for case in cases:
        began = time.monotonic()
        try:
            complaint = case.complaint()
        except Exception as error:  # the library's, or this script's own: neither may end the others
            complaint = f"raises {type(error).__name__}: {error}"
        found.append(Tried(case, " ".join(complaint.split())[:300], time.monotonic() - began))
    return found


def of_call(call: Callable[[], object]) -> str:
    """What is wrong with how a call refuses: it must raise a `TwinlatentError` of one line that is not too long."""
    try:
        call()
    except TwinlatentError as error:
        return _of_line(str(error))
    except BaseException as error:
        return f"raises {type(error).__name__}: {error}"
    return "is taken"


def of_command(*words: object) -> str:
    """What is wrong with how a command refuses: one line on standard error, nothing on the other, status 1."""
    out, err, before = io.StringIO(), io.StringIO(), sys.argv
    sys.argv = ["twinlatent", *map(str, words)]
    try:
        with redirect_stdout(out), redirect_stderr(err):
            cli.main()
        status: object = 0
    except SystemExit as stop:
        status = stop.code
    finally:
        sys.argv = before
    said = LINE.fullmatch(err.getvalue())
    if status in (0, None):
        return "is taken"
    if said is None or status != 1:
        return f"ends with status {status} and says {err.getvalue()!r}"
    return f"prints {out.getvalue()!r}" if out.getvalue() else _of_line(said[1])


def of_request(app: Any, body: bytes, headers: dict[str, str] | None = None, address: str = ADDRESS) -> str:
    """What is wrong with how a server refuses a body: a 4xx and one line as JSON."""
    status, said = ask(app, body, headers, address)
    if not 400 <= status < 500:
        return f"is answered with {status}: {said[:200]!r}"
    try:
        line = json.loads(said)["error"]
    except (ValueError, KeyError, TypeError):
        return f"is refused with {said[:200]!r}"
    return _of_line(line)


def ask(
    app: Any, body: bytes, headers: dict[str, str] | None = None, address: str = ADDRESS, method: str = "POST"
) -> tuple[int, bytes]:
    """Status and body of the answer of an ASGI application, asked in this process."""
    path, _, query = address.partition("?")
    named = {"host": "127.0.0.1", "content-length": str(len(body))} | {
        name.lower(): value for name, value in (headers or {}).items()
    }
    scope = {"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "scheme": "http",
             "path": path, "raw_path": path.encode(), "query_string": query.encode(), "root_path": "",
             "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 2),
             "headers": [(name.encode(), value.encode("latin-1")) for name, value in named.items()]}  # fmt: skip
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    asyncio.run(app(scope, receive, send))
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:])


def _of_line(line: str) -> str:
    """What is wrong with a line that refuses."""
    if SCRAP.search(line):
        return f"names a temporary file: {line}"
    if not line.isprintable():
        return f"says more than one line: {line!r}"
    if f"run again with {DEBUG}" in line:
        return f"is refused by the last resort: {line}"
    return f"says {len(line)} letters: {line[:100]}" if len(line) > LONGEST else ""
