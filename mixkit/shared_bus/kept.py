"""What is retained, in a directory: one file for each topic, so that it outlives the process that carries messages.

A file is written beside and renamed, so it is whole whenever a process is killed. It is not flushed to the disk: what
is half there after the machine itself has failed does not match its checksum, and is forgotten.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from mixkit.bus import BusFull, Message
from mixkit.whole_file import whole_file

__all__ = ["Kept"]

_SUFFIX: Final = ".msg"
_SUM: Final = 32


class _Entry(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    topic: str
    payload: bytes
    text: bool
    owner: str


class Kept:
    """The retained messages of a bus. For the process that holds the lock alone."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def load(self) -> Iterator[tuple[Message, str]]:
        """Each message with its owner; what cannot be read is removed."""
        self._folder.mkdir(mode=0o700, exist_ok=True)
        for path in sorted(self._folder.iterdir()):
            entry = _read(path)
            if entry is None or path.name != _name(entry.topic):
                with suppress(OSError):
                    path.unlink()
            else:
                yield Message(entry.topic, entry.payload, text=entry.text), entry.owner

    def keep(self, message: Message, owner: str) -> None:
        """Keep it in place of what its topic had; one without a payload only forgets that.

        Raises:
            BusFull: it cannot be written.
        """
        path = self._folder / _name(message.topic)
        try:
            if not message.payload:
                path.unlink(missing_ok=True)
                return
            body = msgspec.msgpack.encode(_Entry(message.topic, message.payload, message.text, owner))
            with whole_file(path, durable=False) as file:
                file.write(hashlib.sha256(body).digest() + body)
        except OSError as exc:
            raise BusFull(
                f"the message on topic {message.topic!r:.100} cannot be kept in the directory of the bus: "
                f"{exc.strerror}"
            ) from None


def _name(topic: str) -> str:
    return hashlib.sha256(topic.encode()).hexdigest() + _SUFFIX


def _read(path: Path) -> _Entry | None:
    try:
        data = path.read_bytes()
        if hashlib.sha256(data[_SUM:]).digest() != data[:_SUM]:
            return None
        return msgspec.msgpack.decode(data[_SUM:], type=_Entry)
    except (OSError, msgspec.MsgspecError, UnicodeError):
        return None
