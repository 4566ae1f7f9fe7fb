"""What was done in all workspaces, and what their guests wrote: noted here, kept in files, found again."""

from __future__ import annotations

import contextlib
import heapq
import logging
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

import msgspec

from mixkit.activities.activity import Activity, Output, Wanted, now
from mixkit.activities.kept import Kept, Tailing
from mixkit.activities.log import Bounds

if TYPE_CHECKING:
    from mixkit.kernel_settings import KernelSettings
    from mixkit.package import WorkspaceStore

__all__ = ["Activities", "Following", "Position"]

G = TypeVar("G")

_log = logging.getLogger("mixkit.activity")

_MOMENT: Final = 0.2
"""Seconds for which a process keeps to itself what need not be durable."""
_DAY: Final = 24 * 3600
_LINE_COST: Final = 160
"""Bytes that a line of output takes in the log beside its own."""
_CUT: Final = "… what this run wrote beyond that is not kept"
_WARNING: Final = 2


class Position(NamedTuple):
    """A place among the activities: numbers of a run and of another one. By default it is before all."""

    runs: int = -1
    changes: int = -1


class Following:
    """Activities as they are written. Made by `Activities.follow`."""

    def __init__(self, runs: Tailing[Activity], changes: Tailing[Activity]) -> None:
        self._runs = runs
        self._changes = changes

    @property
    def after(self) -> Position:
        """Behind what was looked at, whether it was wanted or not."""
        return Position(self._runs.after, self._changes.after)

    def next(self, most: int = 1_000) -> list[Activity]:
        """What is wanted of the next so many of each, the oldest first. Raises `StorageError`."""
        found = [activity for each in (self._runs, self._changes) for _, activity in each.next(most)]
        return sorted(found, key=lambda activity: activity.time)


