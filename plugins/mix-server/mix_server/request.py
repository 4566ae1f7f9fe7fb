"""A request: Falcon's, with an identity, a caller, and a body that is read under a limit."""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote_from_bytes, unquote_to_bytes

import falcon.asgi
from falcon.request import RequestOptions

from mix_server.caller import Caller, Resource
from mix_server.clients import Clients, Watch
from mix_server.coding import Decoder, coding_of
from mix_server.errors import (
    BadRequest,
    BodyTimeout,
    BodyTooLarge,
    Disconnected,
    HeaderTooLong,
    HeadTooLong,
    TooManyHeaders,
)
from mix_server.first_event import NOTHING_YET, Receive
from mixkit.activities import Kind

__all__ = ["JUDGED", "Request"]

_LONGEST_MEDIA = 1_024
_LONGEST_COOKIE = 16_384
_MOST_HEADERS = 256
_LONGEST_HEAD = 262_144
"""Bytes of all headers; the HTTP server has bounds of its own, or none."""

JUDGED = frozenset((b"if-match", b"if-none-match", b"if-unmodified-since", b"content-range"))
"""Headers that say how or when a request is to be done: not every resource does so."""

_SERVER = Resource()

_RARE = JUDGED | {b"content-encoding", b"prefer", b"x-request-id", b"upgrade", b"transfer-encoding"}

_HOST = re.compile(rb"(?:[A-Za-z0-9._~%!$&'()*+;=-]*|\[[0-9A-Fa-f:.]+\])(?::[0-9]*)?")
"""RFC 9110, 7.2; without a comma, which is what some make of several."""

_ONCE = frozenset((b"host", b"authorization", b"content-type", b"content-length"))
"""Headers that stand once in a request: of two, others on its way may have heeded the other one."""

_HALF = re.compile(rb"%(?![0-9A-Fa-f]{2})")
"""A percent sign that encodes nothing."""

_SANE_ID = re.compile(rb"[A-Za-z0-9][A-Za-z0-9._:-]{0,99}")
"""An id that a caller may choose: it goes into log lines and into a header."""

_SHORT_REST = 65_536
"""Bytes of a body that the HTTP server may read for nothing, rather than that the client must connect again."""


def _made_id() -> str:
    """An identity that no other request has. None tells of another: who counts would know how much others ask."""
    return os.urandom(8).hex()


