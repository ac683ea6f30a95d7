"""Connections that do not get on: a request that is begun must have its head whole in time."""

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_SECONDS = 10.0
"""How long a connection may take until the head of a request is whole."""


def punctual(seconds: float = HEAD_SECONDS) -> "type[H11Protocol]":
    """uvicorn's HTTP/1.1, which by itself waits for ever for who connects and says nothing, or half a head.

    Args:
        seconds: from a connection, or the first bytes of a further request on it, until its head is whole; then the
            connection is closed.
    """
    from uvicorn.protocols.http.h11_impl import H11Protocol

    class Punctual(H11Protocol):
        """HTTP/1.1 of one connection."""

        _alarm: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._expect()

        def data_received(self, data: bytes) -> None:
            if not self._asked:
                self._expect()
            super().data_received(data)
            if self._asked:
                self._calm()

        def connection_lost(self, exc: Exception | None) -> None:
            self._calm()
            super().connection_lost(exc)

        @property
        def _asked(self) -> bool:
            """Whether a request is under way, whose body has a limit of its own."""
            return self.cycle is not None and not self.cycle.response_complete

        def _expect(self) -> None:
            if self._alarm is None:
                self._alarm = self.loop.call_later(seconds, self.transport.close)

        def _calm(self) -> None:
            if self._alarm is not None:
                self._alarm.cancel()
                self._alarm = None

    return Punctual
