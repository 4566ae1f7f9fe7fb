"""Messages as events of a stream."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from mixkit import tagged_json

if TYPE_CHECKING:
    from mixkit.bus import Message
    from mixkit.rings import Position

__all__ = ["MessageEvent", "joined", "message", "position", "resync"]


class MessageEvent:
    """An event, written once for all who get it."""

    __slots__ = ("__weakref__", "data")

    all = False

    def __init__(self, data: bytes) -> None:
        self.data = data

    def head(self, knows: bool) -> bytes:
        """Nothing: it is the same for all."""
        return b""


def message(found: Message) -> MessageEvent:
    """A message: its payload as tagged JSON, a string if whoever published it said so, else binary."""
    payload: Any = found.payload
    if found.text:
        with suppress(UnicodeDecodeError):  # What they said may not be true.
            payload = found.payload.decode()
    return MessageEvent(f"id: {found.id}\ndata: {tagged_json.dumps(payload)}".encode())


def position(at: Position) -> MessageEvent:
    """No event for the client, but where it is: what it sends as `Last-Event-ID` if nothing comes."""
    return MessageEvent(f"id: {at}".encode())


def resync(at: Position) -> MessageEvent:
    """Messages may lack here: the client is to read anew what they told of."""
    return MessageEvent(f"event: resync\nid: {at}\ndata: {{}}".encode())


def joined(events: Iterable[MessageEvent]) -> MessageEvent:
    """Several as one."""
    return MessageEvent(b"\n\n".join(event.data for event in events))
