"""Serving an application until it is told to end."""

import ipaddress
import signal
import socket
from typing import TYPE_CHECKING, Any

from twinlatent.errors import TwinlatentError
from twinlatent.serve.connections import punctual

if TYPE_CHECKING:
    from fastapi import FastAPI

BACKLOG = 128
"""Connections that may wait to be taken."""
DRAIN_SECONDS = 30
"""How long requests that are under way may go on after SIGTERM."""


def is_loopback(host: str) -> bool:
    """Whether only this machine can ask under that address.

    Example:
        >>> [is_loopback(host) for host in ("localhost", "127.0.0.1", "::1", "0.0.0.0", "192.168.0.2", "example.org")]
        [True, True, True, False, False, False]
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def bound(host: str, port: int) -> socket.socket:
    """A socket of that address, where nobody can connect yet; port 0 is a free one.

    Raises:
        TwinlatentError: the port is taken, or the address is none of this machine.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        made = socket.socket(family, kind, protocol)
    except OSError as error:
        raise TwinlatentError(f"--host {host} is no address ({error.strerror}); give one such as 127.0.0.1") from None
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(address)
    except OSError as error:
        made.close()
        raise _unusable(host, port, error) from None
    return made


def listen(at: socket.socket) -> None:
    """Take connections from now on, which wait until `run`.

    Raises:
        TwinlatentError: another program listens at that port by now.
    """
    try:
        at.listen(BACKLOG)
    except OSError as error:
        host, port = at.getsockname()[:2]
        raise _unusable(host, port, error) from None


def _unusable(host: str, port: int, error: OSError) -> TwinlatentError:
    return TwinlatentError(f"{host} port {port} cannot be used ({error.strerror}); give another --port")


def run(app: "FastAPI", listening: socket.socket) -> None:
    """Serve the application on a socket until SIGTERM or Ctrl-C; requests that are under way are answered first."""
    import uvicorn

    def ended(*_: Any) -> None:
        """After SIGTERM uvicorn has drained, and raises the signal once more."""

    before = signal.signal(signal.SIGTERM, ended)
    try:
        config = uvicorn.Config(app, http=punctual(), ws="none", log_level="error", access_log=False,
                                server_header=False, lifespan="on", proxy_headers=False, backlog=BACKLOG,
                                timeout_graceful_shutdown=DRAIN_SECONDS)  # fmt: skip
        uvicorn.Server(config).run(sockets=[listening])
    finally:
        signal.signal(signal.SIGTERM, before)
