"""Bodies of requests while they arrive: none takes a place among the requests under way before it is whole."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from twinlatent.serve.refusals import Refusal
from twinlatent.serve.settings import ServeSettings

if TYPE_CHECKING:
    from starlette.requests import Request

GONE = 499
"""Status of a request that nobody waits for any more; it is counted, and reaches nobody."""


class Receiver:
    """Takes in bodies, as far as they are within the limits of size and time and fit into memory together.

    A body that is slow holds what has arrived of it and nothing else. All methods are called in the thread of the event
    loop.
    """

    def __init__(self, settings: ServeSettings) -> None:
        """Set up; the settings have the limits."""
        self._settings, self._held = settings, 0

    @asynccontextmanager
    async def body(self, request: "Request") -> AsyncIterator[bytes]:
        """The whole body of a request, which counts as held within the block.

        Raises:
            Refusal: it is compressed, too large, does not arrive in time, whoever sends it goes away, or the bodies of
                others leave no room.
        """
        settings, most = self._settings, self._settings.most_bytes
        if request.headers.get("content-encoding", "identity") != "identity":
            raise Refusal(415, "the body is compressed; send it as it is, without Content-Encoding")
        announced = request.headers.get("content-length", "")
        if announced.isdecimal() and int(announced) > most:
            raise _too_many_bytes(most)
        pieces, mine = [], 0
        try:
            async for piece in _pieces(request, settings.body_seconds):
                pieces.append(piece)
                mine += len(piece)
                self._held += len(piece)
                if mine > most:
                    raise _too_many_bytes(most)
                if self._held > settings.most_held:
                    raise Refusal(503, "there is no room for the body; ask again in a second", {"Retry-After": "1"})
            whole = b"".join(pieces)
            pieces.clear()
            yield whole
        finally:
            self._held -= mine


async def _pieces(request: "Request", seconds: float) -> AsyncIterator[bytes]:
    """A body as it arrives, all of it within so many seconds."""
    from starlette.requests import ClientDisconnect

    stream, until = request.stream(), asyncio.get_running_loop().time() + seconds
    while True:
        try:
            async with asyncio.timeout_at(until):
                piece = await anext(stream)
        except StopAsyncIteration:
            return
        except TimeoutError:
            raise Refusal(408, f"the body did not arrive within {seconds:g} s; send it faster") from None
        except ClientDisconnect:
            raise Refusal(GONE, "whoever asked went away; ask again") from None
        yield piece


def _too_many_bytes(most: int) -> Refusal:
    return Refusal(413, f"the body has more than {most:,} bytes; send fewer or smaller images a request")
