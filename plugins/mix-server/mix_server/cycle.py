"""One request of a connection and its answer, as uvicorn has them, in fewer steps where both are as most are.

Most bodies have come as a whole when they are asked for, and most answers are whole: their head is written with them.
All else is left to uvicorn.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import (
    HEADER_RE,
    HEADER_VALUE_RE,
    STATUS_LINE,
    RequestResponseCycle,
)

__all__ = ["Cycle"]

_BODILESS: Final = frozenset((204, 304))
_MOST_NAMES: Final = 256

_Headers = Iterable[tuple[bytes, bytes]]

_labels: dict[bytes, bytes] = {}
"""Names of headers that were looked at, as they stand before a value."""


class Cycle(RequestResponseCycle):
    """A request and its answer."""

    _head: bytes | None = None
    """Of an answer that has begun, until its body comes."""

    async def receive(self) -> Any:
        """The next of what the client sends."""
        waits = self.more_body or self.waiting_for_100_continue or not self.message_event.is_set()
        if waits or self.disconnected or self.response_complete:
            return await super().receive()
        # PERF: what has come is not waited for.
        self.flow.resume_reading()
        self.message_event.clear()
        body, self.body = bytes(self.body), bytearray()
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(self, message: Any) -> None:
        """Send the next of the answer."""
        head, self._head = self._head, None
        if head is not None:
            body = message.get("body", b"")
            if (
                message["type"] == "http.response.body"
                and len(body) == self.expected_content_length
                and not message.get("more_body", False)
            ):
                self._end(head + body)
                return
            if not self.disconnected:
                self.transport.write(head)
        elif not (self.response_started or self.flow.write_paused or self.disconnected):
            self._head = self._head_of(message)
            if self._head is not None:
                self.response_started = True
                self.waiting_for_100_continue = False
                return
        await super().send(message)

    def _head_of(self, message: Any) -> bytes | None:
        """The head of an answer whose length is told, and nothing else of how it is sent; None of another one."""
        if (
            message["type"] != "http.response.start"
            or message["status"] in _BODILESS
            or self.scope["method"] == "HEAD"
            or not self.keep_alive
        ):
            return None
        parts = [STATUS_LINE[message["status"]]]
        length = None
        for name, value in (*self.default_headers, *message.get("headers", ())):
            label = _labels.get(name) or _label(name)
            if label is None or HEADER_VALUE_RE.search(value):
                return None
            if name == b"content-length":
                length = int(value)
            parts += (label, value, b"\r\n")
        if length is None:
            return None
        self.chunked_encoding, self.expected_content_length = False, length
        parts.append(b"\r\n")
        return b"".join(parts)

    def _end(self, answer: bytes) -> None:
        if self.disconnected:
            return
        self.transport.write(answer)
        self.expected_content_length = 0
        self.response_complete = True
        self.message_event.set()
        if not self.keep_alive:
            self.transport.close()
        self.on_response()


def _label(name: bytes) -> bytes | None:
    """What stands before the value of a header; None for one that says how is sent, or that cannot be sent."""
    if HEADER_RE.search(name) or name in (b"connection", b"transfer-encoding") or name != name.lower():
        return None
    label = name + b": "
    if len(_labels) < _MOST_NAMES:
        _labels[name] = label
    return label
