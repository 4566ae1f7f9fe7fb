"""What the server counts, for Prometheus.

What is counted is gathered for a moment, and handed to prometheus_client in one go. Several workers count into files of
one directory, `PROMETHEUS_MULTIPROC_DIR`, and whichever is asked answers for all of them. prometheus_client decides
between that and plain memory when it is imported, so that is late.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

__all__ = ["DIRECTORY_VARIABLE", "Metrics", "forget_process", "shared_directory"]

DIRECTORY_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"

_MOMENT: Final = 0.5
"""Seconds for which a worker keeps what it has counted to itself."""

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)


class Metrics:
    """The counters of this process. Labels are routes, methods and statuses, nothing that callers make up.

    Nothing is kept until `expose` was called: a process that nobody can ask needs no counters.
    """

    registry: CollectorRegistry

    def __init__(self) -> None:
        self._exposed = False
        self._runs = 0, 0, 0
        self._gathered: dict[tuple[str, str | None, int], list[float]] = {}
        self._flushing: asyncio.TimerHandle | None = None

    def expose(self) -> None:
        """Make the counters, which take a while to import."""
        from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

        self._exposed = True
        self.registry = CollectorRegistry()
        self._requests: Any = Counter(
            "mixkit_http_requests", "Requests.", ["method", "route", "status"], registry=self.registry
        )
        self._seconds: Any = Histogram(
            "mixkit_http_request_seconds",
            "Seconds from request to answer.",
            ["route"],
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self._active: Any = Gauge(
            "mixkit_runs_active", "Runs under way.", registry=self.registry, multiprocess_mode="livesum"
        )
        self._waiting: Any = Gauge(
            "mixkit_runs_waiting",
            "Runs that wait for a turn.",
            registry=self.registry,
            multiprocess_mode="livesum",
        )
        self._paused: Any = Gauge(
            "mixkit_runs_paused",
            "Runs that wait for what they called, and hold no place.",
            registry=self.registry,
            multiprocess_mode="livesum",
        )

    def count(self, method: str, route: str | None, status: int, seconds: float) -> None:
        """Count a request. `route` is the template of its path, None if there is none."""
        key = (method, route, status)
        found = self._gathered.get(key)
        if found is None:
            found = self._gathered[key] = []
        found.append(seconds)
        if self._flushing is None:
            self._flush_soon()

    def runs(self, active: int, waiting: int, paused: int) -> None:
        """Note how many runs are under way, wait for a turn, and wait for what they called."""
        self._runs = active, waiting, paused
        if self._flushing is None:
            self._flush_soon()

    def _flush_soon(self) -> None:
        self._flushing = asyncio.get_running_loop().call_later(_MOMENT, self.flush)

    def flush(self) -> None:
        """Hand over what was gathered."""
        if self._flushing is not None:
            self._flushing.cancel()
            self._flushing = None
        gathered, self._gathered = self._gathered, {}
        if not self._exposed:
            return
        for (method, route, status), times in gathered.items():
            name = route or "none"
            self._requests.labels(method, name, str(status)).inc(len(times))
            observe = self._seconds.labels(name).observe
            for seconds in times:
                observe(seconds)
        active, waiting, paused = self._runs
        self._active.set(active)
        self._waiting.set(waiting)
        self._paused.set(paused)

    def render(self) -> tuple[bytes, str] | None:
        """All processes' metrics as Prometheus reads them, and their type; None if others' are not known."""
        from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

        self.flush()
        registry = self.registry
        if DIRECTORY_VARIABLE in os.environ:
            registry = _of_all_processes(CollectorRegistry())
        elif "gunicorn.arbiter" in sys.modules:
            return None
        return generate_latest(registry), CONTENT_TYPE_LATEST


def _of_all_processes(registry: CollectorRegistry) -> CollectorRegistry:
    from prometheus_client.multiprocess import MultiProcessCollector

    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return registry


def shared_directory() -> str | None:
    """Let the workers that will be forked count together. Call before anything imports prometheus_client.

    Returns:
        A directory that the calling process removes at the end; None if the environment names one.
    """
    if DIRECTORY_VARIABLE in os.environ:
        return None
    # NOTE: a TemporaryDirectory would be removed by the first worker that exits.
    directory = tempfile.mkdtemp(prefix="mixkit-metrics-")
    os.environ[DIRECTORY_VARIABLE] = directory
    return directory


def forget_process(pid: int) -> None:
    """A worker is dead: what it had at the moment counts no more, what it had done still does."""
    from prometheus_client.multiprocess import mark_process_dead

    mark_process_dead(pid)  # type: ignore[no-untyped-call]
