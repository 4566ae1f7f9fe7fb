"""Whom the bridge asks: the server at an address."""

from __future__ import annotations

import http.client
import os
import socket
import ssl
from typing import Final, NamedTuple, Protocol
from urllib.parse import urlsplit

from mixkit.errors import MixError

__all__ = ["Address", "Link", "Peer"]

_CONNECT: Final = 10.0
"""Seconds in which the server must take a connection."""
_PROXIES: Final = ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy")


class Link(NamedTuple):
    """A connection.

    Attributes:
        connection: to the server, open.
        headers: of each request on it.
    """

    connection: http.client.HTTPConnection
    headers: dict[str, str]


class Peer(Protocol):
    """A server.

    Attributes:
        path: what the paths of its routes begin with.
        refused: what to do when it takes no token.
    """

    path: str
    refused: str

    def connect(self) -> Link:
        """A new connection to it.

        Raises:
            MixError: there is none.
        """
        ...


class Address:
    """The server of a URL.

    Args:
        url: as https://agents.example.
        token: that it takes.

    Raises:
        MixError: the address is none of a server.
    """

    refused = "its token goes into MIXKIT_SERVER_TOKEN"

    def __init__(self, url: str, token: str | None) -> None:
        try:
            parts = urlsplit(url)
            self._where = parts.hostname or "", parts.port
        except ValueError:
            parts = urlsplit("")
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise MixError(f"expected the URL of a server, as https://agents.example.org, found {url!r:.200}")
        if parts.username is not None:
            raise MixError("expected a URL without a user; the token goes into MIXKIT_SERVER_TOKEN")
        if token and not (token.isascii() and token.isprintable()):
            raise MixError("expected a token of printable ASCII characters, found others")
        self._secure = parts.scheme == "https"
        self.path = parts.path.rstrip("/")
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}

    def connect(self) -> Link:
        """See `Peer`."""
        kind = http.client.HTTPSConnection if self._secure else http.client.HTTPConnection
        connection = kind(*self._where, timeout=_CONNECT)
        try:
            connection.connect()
        except OSError as exc:
            raise MixError(f"{self._where[0]} cannot be asked: {_why(exc)}{_proxy()}") from None
        # Each request is given a connection that is open, or none.
        connection.auto_open = 0
        # Calls take as long as they take; that the other side is gone is told by the system.
        connection.sock.settimeout(None)
        connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return Link(connection, self._headers)


def _why(exc: OSError) -> str:
    if isinstance(exc, ssl.SSLCertVerificationError):
        return (
            f"its certificate is not trusted, {exc.verify_message}; SSL_CERT_FILE names authorities to trust"
        )
    if isinstance(exc, ssl.SSLError):
        return f"no TLS can be spoken with it, {exc.reason}; is it http://?"
    if isinstance(exc, TimeoutError):
        return f"it took no connection within {_CONNECT:g} s"
    return exc.strerror or str(exc)


def _proxy() -> str:
    name = next((name for name in _PROXIES if os.environ.get(name)), None)
    return "" if name is None else f"; {name} is not used here: the server must be reached directly"