class Request(falcon.asgi.Request):
    """A request.

    Attributes:
        activity: what is done by it, noted when it is answered; None for what changes nothing.
        about: more of that, as the grant that was given.
        resource: what it is about.
        id: identity of the request, in the answer, in every log line, and the run's.
        caller: who asks; set before the request comes to a resource.
        started: `time.perf_counter()` of its arrival.
        clients: those of the server, of which it is from one; set with `caller`.
        unread: part of the body has not been read yet.
        coded: it has a `Content-Encoding`.
        prefers: it has a `Prefer`.
        judged: it has something that its resource may not know (a query string, a header of `JUDGED`).
    """

    __slots__ = (
        "_first",
        "_more",
        "about",
        "activity",
        "caller",
        "clients",
        "coded",
        "id",
        "judged",
        "prefers",
        "resource",
        "started",
        "unread",
    )

    def __init__(
        self,
        scope: dict[str, Any],
        receive: Receive,
        first_event: Any = None,
        options: RequestOptions | None = None,
    ) -> None:
        query = scope["query_string"]
        if not query.isascii():
            # Falcon decodes the query string as UTF-8 before anything could catch that it is not.
            scope["query_string"] = quote_from_bytes(query, safe="%&=+;/?:@!$'()*,").encode()
        if len(scope["headers"]) > _MOST_HEADERS:
            # Each of a name that was there already makes Falcon copy all before it.
            raise TooManyHeaders(_MOST_HEADERS)
        super().__init__(scope, receive, first_event, options)
        headers = self._asgi_headers
        if sum(map(len, headers)) + sum(map(len, headers.values())) > _LONGEST_HEAD:
            raise HeadTooLong(_LONGEST_HEAD)
        if len(headers) < len(scope["headers"]):
            _refuse_twice(scope["headers"])
        path = scope.get("raw_path") or b""
        if b"%" in path:
            _refuse_path(path)
        host = headers.get(b"host")
        if host is None:
            if scope["http_version"] == "1.1":
                raise BadRequest("expected the header Host")
        elif not _HOST.fullmatch(host):
            raise BadRequest(f"expected a host in the header Host, found {host.decode('latin-1')[:80]!r}")
        # Falcon parses these in time that grows with the square of their length.
        if len(headers.get(b"accept", b"")) > _LONGEST_MEDIA:
            raise HeaderTooLong("accept", _LONGEST_MEDIA)
        if len(headers.get(b"content-type", b"")) > _LONGEST_MEDIA:
            raise HeaderTooLong("content-type", _LONGEST_MEDIA)
        if len(headers.get(b"cookie", b"")) > _LONGEST_COOKIE:
            raise HeaderTooLong("cookie", _LONGEST_COOKIE)
        # PERF: looked up once, since nearly no request has any of this.
        rare = not _RARE.isdisjoint(headers)
        self.coded = rare and b"content-encoding" in headers
        self.prefers = rare and b"prefer" in headers
        if rare and b"upgrade" in headers:
            _refuse_upgrade(headers)
        if rare and b"transfer-encoding" in headers:
            _refuse_codings(headers, scope["http_version"])
        self.judged = bool(query) or (rare and not JUDGED.isdisjoint(headers))
        given = headers.get(b"x-request-id") if rare else None
        self.id = given.decode() if given is not None and _SANE_ID.fullmatch(given) else _made_id()
        self.caller: Caller | None = None
        self.activity: Kind | None = None
        self.about: dict[str, Any] | None = None
        self.resource = _SERVER
        self.clients: Clients | None = None
        self.started = time.perf_counter()
        self._first = first_event
        self._more = receive
        self.unread = bool(first_event and first_event.get("more_body"))

    @property
    def coding(self) -> str | None:
        """What the body is compressed with, None if it is not. `UnsupportedCoding` if that is not done here."""
        return coding_of(self.get_header("Content-Encoding")) if self.coded else None

    def get_cookie_values(self, name: str) -> list[str] | None:
        """The values of the cookies of that name, as they stand there; None if there is none."""
        # NOTE: Falcon has the standard library take out what an older RFC has in values in quotes: browsers send
        # nothing of the kind, and before Python 3.11.10 it takes time that grows with the square of their length.
        found = []
        for pair in (self.get_header("Cookie") or "").split(";"):
            key, equals, value = pair.partition("=")
            if equals and key.strip() == name:
                found.append(value.strip())
        return found or None

    @property
    def cookies(self) -> dict[str, str]:
        """The first value of each name, as it stands there."""
        found: dict[str, str] = {}
        for pair in (self.get_header("Cookie") or "").split(";"):
            key, equals, value = pair.partition("=")
            if equals and key.strip():
                found.setdefault(key.strip(), value.strip())
        return found

    @property
    def ends_connection(self) -> bool:
        """Whether what is unread of the body is too much to be read for the sake of the next request."""
        # NOTE: whoever sends a short body behind its head, as many do, must not find the connection gone meanwhile. One
        # who waits to be told to send it may leave it away now, and what comes instead would be taken for it.
        if (
            self._first is not NOTHING_YET
            or self.get_header("Expect")
            or self.get_header("Transfer-Encoding")
        ):
            return True
        try:
            return (self.content_length or 0) > _SHORT_REST
        except falcon.HTTPError:
            return True

    @property
    def who(self) -> Caller:
        """Who asks, of a request that comes to a resource that not everybody may ask."""
        assert self.caller is not None
        return self.caller

    async def body(self, limit: int, seconds: float) -> bytes:
        """The whole body, decompressed.

        Args:
            limit: bytes; a longer one is refused as soon as that is known.
            seconds: time in which it must have arrived.

        Raises:
            BodyTooLarge, BodyTimeout, Disconnected, Stopping: and the rest of the body stays unread.
            UnsupportedCoding, BadRequest: it is compressed, but not in a way that is read here.
        """
        body = self.body_at_hand(limit)
        return b"".join([chunk async for chunk in self.chunks(limit, seconds)]) if body is None else body

    def body_at_hand(self, limit: int) -> bytes | None:
        """The same, if it has come with its head, as it is; None for `body` to see to it."""
        first = self._first
        if first is None or self.unread or self.coded:
            return None
        body: bytes = first.get("body", b"")
        if len(body) > limit:
            raise BodyTooLarge(limit)
        return body

    async def chunks(self, limit: int, seconds: float, per: int | None = None) -> AsyncIterator[bytes]:
        """The body as it arrives, decompressed. Arguments and errors are those of `body`.

        Args:
            per: bytes that have so many seconds each, for a body that may be long; all have them together without it.
        """
        coding = self.coding
        if coding is None:
            async for chunk in self._arriving(limit, seconds, per):
                yield chunk
            return
        decoder = Decoder(coding, limit)
        async for chunk in self._arriving(limit, seconds, per):
            for piece in decoder.decode(chunk):
                yield piece
                # A few bytes may become very many: let others have their turn.
                await asyncio.sleep(0)
        decoder.finish()

    async def _arriving(self, limit: int, seconds: float, per: int | None) -> AsyncIterator[bytes]:
        length = self.content_length
        if length is not None and length > limit:
            raise BodyTooLarge(limit)
        deadline = time.monotonic() + seconds
        event, self._first = self._first, None
        size = 0
        while True:
            chunk: bytes = event.get("body", b"")
            size += len(chunk)
            if size > limit:
                raise BodyTooLarge(limit)
            self.unread = bool(event.get("more_body"))
            if chunk:
                yield chunk
            if not self.unread:
                return
            assert self.clients is not None
            more = 0.0 if per is None else seconds * (size // per)
            try:
                event = await self.clients.next(self._more, deadline + more - time.monotonic())
            except TimeoutError:
                raise BodyTimeout(seconds) from None
            if event["type"] == "http.disconnect":
                # NOTE: half a body is not a body, even where it would parse.
                raise Disconnected

    async def disconnected(self) -> None:
        """Wait until the client has gone. The body must have been read; nobody else may wait for it."""
        while (await self._more())["type"] != "http.disconnect":
            pass

    def watch(self) -> Watch:
        """A context that the task leaves when the client goes away. The body must have been read."""
        assert self.clients is not None
        return Watch(self.clients, self._more)


def _refuse_twice(headers: list[tuple[bytes, bytes]]) -> None:
    found = [name for name, _ in headers if name in _ONCE]
    for name in found:
        if found.count(name) > 1:
            raise BadRequest(f"expected the header {name.decode()} once, found it {found.count(name)} times")


def _refuse_path(path: bytes) -> None:
    """Refuse a path of which names are not what they were sent as: what is no UTF-8 would all become one letter."""
    try:
        unquote_to_bytes(path).decode()
    except UnicodeDecodeError:
        raise BadRequest("expected percent-encoded UTF-8 in the path") from None
    if _HALF.search(path):
        raise BadRequest("expected two hexadecimal digits behind each % of the path")


def _refuse_codings(headers: dict[bytes, bytes], version: str) -> None:
    """Refuse what only chunks take from a body: another coding stays on it, and HTTP/1.0 knows none (RFC 9112, 6.1)."""
    codings = headers[b"transfer-encoding"]
    if version == "1.0" or codings.strip().lower() != b"chunked":
        found = codings[:80].decode("latin-1")
        raise BadRequest(f"expected Transfer-Encoding: chunked, in HTTP/1.1, found {found!r} in {version}")


def _refuse_upgrade(headers: dict[bytes, bytes]) -> None:
    """Refuse a body behind the offer of another protocol, which is never accepted here.

    The parser of the HTTP server stops at such a head: the body would be lost, or taken for the next request.
    """
    options = headers.get(b"connection", b"").lower().split(b",")
    if any(option.strip() == b"upgrade" for option in options) and (
        b"transfer-encoding" in headers or headers.get(b"content-length", b"0") != b"0"
    ):
        raise BadRequest(
            "expected no body beside Connection: Upgrade, which offers a protocol that is not spoken here; send it "
            "without that"
        )
