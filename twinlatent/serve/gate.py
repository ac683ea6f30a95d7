"""What every request passes: who may ask, which headers answers get, and how long they took."""

import asyncio
import hmac
import json
import time
import traceback
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from typing import Any
from urllib.parse import urlsplit

from twinlatent.serve.receiving import GONE
from twinlatent.serve.refusals import Refusal
from twinlatent.serve.service import Service

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

POLICY = ("default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
          "frame-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")  # fmt: skip
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-store",
}
"""Of every answer that does not say otherwise itself."""
THROWN_AWAY, PATIENCE = 64 * 2**20, 3.0
"""Bytes and seconds of a refused body that are read, so that its sender gets to read why."""
LATE = 408
"""Status of a request whose body was waited for long enough."""


class Gate:
    """An ASGI application around another: refuses who may not ask, adds headers, counts."""

    def __init__(self, app: Application, service: Service, open_to_all: Collection[str]) -> None:
        """Set up.

        Args:
            app: the application behind it.
            service: whose settings say who may ask, and where requests are counted.
            open_to_all: addresses that need no token.
        """
        self.app, self.service, self.open_to_all = app, service, frozenset(open_to_all)

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":
            return  # no other protocol is spoken
        began, passing = time.perf_counter(), _Passing(scope, receive, send)
        asked = {**scope, "method": "GET"} if scope["method"] == "HEAD" else scope  # the server leaves out the body
        try:
            self._check(asked)
            await self.app(asked, passing.receive, passing.send)
        except Refusal as refusal:
            await passing.refuse(refusal)
        except Exception as error:
            traceback.print_exc()
            if passing.status != GONE:
                raise
            await passing.refuse(Refusal(500, f"the server failed ({type(error).__name__}); its own messages say more"))
        route = getattr(asked.get("route"), "path", "none")  # a template, so that there are few of them
        self.service.metrics.requests.labels(route, str(passing.status)).inc()
        self.service.metrics.seconds.labels(route).observe(time.perf_counter() - began)

    def _check(self, scope: MutableMapping[str, Any]) -> None:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        settings, host = self.service.settings, headers.get("host", "").lower()
        if settings.hosts is not None and _without_port(host) not in settings.hosts:
            raise Refusal(421, f"the server is not called {host[:64]!r}; ask it as {settings.hosts[0]}")
        if settings.token is None:
            origin = headers.get("origin")
            if origin is not None and _host_of(origin) != host:
                raise Refusal(403, "pages of other servers may not ask this one; ask from its own page, or a program")
        elif scope["path"] not in self.open_to_all:
            scheme, _, given = headers.get("authorization", "").partition(" ")
            same = hmac.compare_digest(given.encode(), settings.token.get_secret_value().encode())
            if scheme.lower() != "bearer" or not same:
                raise Refusal(401, "the token is missing, or another; send the header Authorization: Bearer TOKEN",
                              {"WWW-Authenticate": "Bearer"})  # fmt: skip


class _Passing:
    """One request on its way through: its body inwards, its answer outwards.

    Attributes:
        status: of the answer; `GONE` while there is none.
    """

    def __init__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        headers = dict(scope["headers"])
        self._receive, self._send, self.status = receive, send, GONE
        self._whole = headers.get(b"content-length", b"0") == b"0" and b"transfer-encoding" not in headers
        self._one = scope.get("http_version", "1.1").startswith("1")  # others have no such header
        self._waits = headers.get(b"expect", b"").lower() == b"100-continue"

    async def receive(self) -> Message:
        self._waits, message = False, await self._receive()
        self._whole = self._whole or message["type"] != "http.request" or not message.get("more_body", False)
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            if self.status >= 400 and self.status != LATE and not self._waits:
                await self._throw_away()
            if not self._whole and self._one:  # what is still sent is no request
                message["headers"] = [*message["headers"], (b"connection", b"close")]
            there = {name.lower() for name, _ in message["headers"]}
            message["headers"] = [*message["headers"], *(
                (name.encode(), value.encode()) for name, value in HEADERS.items() if name.encode() not in there
            )]  # fmt: skip
        await self._send(message)

    async def refuse(self, refusal: Refusal) -> None:
        body = json.dumps({"error": str(refusal)}).encode()
        said = {"content-type": "application/json", "content-length": str(len(body)), **refusal.headers}
        headers = [(name.lower().encode(), value.encode()) for name, value in said.items()]
        await self.send({"type": "http.response.start", "status": refusal.status, "headers": headers})
        await self.send({"type": "http.response.body", "body": body})

    async def _throw_away(self) -> None:
        """Read what is left of a body: who still sends would not see an answer before the connection is closed."""
        read = 0
        try:
            async with asyncio.timeout(PATIENCE):
                while not self._whole and read < THROWN_AWAY:
                    read += len((await self.receive()).get("body", b""))
        except TimeoutError:
            pass


def _without_port(host: str) -> str:
    return host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() else host


def _host_of(origin: str) -> str | None:
    """Host and port of an origin; None where it is malformed."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return None
