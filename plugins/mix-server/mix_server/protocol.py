"""HTTP connections as uvicorn keeps them, but that heads have an end and nothing behind it is of them, that what is no
HTTP is told so in JSON, and that none holds up a server that stops."""

from __future__ import annotations

from typing import Any, Final

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from mix_server.errors import message_body

__all__ = ["Protocol"]

_LONGEST_HEAD: Final = 262_144
"""Bytes without the end of a head, a part of a body, or the end of one: uvicorn keeps any number of them."""
_ANSWER: Final = (
    b"HTTP/1.1 %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%b"
)

_PATIENCE: Final = 2.0
"""Seconds in which a client must take something of its answer while the server stops."""


class _Dropped(list[tuple[bytes, bytes]]):
    """Trailers: read, and kept nowhere."""

    def append(self, each: tuple[bytes, bytes]) -> None:
        pass


class Protocol(HttpToolsProtocol):
    """A connection.

    uvicorn waits for all connections to end, and one ends only when its client has taken what was written to it. That
    may be never: so the one whose client takes nothing is broken off.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._idle = 0

    def data_received(self, data: bytes) -> None:
        """Bytes have come."""
        before = self.cycle
        super().data_received(data)
        cycle = self.cycle
        if cycle is not before or (cycle is not None and cycle.message_event.is_set()):
            self._idle = 0
            return
        # Nothing that anybody could begin with: a head that goes on, or what stands between and behind chunks.
        self._idle += len(data)
        if self._idle > _LONGEST_HEAD and not self.transport.is_closing():
            message = f"expected at most {_LONGEST_HEAD} bytes in the head of a request"
            self._refuse(
                b"431 Request Header Fields Too Large", message, cycle is None or cycle.response_complete
            )

    def on_headers_complete(self) -> None:
        """The head is whole."""
        self._check_target()
        super().on_headers_complete()
        # NOTE: uvicorn would lay what stands behind the body to the headers, where nobody on the way has seen it
        # (RFC 9110, 6.5.1).
        self.headers = _Dropped()

    def _check_target(self) -> None:
        """Refuse a target that others on the way may have read as another one (RFC 9112, 3.2).

        A path is what uvicorn makes of it, unless it begins with two slashes, has a fragment, or an authority. Whoever
        is asked by a whole URL is asked by its host.
        """
        url = self.url
        if url.startswith(b"/") and not url.startswith(b"//") and b"#" not in url:
            return
        scheme, _, rest = url.partition(b"://")
        hosts = [value.strip() for name, value in self.headers if name == b"host"]
        if scheme.lower() in (b"http", b"https") and hosts and b"#" not in url and b"@" not in url:
            host, slash, path = rest.partition(b"/")
            if slash and not path.startswith(b"/") and host.lower() == hosts[0].lower():
                return
        raise httptools.HttpParserInvalidURLError

    def send_400_response(self, msg: str) -> None:
        """What has come is no request."""
        cycle = self.cycle
        # NOTE: an answer that is being sent must not have another one in it.
        self._refuse(
            b"400 Bad Request",
            "expected a request in HTTP/1.1, found what is none",
            cycle is None or cycle.response_complete or not cycle.response_started,
        )

    def _refuse(self, status: bytes, message: str, says: bool) -> None:
        if says:
            body = message_body(message)
            self.transport.write(_ANSWER % (status, len(body), body))
        self.transport.close()

    def _unsupported_upgrade_warning(self) -> None:
        # Who offers another protocol is served in this one, and may fill no log with it.
        pass

    def shutdown(self) -> None:
        """The server stops."""
        super().shutdown()
        self._look(None)

    def _look(self, before: int | None) -> None:
        left = self.transport.get_write_buffer_size()
        if before is not None and 0 < before <= left:
            self.transport.abort()
        elif self in self.connections:
            self.loop.call_later(_PATIENCE, self._look, left)
