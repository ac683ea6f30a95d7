"""Bodies that dawdle take no place, and are given up; asked of the application itself, without a network."""

import asyncio
import io
import json
from typing import Any

import numpy as np
import pytest

from twinlatent.data import Split
from twinlatent.method.detector import Detector
from twinlatent.serve.app import create_app
from twinlatent.serve.settings import ServeSettings


async def asked(
    app: Any, pieces: list[bytes], pause: float = 0.0, *, ends: bool = False, version: str = "1.1", **headers: str
) -> list[dict[str, Any]]:
    """What comes of a POST whose body comes in pieces, with a pause before each; the last one says so if it `ends`."""
    headers = {"transfer_encoding": "chunked"} | headers
    scope = {"type": "http", "asgi": {"version": "3.0"}, "http_version": version, "method": "POST", "scheme": "http",
             "path": "/v1/models/digits/detect", "raw_path": b"", "query_string": b"", "root_path": "",
             "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 2),
             "headers": [(k.replace("_", "-").encode(), v.encode()) for k, v in headers.items()]}  # fmt: skip
    left, sent = list(pieces), []

    async def receive() -> dict[str, Any]:
        if not left:
            await asyncio.sleep(60)
        await asyncio.sleep(pause)
        piece = left.pop(0)
        return {"type": "http.request", "body": piece, "more_body": bool(left) or not ends}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await app(scope, receive, send)
    return sent


def call(app: Any, pieces: list[bytes], pause: float = 0.0, **how: Any) -> tuple[int, Any]:
    """Status and answer."""
    sent = asyncio.run(asked(app, pieces, pause, **how))
    return sent[0]["status"], json.loads(b"".join(message.get("body", b"") for message in sent[1:]))


def npy(images: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, images.numpy())
    return buffer.getvalue()


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
    assert call(impatient, [b""], ends=True) == (
        500,
        {"error": "the server failed (ZeroDivisionError); its own messages say more"},
    )
    assert "by accident" in capsys.readouterr().err


def test_bodies_that_still_arrive_take_no_place(trained_detector: Detector, digits: Split) -> None:
    """Three senders stall where one request may be under way; others are answered, and the three are given up."""
    app = create_app({"digits": trained_detector}, ServeSettings(body_seconds=1.5, most_under_way=1))
    body = npy(digits.test.images[:2])

    async def all_at_once() -> tuple[int, list[int]]:
        stalled = [asyncio.create_task(asked(app, [body[:50]])) for _ in range(3)]
        await asyncio.sleep(0)
        whole = await asked(app, [body], ends=True)
        assert not any(one.done() for one in stalled)
        return whole[0]["status"], [one[0]["status"] for one in await asyncio.gather(*stalled)]

    assert asyncio.run(all_at_once()) == (200, [408, 408, 408])


def test_bodies_together_must_have_room(trained_detector: Detector, digits: Split) -> None:
    body = npy(digits.test.images[:2])
    app = create_app({"digits": trained_detector}, ServeSettings(most_bytes=len(body), most_bodies=1))

    async def two() -> tuple[list[dict[str, Any]], list[dict[str, Any]], list[dict[str, Any]]]:
        first = asyncio.create_task(asked(app, [body[:50], body[50:]], 0.2, ends=True))
        await asyncio.sleep(0.3)
        second = await asked(app, [body], ends=True)
        return await first, second, await asked(app, [body], ends=True)

    first, second, third = asyncio.run(two())
    assert [sent[0]["status"] for sent in (first, second, third)] == [200, 503, 200]
    assert (b"retry-after", b"1") in second[0]["headers"]
    assert b"there is no room for the body" in second[1]["body"]


def test_what_is_not_read_ends_the_connection(impatient: Any) -> None:
    """Else whoever trickles on after a refusal would keep it for ever."""
    late = asyncio.run(asked(impatient, [b"x"]))[0]
    large = asyncio.run(asked(impatient, [b"x" * 101]))[0]
    whole = asyncio.run(asked(impatient, [b"x"], ends=True))[0]
    of_http_2 = asyncio.run(asked(impatient, [b"x"], version="2"))[0]
    assert [one["status"] for one in (late, large, whole)] == [408, 413, 415]
    assert [(b"connection", b"close") in one["headers"] for one in (late, large, whole)] == [True, True, False]
    assert (of_http_2["status"], (b"connection", b"close") in of_http_2["headers"]) == (408, False)
