"""A connection is closed unless the head of a request is whole in time; bodies and answers have their own."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import uvicorn

from twinlatent.serve.connections import punctual

SECONDS = 0.3
LARGE = 20_000_000
"""Bytes of an answer, more than the system holds for who does not read."""
HEAD = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n"


async def slow(scope: dict[str, Any], receive: Callable[[], Awaitable[dict[str, Any]]], send: Any) -> None:
    """Answers when the body is whole, and after a while."""
    if scope["type"] != "http":
        return
    while (await receive())["more_body"]:
        pass
    if scope["path"] == "/large":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"connection", b"close")]})
        await send({"type": "http.response.body", "body": bytes(LARGE)})
        return
    await asyncio.sleep(2 * SECONDS)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


def talk(
    *said: bytes, pause: float = 0.0, answers: int = 0, after: float = 0.0, reading: float = 10
) -> tuple[bytes, float]:
    """What a server answers to pieces with pauses between, until it closes or so many answers came; and seconds.

    It is read only after a while.
    """

    async def whole() -> tuple[bytes, float]:
        server = uvicorn.Server(
            uvicorn.Config(slow, port=0, http=punctual(SECONDS, reading), ws="none", lifespan="off", log_level="error")
        )
        serving = asyncio.create_task(server.serve())
        while not server.started:
            await asyncio.sleep(0.01)
        reader, writer = await asyncio.open_connection(*server.servers[0].sockets[0].getsockname())
        began, heard = time.monotonic(), bytearray()

        async def speak() -> None:
            for piece in said:
                writer.write(piece)
                await asyncio.sleep(pause)

        speaking = asyncio.create_task(speak())
        await asyncio.sleep(after)
        try:
            async with asyncio.timeout(10):
                while (not answers or heard.count(b"200 OK") < answers) and (piece := await reader.read(100_000)):
                    heard += piece
        except ConnectionError:
            pass  # it was closed while we spoke
        passed = time.monotonic() - began
        speaking.cancel()
        writer.close()
        server.should_exit = True
        await serving
        return bytes(heard), passed

    return asyncio.run(whole())


@pytest.mark.parametrize(
    "said",
    [
        pytest.param((), id="nothing"),
        pytest.param((HEAD[:20],), id="half a head"),
        pytest.param(tuple(bytes([letter]) for letter in HEAD[:30]), id="letter by letter"),
    ],
)
def test_who_does_not_get_to_a_request_is_closed(said: tuple[bytes, ...]) -> None:
    heard, passed = talk(*said, pause=SECONDS / 10)
    assert (heard, SECONDS <= passed < 5) == (b"", True)


def test_slow_bodies_and_answers_are_waited_for() -> None:
    assert talk(HEAD, b"x", b"y", pause=2 * SECONDS, answers=1)[0].endswith(b"ok")


def test_the_next_head_must_be_whole_in_time_too() -> None:
    heard, _ = talk(HEAD + b"xy", *(bytes([letter]) for letter in HEAD), pause=SECONDS / 4)
    assert heard.count(b"200 OK") == 1


def test_requests_that_come_together_are_all_answered() -> None:
    assert talk((HEAD + b"xy") * 3, answers=3)[0].count(b"200 OK") == 3


@pytest.mark.parametrize(("reading", "whole"), [(10, True), (SECONDS, False)])
def test_who_does_not_read_an_answer_is_given_up(reading: float, whole: bool) -> None:
    heard, _ = talk(HEAD.replace(b" / ", b" /large ") + b"xy", after=3 * SECONDS, reading=reading)
    assert (len(heard) > LARGE) is whole
