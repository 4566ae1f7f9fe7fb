"""A fresh Python that has imported DuckDB and forks: a process for SQL is there in milliseconds, and holds nothing of
the server's, neither memory nor descriptors.

It keeps one process ready, and hands that over when it is asked. It has one thread and opens nothing of DuckDB, and
ends when the server does, or when nobody has asked for long. The processes that it started live on while they are used.
"""

from __future__ import annotations

import os
import select
import signal
import socket
from collections.abc import Callable
from typing import Final

import msgspec

from mix_duckdb.settings import DuckdbSettings

__all__ = ["REST", "main"]

REST: Final = 60.0
"""Seconds without a request after which it ends."""


def main(control: socket.socket, settings: DuckdbSettings) -> None:
    """Answer each byte with a process: the descriptors of its socket and of itself."""
    from mix_duckdb.owner import live  # And DuckDB with it, for the children.

    spare = _fork(control, settings, live)
    while select.select([control], [], [], REST)[0]:
        if not control.recv(1):
            break
        sock, process = spare
        socket.send_fds(control, [b"+"], [sock.fileno(), process])
        sock.close()
        os.close(process)
        spare = _fork(control, settings, live)
    spare[0].close()


def _fork(
    control: socket.socket, settings: DuckdbSettings, live: Callable[[socket.socket, DuckdbSettings], None]
) -> tuple[socket.socket, int]:
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
        live(theirs, settings)
    finally:
        os._exit(0)


def run(descriptor: int, settings: bytes) -> None:
    """The process's own beginning."""
    os.closerange(descriptor + 1, 1 << 16)  # What the server left open for its children is not for these.
    os.setsid()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # The system buries them.
    with socket.socket(fileno=descriptor) as control:
        main(control, msgspec.msgpack.decode(settings, type=DuckdbSettings))
