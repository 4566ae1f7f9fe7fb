"""A descriptor that lines are written to."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Final

from mix_mcp.lines import is_file

if TYPE_CHECKING:
    import io

__all__ = ["Sink"]

_BUFFERED: Final = 64 * 1024
"""Bytes of answers that a client has not read: no more lines are read until it has."""


class Sink:
    """Where lines go: a file at once, a pipe as fast as its reader reads.

    Args:
        file: written to, if there is no `writer`.
    """

    def __init__(self, file: io.FileIO, writer: asyncio.StreamWriter | None) -> None:
        self._file = file
        self._writer = writer

    @classmethod
    async def open(cls, target: int) -> Sink:
        """That of a descriptor."""
        file = os.fdopen(target, "wb", buffering=0)
        if is_file(target):
            return cls(file, None)
        loop = asyncio.get_running_loop()
        transport, protocol = await loop.connect_write_pipe(asyncio.streams.FlowControlMixin, file)
        return cls(file, asyncio.StreamWriter(transport, protocol, None, loop))

    def send(self, line: bytes) -> None:
        data = line + b"\n"
        if self._writer is None:
            self._file.write(data)
            return
        if not self._writer.transport.get_write_buffer_size():
            # PERF: as a rule there is room in the pipe, and nothing waits for it.
            try:
                sent = self._file.write(data) or 0
            except (OSError, ValueError):
                # Nobody reads any more, as the transport finds out too, or has found out and closed the file.
                sent = 0
            data = data[sent:]
        if data:
            self._writer.write(data)

    @property
    def is_full(self) -> bool:
        """Whether it has more than its reader takes, or lost that one: then `drain` says so."""
        if self._writer is None:
            return False
        transport = self._writer.transport
        return transport.get_write_buffer_size() > _BUFFERED or transport.is_closing()

    async def drain(self) -> None:
        """Wait until it has room. Raises `ConnectionError` if nobody reads any more."""
        if self._writer is not None:
            await self._writer.drain()
