"""Connections that do not get on: the head of a request must be whole in time, and an answer read."""

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_SECONDS = 10.0
"""How long a connection may take until the head of a request is whole."""
ANSWER_SECONDS = 60.0
"""How long an answer may take to be read."""


def punctual(seconds: float = HEAD_SECONDS, reading: float = ANSWER_SECONDS) -> "type[H11Protocol]":
    """uvicorn's HTTP/1.1, which by itself waits for ever for who says nothing, or half a head, or reads no answer.

    Args:
        seconds: from a connection, or the first bytes of a further request on it, until its head is whole; then the
            connection is closed.
        reading: from the end of an answer until it is read; then the connection is reset.
    """
    from uvicorn.protocols.http.h11_impl import H11Protocol

    class Punctual(H11Protocol):
        """HTTP/1.1 of one connection."""

        _alarm: asyncio.TimerHandle | None = None
        _unread: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._expect()

        def data_received(self, data: bytes) -> None:
            if not self._asked:
                self._expect()
            super().data_received(data)
            if self._asked:
                self._calm()

        def on_response_complete(self) -> None:
            if self._unread is not None:
                self._unread.cancel()
            if self.transport.get_write_buffer_size():
                self._unread = self.loop.call_later(reading, self._give_up)
            super().on_response_complete()

        def connection_lost(self, exc: Exception | None) -> None:
            self._calm()
            if self._unread is not None:
                self._unread.cancel()
            super().connection_lost(exc)

        @property
        def _asked(self) -> bool:
            """Whether a request is under way, whose body has a limit of its own."""
            return self.cycle is not None and not self.cycle.response_complete

        def _expect(self) -> None:
            if self._alarm is None:
                self._alarm = self.loop.call_later(seconds, self.transport.close)

        def _give_up(self) -> None:
            if self.transport.get_write_buffer_size():
                self.transport.abort()

        def _calm(self) -> None:
            if self._alarm is not None:
                self._alarm.cancel()
                self._alarm = None

    return Punctual
