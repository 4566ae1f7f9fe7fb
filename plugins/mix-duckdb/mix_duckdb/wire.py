"""What goes between a session and the process that runs its SQL: frames on a Unix socket.

Layout of a frame, little-endian:

    offset  size
    0       4     h, bytes of the head
    4       8     b, bytes of the body
    12      h     the head: a message as msgpack
    12+h    b     the body: codec words of values, or an Arrow IPC stream

A descriptor travels with the first byte of a frame. Both ends are ours, but one of them runs hostile SQL: the server
takes no longer frames than it is told to, and decodes them with the codec that decodes guests' words.
"""

from __future__ import annotations

import socket
import struct
from typing import Final, TypeAlias

import msgspec

__all__ = [
    "HEADER",
    "Batch",
    "Close",
    "Failed",
    "Job",
    "Message",
    "Need",
    "Next",
    "Offer",
    "Query",
    "Ready",
    "Result",
    "Table",
    "Taken",
    "Wire",
    "dump",
    "load",
]

HEADER: Final = struct.Struct("<IQ")
MAX_HEAD: Final = 4 << 20


class Job(msgspec.Struct, tag=True):
    """To a process that waits: what it is for. The socket is then its first session.

    Attributes:
        folder, name: of a database file; both empty for one in memory.
    """

    folder: str = ""
    name: str = ""


class Ready(msgspec.Struct, tag=True):
    """The session is open.

    Attributes:
        lacks: what the system does not have to confine the process, as "landlock".
    """

    pid: int
    lacks: list[str]


class Taken(msgspec.Struct, tag=True):
    """Another process has that file: connect to its socket."""


class Offer(msgspec.Struct, tag=True):
    """More tables that statements may name. Not answered."""

    names: list[str]


class Query(msgspec.Struct, tag=True):
    """Execute statements; the body has the parameters.

    Attributes:
        id: by which `Next` and `Close` name the answer.
        deadline: `time.monotonic()`, which all processes of a machine share.
        arrow: whether rows are wanted as Arrow, or as values.
        most_bytes, most_values: that rows may have which are handed over at once, as maps of values.
    """

    id: int
    text: str
    deadline: float
    arrow: bool
    most_bytes: int
    most_values: int


class Next(msgspec.Struct, tag=True):
    """The next rows."""

    id: int
    deadline: float


class Close(msgspec.Struct, tag=True):
    """No more rows of that are wanted. Not answered."""

    id: int


class Need(msgspec.Struct, tag=True):
    """A statement names an offered table, and reads these columns of it, or all. `Table` or `Failed` answers."""

    name: str
    columns: list[str] | None = None


class Table(msgspec.Struct, tag=True):
    """It comes with the descriptor of its memory."""

    size: int


class Result(msgspec.Struct, tag=True):
    """Statements are done; the body has the first rows.

    Attributes:
        columns: name and type of each.
        rows: how many there are in the body.
        done: there are no more.
        changed: rows inserted, changed or deleted by the last statement.
    """

    columns: list[tuple[str, str]]
    rows: int
    done: bool
    changed: int | None


class Batch(msgspec.Struct, tag=True):
    """More rows, in the body."""

    rows: int
    done: bool


class Failed(msgspec.Struct, tag=True):
    """Of a kind: "sql", "limit", "time", "memory", "full", "lost"; with a message for the agent."""

    kind: str
    message: str


Message: TypeAlias = (
    Job | Ready | Taken | Offer | Query | Next | Close | Need | Table | Result | Batch | Failed
)

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Message] = msgspec.msgpack.Decoder(Message)


def dump(message: Message, body: bytes = b"") -> bytes:
    """Header and head of a frame; the body follows."""
    head = _encoder.encode(message)
    return HEADER.pack(len(head), len(body)) + head


def load(head: bytes) -> Message:
    """The message of a head. `msgspec.DecodeError` if it is none."""
    return _decoder.decode(head)


class Wire:
    """Frames on a blocking socket."""

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock

    def send(self, message: Message, body: bytes = b"", descriptors: tuple[int, ...] = ()) -> None:
        """`OSError` if the other end is gone."""
        frame = dump(message, body)
        if descriptors:
            sent = socket.send_fds(self.socket, [frame], list(descriptors))
            frame = frame[sent:]
        if len(body) < 64 << 10:
            frame += body
            body = b""
        if frame:
            self.socket.sendall(frame)
        if body:
            self.socket.sendall(body)

    def receive(self) -> tuple[Message, bytes, list[int]] | None:
        """A message, its body and its descriptors; None once the other end is gone.

        Raises:
            ValueError: the frame is none of ours.
        """
        try:
            first, descriptors, _, _ = socket.recv_fds(self.socket, HEADER.size, 4)
            header = first + self._exactly(HEADER.size - len(first)) if first else b""
            if not header:
                return None
            size, rest = HEADER.unpack(header)
            if size > MAX_HEAD:
                raise ValueError(f"a head of {size} bytes, at most {MAX_HEAD} are expected")
            return load(self._exactly(size)), self._exactly(rest), descriptors
        except (OSError, EOFError):
            return None

    def _exactly(self, size: int) -> bytes:
        if not size:
            return b""
        data = bytearray(size)
        view = memoryview(data)
        while view:
            count = self.socket.recv_into(view)
            if not count:
                raise EOFError
            view = view[count:]
        return bytes(data)
