"""Deadlines inside the process that runs SQL: first an interrupt, then the end of the process, by the system's clock.

DuckDB hears an interrupt within milliseconds where operators run, and not for seconds inside some functions. So the
alarm clock of the system is set for a little later, whose signal ends the process whatever it does.
"""

from __future__ import annotations

import select
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

__all__ = ["GRACE", "Watch"]

GRACE: Final = 0.1
"""Seconds that a statement has to hear the interrupt."""


class Watch:
    """What is being executed, by its connections. `wait` is for the first thread, the rest for those of sessions."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: dict[int, tuple[float, Any]] = {}
        self._interrupted: set[int] = set()
        self._ears, self._mouth = socket.socketpair()
        self._ears.setblocking(False)
        self._mouth.setblocking(False)
        self._until = 0.0
        signal.signal(signal.SIGALRM, signal.SIG_DFL)

    @contextmanager
    def over(self, connection: Any, deadline: float) -> Iterator[None]:
        """Within it, the connection executes, until the deadline at the latest.

        Raises:
            TimeoutError: it was over before it began.
        """
        if time.monotonic() >= deadline:
            raise TimeoutError
        with self._lock:
            self._running[id(connection)] = (deadline, connection)
            self._arm()
            wake = deadline < self._until
        if wake:
            self.wake()
        try:
            yield
        finally:
            with self._lock:
                self._running.pop(id(connection), None)
                self._interrupted.discard(id(connection))
                self._arm()

    @contextmanager
    def pause(self, connection: Any, deadline: float) -> Iterator[None]:
        """Within it the server is waited for, which has a clock of its own."""
        with self._lock:
            self._running.pop(id(connection), None)
            self._arm()
        yield
        if time.monotonic() >= deadline:
            raise TimeoutError
        with self._lock:
            self._running[id(connection)] = (deadline, connection)
            self._arm()
        self.wake()

    def _arm(self) -> None:
        if self._running:
            first = min(deadline for deadline, _ in self._running.values())
            signal.setitimer(signal.ITIMER_REAL, max(first + GRACE - time.monotonic(), 0.001))
        else:
            signal.setitimer(signal.ITIMER_REAL, 0)

    def wake(self) -> None:
        """End the wait of the first thread."""
        with suppress(BlockingIOError):
            self._mouth.send(b"!")

    def interrupt(self, connection: Any) -> None:
        """Interrupt it, if it executes."""
        with self._lock:
            if id(connection) in self._running:
                connection.interrupt()

    def wait(self, poll: select.poll, seconds: float) -> list[tuple[int, int]]:
        """What `poll` finds; meanwhile interrupt what is late. Nothing after that time, or after `wake`."""
        now = time.monotonic()
        with self._lock:
            due = [
                (key, connection)
                for key, (deadline, connection) in self._running.items()
                if deadline <= now and key not in self._interrupted
            ]
            for key, connection in due:
                self._interrupted.add(key)
                connection.interrupt()
            waiting = [
                deadline for key, (deadline, _) in self._running.items() if key not in self._interrupted
            ]
            self._until = min([*waiting, now + seconds])
        found = poll.poll(max(0.0, self._until - now) * 1000 + 1)
        with suppress(BlockingIOError):
            while self._ears.recv(64):
                pass
        with self._lock:
            self._until = 0.0
        return [(descriptor, event) for descriptor, event in found if descriptor != self._ears.fileno()]

    def register(self, poll: select.poll) -> None:
        """Let the poll hear `wake`."""
        poll.register(self._ears, select.POLLIN)
