"""Tables that are handed to the process that runs the SQL: Arrow in shared memory, made once and mapped by many.

    table = Shared(chunks_of_an_arrow_ipc_stream)       # in the server, where the records are
    pyarrow.ipc.open_stream(pyarrow.py_buffer(mapped))  # in the process, without a copy

The memory is sealed: nobody can change it any more, neither here nor there, so it may be kept and handed to any number
of processes, those of hostile SQL too.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Collection, Iterable
from typing import Protocol

__all__ = ["Shared", "Tables"]

_SEALS = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL


class Shared:
    """One table as an Arrow IPC stream, schema and batches, in memory that has no name. Closed with its last reference.

    Args:
        chunks: of the stream, in order.

    Attributes:
        descriptor: of the memory.
        size: in bytes.
    """

    def __init__(self, chunks: Iterable[bytes | bytearray | memoryview]) -> None:
        self.size = 0
        self.descriptor = os.memfd_create("mixkit-table", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        for chunk in chunks:
            rest = memoryview(chunk).cast("B")
            while rest:
                written = os.write(self.descriptor, rest)
                self.size += written
                rest = rest[written:]
        fcntl.fcntl(self.descriptor, fcntl.F_ADD_SEALS, _SEALS)

    def __del__(self) -> None:
        with contextlib.suppress(AttributeError, OSError):
            os.close(self.descriptor)


class Tables(Protocol):
    """What a session may ask for: tables that are made only when a statement names them."""

    def names(self) -> Collection[str]:
        """The names, as SQL spells them; DuckDB does not tell upper from lower case."""
        ...

    async def load(self, name: str, columns: Collection[str] | None) -> Shared:
        """The table of one of these names, called once for a session, or twice if not all columns were asked for.

        Args:
            columns: names of those that are needed, whatever their case; all if None. There may be more.

        Raises:
            MixError: it cannot be had; the statement fails with that.
        """
        ...
