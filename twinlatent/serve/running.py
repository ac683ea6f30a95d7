"""Serving an application until it is told to end."""

import ipaddress
import signal
import socket
from typing import TYPE_CHECKING, Any

from twinlatent.errors import TwinlatentError

if TYPE_CHECKING:
    from fastapi import FastAPI

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
    """A socket that listens there; port 0 is a free one.

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
        made.listen(128)
    except OSError as error:
        made.close()
        raise TwinlatentError(f"{host} port {port} cannot be used ({error.strerror}); give another --port") from None
    return made


def run(app: "FastAPI", listening: socket.socket) -> None:
    """Serve the application on a socket until SIGTERM or Ctrl-C; requests that are under way are answered first."""
    import uvicorn

    def ended(*_: Any) -> None:
        """After SIGTERM uvicorn has drained, and raises the signal once more."""

    before = signal.signal(signal.SIGTERM, ended)
    try:
        config = uvicorn.Config(app, log_level="warning", access_log=False, server_header=False, lifespan="on",
                                proxy_headers=False, ws="none", timeout_graceful_shutdown=DRAIN_SECONDS)  # fmt: skip
        uvicorn.Server(config).run(sockets=[listening])
    finally:
        signal.signal(signal.SIGTERM, before)
