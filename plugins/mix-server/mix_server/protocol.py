"""HTTP connections as uvicorn keeps them, but that heads have an end and nothing behind it is of them, that what is no
HTTP is told so in JSON, that who is refused while they send can read so, and that none holds up a server that stops."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import unquote

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from mix_server.cycle import Cycle
from mix_server.errors import message_body

__all__ = ["Protocol"]

_LONGEST_HEAD: Final = 262_144
"""Bytes without the end of a head, a part of a body, or the end of one: uvicorn keeps any number of them."""
_ANSWER: Final = (
    b"HTTP/1.1 %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%b"
)

_PATIENCE: Final = 2.0
"""Seconds in which a client must take something of its answer while the server stops."""
_QUIET: Final = 2.0
"""Seconds after which a client sends no more, if it has sent nothing in them; while the server stops a part of it."""
_ROUNDS: Final = 15
"""So many of them a client is heard that was refused."""
_MOST_DROPPED: Final = 128 * 1024 * 1024
"""Bytes that such a client may send."""
_MOST_OF_HEAD: Final = 1024 * 1024
"""And of a head, which no client means to be so long."""


class _Dropped(list[tuple[bytes, bytes]]):
    """Trailers: read, and kept nowhere."""

    def append(self, each: tuple[bytes, bytes]) -> None:
        pass


def _parts_of(url: bytes, root: str) -> tuple[str, bytes, bytes]:
    """Path, path as it was sent, and query string of a target. `HttpParserInvalidURLError` if it is none."""
    parsed = httptools.parse_url(url)
    raw: bytes = parsed.path
    path = raw.decode("ascii")
    return root + (unquote(path) if "%" in path else path), root.encode("ascii") + raw, parsed.query or b""


def _drop(data: bytes) -> None:
    """Nobody is there who would read it."""


class _Transport:
    """A transport that is closed when its client sends no more: `end` says so, in place of `close`."""

    def __init__(self, own: asyncio.Transport, end: Callable[[], None]) -> None:
        self.own = own
        self.ending = False
        # PERF: asked for with every answer.
        self.write: Callable[[bytes], None] = own.write
        self.close = end

    def is_closing(self) -> bool:
        """Whether nothing is to be written any more."""
        return self.ending or self.own.is_closing()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.own, name)


class Protocol(HttpToolsProtocol):
    """A connection.

    uvicorn waits for all connections to end, and one ends only when its client has taken what was written to it. That
    may be never: so the one whose client takes nothing is broken off.

    Most clients read the answer when they have sent all of their request. The system drops what a client has not read
    yet if it sends more to a connection that is closed: so one that is refused before its body has come is heard for a
    while, and what it sends is dropped.
    """

    transport: Any

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._url, self._parts = b"", ("", b"", b"")
        self._quiet_since: float | None = None
        self._idle = 0
        self._dropped = 0
        self._most_dropped = _MOST_DROPPED
        self._stops = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Somebody has come."""
        super().connection_made(transport)
        self.transport = _Transport(transport, self._end)

    def _end(self) -> None:
        """Close the connection, when the client has sent what it began to."""
        if self.cycle is not None and self.cycle.more_body:
            self._linger()
        elif not self.transport.ending:
            self.transport.own.close()

    def _linger(self) -> None:
        """Let the client send for a while, and read that it need not."""
        own = self.transport.own
        if self.transport.ending or own.is_closing():
            return
        self.transport.ending = True
        # What is being answered besides comes to nobody any more.
        self.transport.write = _drop
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self.flow.resume_reading()
        # Who waits for the end of the answer has it. TLS has no such end.
        if own.can_write_eof():
            own.write_eof()
        self._look_for_more(_ROUNDS, -1)

    def _look_for_more(self, rounds: int, heard: int) -> None:
        own = self.transport.own
        if not rounds or heard == self._dropped:
            own.close()
        elif not own.is_closing():
            seconds = _QUIET / 4 if self._stops else _QUIET
            self.loop.call_later(seconds, self._look_for_more, rounds - 1, self._dropped)

    def data_received(self, data: bytes) -> None:
        """Bytes have come."""
        if self.transport.ending:
            self._dropped += len(data)
            if self._dropped > self._most_dropped:
                self.transport.own.close()
            return
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
            self._most_dropped = _MOST_OF_HEAD
            self._refuse(
                b"431 Request Header Fields Too Large", message, cycle is None or cycle.response_complete
            )

    def on_headers_complete(self) -> None:
        """The head is whole."""
        self._check_target()
        self._begin()
        # NOTE: uvicorn would lay what stands behind the body to the headers, where nobody on the way has seen it
        # (RFC 9110, 6.5.1).
        self.headers = _Dropped()

    def _begin(self) -> None:
        """Have the request answered, or let it wait for the answer to the one before it.

        NOTE: as uvicorn does, which looks besides whether WebSockets are spoken and a limit is reached: neither is set.
        """
        parser, scope, url = self.parser, self.scope, self.url
        version = parser.get_http_version()
        if version != "1.1":
            scope["http_version"] = version
        scope["method"] = parser.get_method().decode("ascii")
        if url != self._url:
            self._parts, self._url = _parts_of(url, self.root_path), url
        scope["path"], scope["raw_path"], scope["query_string"] = self._parts
        before = self.cycle
        self.cycle = cycle = Cycle(
            scope=scope,
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=False,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=self.expect_100_continue,
            keep_alive=version != "1.0" and parser.should_keep_alive(),
            on_response=self.on_response_complete,
        )
        if before is None or before.response_complete:
            self._start_asgi_task(cycle, self.app)
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((cycle, self.app))

    def on_response_complete(self) -> None:
        """The request is answered: the next one may come."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
            return
        # PERF: one timer for as long as requests come, instead of one for each, which is cancelled by the next.
        self._quiet_since = self.loop.time()
        if self.timeout_keep_alive_task is None:
            self._look_for_another(self.timeout_keep_alive)

    def _unset_keepalive_if_required(self) -> None:
        self._quiet_since = None

    def _look_for_another(self, seconds: float) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(seconds, self.timeout_keep_alive_handler)

    def timeout_keep_alive_handler(self) -> None:
        """Close the connection if no request has come for a while."""
        self.timeout_keep_alive_task = None
        if self._quiet_since is None or self.transport.is_closing():
            return
        left = self._quiet_since + self.timeout_keep_alive - self.loop.time()
        if left > 0:
            self._look_for_another(left)
        else:
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nobody is there any more."""
        if self.timeout_keep_alive_task is not None:
            self.timeout_keep_alive_task.cancel()
        super().connection_lost(exc)

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
        self._linger()

    def _unsupported_upgrade_warning(self) -> None:
        # Who offers another protocol is served in this one, and may fill no log with it.
        pass

    def shutdown(self) -> None:
        """The server stops."""
        self._stops = True
        super().shutdown()
        self._look(None)

    def _look(self, before: int | None) -> None:
        left = self.transport.get_write_buffer_size()
        if self.transport.ending and before is not None and not left:
            self.transport.own.close()
        elif before is not None and 0 < before <= left:
            self.transport.abort()
        elif self in self.connections:
            self.loop.call_later(_PATIENCE, self._look, left)
