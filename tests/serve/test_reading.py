"""Bodies that dawdle, asked of the application itself, without a network."""

import asyncio
import json
from typing import Any

import pytest

from twinlatent.data import Split
from twinlatent.method.detector import Detector
from twinlatent.serve.app import create_app
from twinlatent.serve.settings import ServeSettings


def call(app: Any, pieces: list[bytes], pause: float = 0.0, **headers: str) -> tuple[int, Any]:
    """POST a body that comes in pieces, with a pause after each; the last one never says that it is the last."""
    scope = {"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "scheme": "http",
             "path": "/v1/models/digits/detect", "raw_path": b"", "query_string": b"", "root_path": "",
             "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 2),
             "headers": [(k.replace("_", "-").encode(), v.encode()) for k, v in headers.items()]}  # fmt: skip
    left, sent = list(pieces), []

    async def receive() -> dict[str, Any]:
        if not left:
            await asyncio.sleep(60)
        await asyncio.sleep(pause)
        return {"type": "http.request", "body": left.pop(0), "more_body": True}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    asyncio.run(app(scope, receive, send))
    return sent[0]["status"], json.loads(b"".join(message.get("body", b"") for message in sent[1:]))


@pytest.fixture
def impatient(trained_detector: Detector, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr("twinlatent.serve.gate.PATIENCE", 0.05)
    return create_app({"digits": trained_detector}, ServeSettings(body_seconds=0.1, most_bytes=100))


def test_a_body_that_does_not_arrive_is_given_up(impatient: Any) -> None:
    status, said = call(impatient, [b"\x89PNG"])
    assert (status, said) == (408, {"error": "the body did not arrive within 0.1 s; send it faster"})


def test_a_body_that_trickles_in_is_given_up(impatient: Any) -> None:
    assert call(impatient, [b"x"] * 50, pause=0.02)[0] == 408


def test_a_body_that_is_announced_too_large_is_not_waited_for(impatient: Any) -> None:
    status, said = call(impatient, [b"x"], content_length="101")
    assert (status, "more than 100 bytes" in said["error"]) == (413, True)


def test_a_length_that_is_none_is_left_alone(impatient: Any, digits: Split) -> None:
    assert call(impatient, [b"x" * 101], content_length="²")[0] == 413


def test_what_fails_unexpectedly_is_a_line_too(impatient: Any, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    async def fails(*_: Any) -> None:
        raise ZeroDivisionError("by accident")

    monkeypatch.setattr(impatient.state.service, "images", fails)
    assert call(impatient, []) == (500, {"error": "the server failed (ZeroDivisionError); its own messages say more"})
    assert "by accident" in capsys.readouterr().err
