"""A fresh Python that has imported DuckDB and forks: a process for SQL is there in milliseconds, and holds nothing of
the server's, neither memory nor descriptors.

It keeps one process ready, for a database in memory. It has one thread and opens nothing of DuckDB, and ends when the
server does, or when nobody has asked for long. The processes that it started live on while they are used.
"""

from __future__ import annotations

import os
import select
import signal
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import msgspec

from mix_duckdb.settings import DuckdbSettings

if TYPE_CHECKING:
    from mix_duckdb.confine import Confinement

__all__ = ["IN_MEMORY", "OF_FILE", "REST", "main"]

IN_MEMORY: Final = b"m"
OF_FILE: Final = b"f"
"""What is asked for."""

REST: Final = 60.0
"""Seconds without a request after which it ends."""


def main(control: socket.socket, settings: DuckdbSettings) -> None:
    """Answer each byte with a process: the descriptors of its socket and of itself."""
    from mix_duckdb.confine import Confinement
    from mix_duckdb.owner import in_memory, of_file  # And DuckDB with them, for the children.

    confinement = Confinement()

    def fork(live: Callable[[socket.socket, DuckdbSettings, Confinement], None]) -> tuple[socket.socket, int]:
        ours, theirs = socket.socketpair()
        pid = os.fork()
        if pid:
            theirs.close()
            return ours, os.pidfd_open(pid)
        try:
            control.close()
            ours.close()
            os.setsid()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            live(theirs, settings, confinement)
        finally:
            os._exit(0)

    spare = fork(in_memory)
    while select.select([control], [], [], REST)[0]:
        wanted = control.recv(1)
        if not wanted:
            break
        # One for a file is asked for seldom, and what it may touch must be known before it has threads.
        sock, process = fork(of_file) if wanted == OF_FILE else spare
        socket.send_fds(control, [b"+"], [sock.fileno(), process])
        sock.close()
        os.close(process)
        if wanted != OF_FILE:
            spare = fork(in_memory)
    spare[0].close()


def run(descriptor: int, settings: bytes) -> None:
    """The process's own beginning."""
    os.closerange(descriptor + 1, 1 << 16)  # What the server left open for its children is not for these.
    os.setsid()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # The system buries them.
    with socket.socket(fileno=descriptor) as control:
        main(control, msgspec.msgpack.decode(settings, type=DuckdbSettings))
