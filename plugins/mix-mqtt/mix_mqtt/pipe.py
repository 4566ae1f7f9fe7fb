"""What paho takes for its socket: the two buffers of an asyncio transport."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

__all__ = ["Pipe"]


class Pipe(asyncio.Protocol):
    """paho reads a byte at a time and writes a packet at a time; from here, in memory. TLS, addresses and waiting are
    asyncio's.

    Args:
        readable: told when there is something to read, or the end.
    """

    def __init__(self, readable: Callable[[], None]) -> None:
        self._readable = readable
        self._transport: asyncio.Transport | None = None
        self._incoming = bytearray()
        self._outgoing = bytearray()
        self.ended = False
        self._gone = asyncio.Event()

    # -- towards asyncio ----------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._incoming += data
        self._readable()

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended = True
        self._gone.set()
        self._readable()

    def flush(self) -> None:
        """Hand over what was written."""
        if self._outgoing and self._transport is not None and not self._transport.is_closing():
            self._transport.write(self._outgoing)
            self._outgoing = bytearray()

    async def gone(self) -> None:
        """Wait until its socket is closed, after `abort`: a loop that ends before would leave it open."""
        if self._transport is not None:
            await self._gone.wait()

    @property
    def pending(self) -> bool:
        """Whether `recv` has something."""
        return bool(self._incoming)

    # -- towards paho -------------------------------------------------------------------------

    def recv(self, size: int) -> bytes:
        if not self._incoming:
            if self.ended:
                return b""
            raise BlockingIOError
        data = bytes(self._incoming[:size])
        del self._incoming[:size]
        return data

    def send(self, data: bytes | bytearray) -> int:
        if self.ended:
            raise BrokenPipeError
        self._outgoing += data
        return len(data)

    def close(self) -> None:
        self.flush()
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """End it without waiting for what is not sent yet."""
        if self._transport is not None:
            self._transport.abort()

    def setblocking(self, flag: bool) -> None:
        """It never blocks."""

    def fileno(self) -> int:
        return -1
