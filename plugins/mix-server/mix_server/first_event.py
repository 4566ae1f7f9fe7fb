"""The first event of a request. Falcon waits for it before it does anything, and a client may promise a body that never
comes: who asks, what for, and how much is announced is judged by the head alone.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

__all__ = ["NOTHING_YET", "Receive", "at_once"]

Receive = Callable[[], Awaitable[Any]]

NOTHING_YET: Final = {"type": "http.request", "body": b"", "more_body": True}
"""Part of a body that is as good as the wait for one."""


def at_once(headers: list[tuple[bytes, bytes]], receive: Receive) -> Receive:
    """`receive`, but that the first event does not wait for a body which has been promised and is not there yet.

    Who wants the body asks again: only then does a client that expects it hear `100 Continue`.
    """
    # PERF: most bodies come with their head. uvicorn knows whether there is some of it; of other servers nobody does.
    event = getattr(getattr(receive, "__self__", None), "message_event", None)
    if (event is not None and event.is_set()) or not _promises(headers):
        return receive
    begun = False

    async def next_event() -> Any:
        nonlocal begun
        if begun:
            return await receive()
        begun = True
        return NOTHING_YET

    return next_event


def _promises(headers: list[tuple[bytes, bytes]]) -> bool:
    """Whether the head announces a body. Without one the first event is there at once."""
    return any(
        (name == b"content-length" and value.strip() != b"0") or name == b"transfer-encoding"
        for name, value in headers
    )
