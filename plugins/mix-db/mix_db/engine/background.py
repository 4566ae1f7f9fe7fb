"""Work that nobody waits for: one daemon thread of the process does it for all databases.

The thread is started with the first work and ends with the process; a forked child starts its own.
"""

from __future__ import annotations

import math
import os
import threading
import time
from typing import Protocol

__all__ = ["Worker", "worker"]


class Job(Protocol):
    """Something that has to be done now and then."""

    def maintain(self) -> float | None:
        """Do what is due; answers in how many seconds it wants to be called again. It does not raise."""
        ...


class Worker:
    """Calls jobs when they are due, one after the other."""

    def __init__(self) -> None:
        self._change = threading.Condition()
        self._due: dict[Job, float] = {}
        self._busy: Job | None = None
        self._thread: threading.Thread | None = None

    def schedule(self, job: Job, seconds: float) -> None:
        """Call it in so many seconds, or before if it is due before."""
        when = time.monotonic() + seconds
        # Every commit asks, and is nearly always answered without the lock.
        if self._due.get(job, math.inf) <= when:
            return
        with self._change:
            if self._due.get(job, when) < when:
                return
            self._due[job] = when
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="mix-db-worker", daemon=True)
                self._thread.start()
            self._change.notify_all()

    def cancel(self, job: Job) -> None:
        """Do not call it any more; returns when a call that is under way has ended."""
        with self._change:
            self._due.pop(job, None)
            while self._busy is job and threading.current_thread() is not self._thread:
                self._change.wait()
            self._due.pop(job, None)

    def renew(self) -> None:
        """In a forked child: the thread is not here, and what was due is done by the parent."""
        self.__init__()  # type: ignore[misc]

    def _run(self) -> None:
        while True:
            with self._change:
                job = self._wait()
                del self._due[job]
                self._busy = job
            again = job.maintain()
            with self._change:
                self._busy = None
                self._change.notify_all()
            if again is not None:
                self.schedule(job, again)
            # A job that nobody else holds must be free to go.
            del job

    def _wait(self) -> Job:
        while True:
            job = min(self._due, key=self._due.__getitem__, default=None)
            if job is None:
                self._change.wait()
                continue
            left = self._due[job] - time.monotonic()
            if left <= 0:
                return job
            self._change.wait(left)


worker = Worker()
os.register_at_fork(after_in_child=worker.renew)
