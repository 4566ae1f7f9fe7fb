"""The databases of the apps: found by name, and called where they cannot hold up others."""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, TypeVar

from mix_server.threads import to_end
from mixkit.errors import StorageError
from mixkit.outside import is_ours

if TYPE_CHECKING:
    from mix_server.admission import Admission
    from mixkit.databases import Databases as KernelDatabases
    from mixkit.package import WorkspaceStore
    from mixkit.storage import Database

__all__ = ["Databases", "contained"]

T = TypeVar("T")

_LONG: Final = 0.002
"""Seconds for which a look-up may hold up other requests."""
_MOMENT: Final = 1.0
"""Seconds for which look-ups are made in threads after one that took longer."""


@contextmanager
def contained() -> Iterator[None]:
    """What leaves a storage by `sys.exit` or as any other `BaseException` is a `StorageError`.

    Out of a task it would end the event loop.
    """
    try:
        yield
    except Exception:
        raise
    except BaseException as exc:
        if is_ours(exc):
            raise
        raise StorageError(f"the storage failed: {type(exc).__name__}: {exc}") from exc


def _contained(work: Callable[[], T]) -> Callable[[], T]:
    def run() -> T:
        with contained():
            return work()

    return run


class Databases:
    """The databases of all apps.

    Args:
        kept: the kernel's, which opens them and keeps them open.
        store: the apps.
        admission: who calls a database takes a place there, as a run does.
    """

    def __init__(self, kept: KernelDatabases, store: WorkspaceStore, admission: Admission) -> None:
        self._kept = kept
        self._store = store
        self._admission = admission
        self._threads: concurrent.futures.ThreadPoolExecutor | None = None
        self._in_threads_until = 0.0

    async def of(self, ws: str, app: str) -> Database:
        """The database of an app, made if it is not there.

        Raises:
            NotFound: no such workspace or app.
            StorageError: it cannot be opened.
        """
        workspace = self._store.workspace(ws)
        # PERF: a thread would cost more than most of what is asked of a database that is open.
        place = workspace.place_at_hand(app)
        found = None if place is None else self._kept.at_hand(place)
        if found is not None:
            return found
        return await self.call(lambda: self._kept.open(workspace.place(app)))

    async def look_up(self, work: Callable[[], T]) -> T:
        """Call `work`, which takes microseconds as a rule: here, unless a look-up took long a moment ago.

        One takes long when another process has committed much, which is indexed by the first who reads; and where
        there was one such commit, there are more. Raises as `call`.
        """
        loop = asyncio.get_running_loop()

        def timed() -> T:
            began = loop.time()
            try:
                with contained():
                    return work()
            finally:
                now = loop.time()
                if now - began > _LONG:
                    self._in_threads_until = now + _MOMENT

        # PERF: a thread costs several times what most look-ups do.
        return timed() if loop.time() >= self._in_threads_until else await self.call(timed)

    async def call(self, work: Callable[[], T], cancel: Callable[[], None] | None = None) -> T:
        """Call `work` in a thread, when there is a place for it.

        Args:
            cancel: makes `work` end soon; called when the task is cancelled. The task leaves when `work` has ended.

        Raises:
            Overloaded, Stopping: there is no place.
        """
        async with self._admission:
            return await to_end(_contained(work), cancel, self._executor())

    def _executor(self) -> concurrent.futures.ThreadPoolExecutor:
        # Made when first needed, which is after the fork.
        if self._threads is None:
            self._threads = concurrent.futures.ThreadPoolExecutor(
                self._admission.max_runs, thread_name_prefix="mixkit-database"
            )
        return self._threads

    def close(self) -> None:
        """End the threads. The kernel closes the databases. Idempotent."""
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)