class Activities:
    """Notes what is done. Thread-safe; may be made before a fork.

    A run and a save are on their way to the disk for at most 0.2 s: who kills the process may lose those of that time,
    but none that anybody has read. All else is on the disk before `record` returns.

    Args:
        store: the workspaces.
        settings: how much is kept.

    Attributes:
        output: what guests wrote.
    """

    def __init__(self, store: WorkspaceStore, settings: KernelSettings) -> None:
        self._of_run = settings.output_of_run
        seconds = settings.activity_days * _DAY
        bounds = Bounds(settings.activities, seconds)
        self._runs: Kept[Activity] = Kept(store, ".runs", Activity, bounds)
        self._changes: Kept[Activity] = Kept(store, ".activities", Activity, bounds)
        self.output: Kept[Output] = Kept(
            store, ".output", Output, Bounds(None, seconds, settings.output_bytes)
        )
        self._keeps_output = bool(settings.output_bytes and settings.output_of_run)
        self._pending = threading.Event()
        self._over = threading.Event()
        self._writer: tuple[int, threading.Thread] | None = None
        self._starting = threading.Lock()

    def record(self, activity: Activity) -> None:
        """Note what was done. Takes microseconds, or for a kind that is durable the time of a write to the disk.

        Raises:
            StorageError: it has to be durable, and cannot be written.
        """
        if _log.isEnabledFor(logging.INFO):
            _tell(activity)
        if activity.kind.is_durable:
            self._changes.write(activity.workspace, activity)
        elif self._runs.add(activity.workspace, activity):
            self._write_soon()

    def record_later(self, workspace: str | None, make: Callable[[G], Activity], given: G) -> None:
        """`record` of what `make` answers: it is of the workspace, and of no kind that is durable.

        It is made when it is written, so that who answers a request has no such work. What is given must not change.
        """
        if _log.isEnabledFor(logging.INFO):
            self.record(make(given))
        elif self._runs.add(workspace, (make, given)):
            self._write_soon()

    def find(
        self, workspace: str | None, wanted: Wanted, *, before: Position | None = None, most: int
    ) -> tuple[list[Activity], Position | None]:
        """What is wanted, the newest first, with what this process has noted so far; and `before` for the next of it,
        None if there is no more.

        Args:
            workspace: None is what was done in none, or in one that is gone by now.
            before: as it was answered.
            most: how many at most.

        Raises:
            NotFound: there is no such workspace.
            StorageError: it cannot be read.
        """
        # What is noted meanwhile is not for the next page.
        start = before or Position(*(number + 1 for number in self.latest(workspace)))
        place = list(start)
        found: list[Activity] = []
        with (
            contextlib.closing(self._runs.backwards(workspace, wanted, start.runs)) as runs,
            contextlib.closing(self._changes.backwards(workspace, wanted, start.changes)) as changes,
        ):
            both = _labelled(0, runs), _labelled(1, changes)
            for index, number, activity in heapq.merge(*both, key=lambda each: -each[2].time):
                if len(found) == most:
                    return found, Position(*place)
                found.append(activity)
                place[index] = number
        return found, None

    def count(self, workspace: str | None, wanted: Wanted) -> int:
        """How many are wanted. Raises as `find`."""
        return sum(1 for kept in (self._runs, self._changes) for _ in kept.backwards(workspace, wanted))

    def latest(self, workspace: str | None) -> Position:
        """Where `follow` begins to answer what comes from now on. Raises as `find`."""
        return Position(self._runs.latest(workspace), self._changes.latest(workspace))

    def follow(self, workspace: str | None, wanted: Wanted, after: Position) -> Following:
        """What is wanted from there on, as any process writes it. Raises as `find`."""
        return Following(
            self._runs.follow(workspace, wanted, after.runs),
            self._changes.follow(workspace, wanted, after.changes),
        )

    def listener(
        self, workspace: str, *, subject: str, app: str, agent: str, run: str
    ) -> Callable[[int, str], None]:
        """What takes the lines of one run's guest, and keeps as many as are to be kept."""
        of_run = self._of_run if self._keeps_output else -1
        return _Listener(self, workspace, (subject, app, agent, run), of_run)

    def heard(self, workspace: str, line: Output) -> None:
        """Keep a line of a guest."""
        if self.output.add(workspace, line):
            self._write_soon()

    def flush(self) -> None:
        """Write what waits. What is read in this process needs no such call."""
        self._runs.flush()
        self.output.flush()

    def close(self) -> None:
        """Write what waits, and stop the thread that does. Idempotent."""
        self._over.set()
        self._pending.set()
        writer, self._writer = self._writer, None
        if writer is not None and writer[0] == os.getpid():
            writer[1].join()
        self.flush()

    def _write_soon(self) -> None:
        writer = self._writer
        if writer is None or writer[0] != os.getpid():
            self._start()
        self._pending.set()

    def _start(self) -> None:
        with self._starting:
            # A thread does not come along through a fork.
            if (self._writer is None or self._writer[0] != os.getpid()) and not self._over.is_set():
                thread = threading.Thread(target=self._write, name="mixkit-activities", daemon=True)
                self._writer = os.getpid(), thread
                thread.start()

    def _write(self) -> None:
        while not self._over.is_set():
            self._pending.wait()
            self._over.wait(_MOMENT)
            self._pending.clear()
            with contextlib.suppress(Exception):
                self.flush()


class _Listener:
    """Takes the lines of one run until they are too many."""

    __slots__ = ("_activities", "_left", "_of", "_workspace")

    def __init__(
        self, activities: Activities, workspace: str, of: tuple[str, str, str, str], most: int
    ) -> None:
        self._activities = activities
        self._workspace = workspace
        self._of = of
        self._left = most

    def __call__(self, level: int, text: str) -> None:
        if self._left < 0:
            return
        self._left -= len(text.encode()) + _LINE_COST
        if self._left < 0:
            level, text = _WARNING, _CUT
        subject, app, agent, run = self._of
        self._activities.heard(
            self._workspace,
            Output(time=now(), subject=subject, app=app, agent=agent, run=run, level=level, text=text),
        )


def _labelled(index: int, items: Iterable[tuple[int, Activity]]) -> Iterator[tuple[int, int, Activity]]:
    for number, activity in items:
        yield index, number, activity


def _tell(activity: Activity) -> None:
    """One line of log: the whole of it as an object, with the format json."""
    where = "/".join(part for part in (activity.workspace, activity.app, activity.agent) if part)
    _log.info(
        "%s %s by %s: %s in %.1f ms",
        activity.kind,
        where or "server",
        activity.subject,
        activity.result,
        activity.seconds * 1000,
        extra={"request_id": activity.run, "activity": msgspec.to_builtins(activity)},
    )
