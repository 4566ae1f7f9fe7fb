"""What the processes say to each other: four bytes of length, then one of these in MessagePack."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Generic, TypeVar

import msgspec

__all__ = [
    "Answer",
    "Deliver",
    "FrameError",
    "Frames",
    "FromHub",
    "Missed",
    "Publish",
    "Subscribe",
    "ToHub",
    "Unsubscribe",
    "frame",
    "most_bytes",
]

F = TypeVar("F")

_LENGTH: Final = 4
_OVERHEAD: Final = 256 * 1024
"""Bytes of a frame beside its payload, at most: topic or filter, owner, numbers of subscriptions."""


class FrameError(Exception):
    """The other side does not speak as it should; its connection is of no use any more."""


class _Frame(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    pass


class Publish(_Frame, tag=1):
    number: int
    topic: str
    payload: bytes
    retain: bool
    text: bool
    owner: str


class Subscribe(_Frame, tag=2):
    """`subscription` is the sender's own number for it; `follows`: the filter is a topic, which it follows."""

    number: int
    subscription: int
    filter: str
    owner: str
    follows: bool = False


class Unsubscribe(_Frame, tag=3):
    subscription: int


class Answer(_Frame, tag=4):
    """To what had that number: done if `error` is empty. `full`: a `BusFull`."""

    number: int
    error: str = ""
    full: bool = False


class Deliver(_Frame, tag=5):
    """A message, once for all subscriptions of a process that it is for; or a `mixkit.bus.Beginning`."""

    subscriptions: list[int]
    topic: str
    payload: bytes
    retained: bool
    text: bool
    id: str = ""
    begins: bool = False


class Missed(_Frame, tag=6):
    """How many messages these subscriptions did not get because their process was slow."""

    counts: dict[int, int]


ToHub = Publish | Subscribe | Unsubscribe
FromHub = Answer | Deliver | Missed

_encode = msgspec.msgpack.Encoder().encode


def most_bytes(max_message_bytes: int) -> int:
    """The length of a frame, at most, where messages have at most so many bytes."""
    return max_message_bytes + _OVERHEAD


def frame(what: ToHub | FromHub) -> bytes:
    """Its bytes."""
    body = _encode(what)
    return len(body).to_bytes(_LENGTH, "big") + body


class Frames(Generic[F]):
    """Takes the bytes of a connection apart.

    Args:
        kinds: what may come.
        most: bytes of a frame.
    """

    def __init__(self, kinds: type[F], most: int) -> None:
        self._decode = msgspec.msgpack.Decoder(kinds).decode
        self._most = most
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[F]:
        """What is whole now.

        Raises:
            FrameError: something that cannot be. Nothing is kept of it.
        """
        buffer = self._buffer
        buffer += data
        at = 0
        try:
            while len(buffer) - at >= _LENGTH:
                length = int.from_bytes(buffer[at : at + _LENGTH], "big")
                if length > self._most:
                    raise FrameError(f"expected frames of at most {self._most} bytes, found {length}")
                if len(buffer) - at - _LENGTH < length:
                    break
                body = bytes(buffer[at + _LENGTH : at + _LENGTH + length])
                at += _LENGTH + length
                try:
                    found = self._decode(body)
                except (msgspec.MsgspecError, UnicodeError, RecursionError) as exc:
                    raise FrameError(f"expected a frame of this bus, found {exc}") from None
                yield found
        finally:
            del buffer[:at]
