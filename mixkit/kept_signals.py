"""Signals in databases of workspaces: they outlive the process, and all processes have the same.

    signal:ID       app, user, home: who made it; deadline and until, when it is forgotten, in Unix milliseconds;
                    form, codec words, what it may be settled with, if that was said;
                    outcome, codec words, as soon as it is settled, else None

An id is `WORKSPACE.` and what stands behind `signal:`.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Final

from mixkit.bus import BusError, MessagesMissed
from mixkit.errors import Conflict, FFIError, NotFound
from mixkit.signals import (
    DEFAULT_LIMITS,
    TIMEOUT,
    Found,
    Owner,
    Settled,
    SignalLimits,
    Signals,
    check_outcome,
    deadline_of,
    form_words,
    new_id,
    opened,
    sealed,
    unknown,
)
from mixkit.storage import SaveOptions
from mixkit.value import Case, Value

if TYPE_CHECKING:
    import asyncio

    from mixkit.bus import Bus
    from mixkit.storage import Database

__all__ = ["KeptSignals"]

_NEW: Final = SaveOptions(original_id_always=True)
_ONCE: Final = SaveOptions(original_id_always=True, unchanged=True)
_OPEN: Final = '"_rmx_type" == "signal" && "owner" == $owner && "open" == true'
_OLD: Final = '"_rmx_type" == "signal" && "until" < $now'
_SWEEP: Final = 60.0
"""Seconds between two looks for what is to be forgotten."""
_STALE: Final = 20_000
"""Superseded versions that are worth a compaction."""
_TELL: Final = 0.5
"""Seconds in which others are told that a signal is settled; what they are told of is kept already."""
_PATIENCE: Final = 30.0
"""Seconds after which is looked again though nobody has told of a change."""


class KeptSignals:
    """Implements `mixkit.signals.Signals`; those of no workspace are others'.

    Args:
        open: the database in which the signals of a workspace are, made on wish if it is not there. `NotFound` if there
            is no such workspace, or no database.
        others: keeps those of runs that belong to no workspace.
        bus: answers by what processes tell each other of what is settled. They find out without it, only later.
    """

    def __init__(
        self,
        open: Callable[[str, bool], Database],
        others: Signals,
        limits: SignalLimits = DEFAULT_LIMITS,
        clock: Callable[[], float] = time.time,
        bus: Callable[[], Bus] | None = None,
    ) -> None:
        self._open = open
        self._others = others
        self._bus = bus
        self._limits = limits
        self._clock = clock
        self._instead = ""
        self._swept: dict[str, float] = {}
        self._watches: dict[tuple[str, int], _Watch] = {}
        self._lock = threading.Lock()

    async def create(
        self, owner: Owner, seconds: float | None = None, form: Mapping[str, Any] | None = None
    ) -> str:
        if owner.workspace is None:
            return await self._others.create(owner, seconds, form)
        import asyncio

        asked = None if form is None else form_words(self._limits, form)
        return await asyncio.to_thread(self._create, owner, owner.workspace, seconds, asked)

    async def settle(self, id: str, outcome: Case) -> None:
        if "." not in id:
            await self._others.settle(id, outcome)
            return
        import asyncio

        await asyncio.to_thread(self._settle, id, outcome)
        if self._bus is not None:
            with contextlib.suppress(BusError, TimeoutError):
                async with asyncio.timeout(_TELL):
                    await self._bus().publish(_topic(id.partition(".")[0]), id.encode())

    async def find(self, id: str) -> Found:
        if "." not in id:
            return await self._others.find(id)
        import asyncio

        return await asyncio.to_thread(self._find, id)

    async def wait(self, ids: Sequence[str], owner: Owner, seconds: float) -> tuple[str, Case]:
        if owner.workspace is None:
            return await self._others.wait(ids, owner, seconds)
        import asyncio

        until = self._clock() + seconds
        if any(id.partition(".")[0] != owner.workspace for id in ids):
            raise unknown()
        watch, waiter = self._watch(owner.workspace), Future[None]()
        # From here on nothing is missed that is settled.
        watch.add(ids, waiter)
        try:
            while True:
                found = await asyncio.to_thread(self._look, ids, owner)
                if isinstance(found, tuple):
                    return found
                now = self._clock()
                if now >= until:
                    raise TimeoutError
                await asyncio.wait(
                    [asyncio.wrap_future(waiter)], timeout=min(until, found, now + _PATIENCE) - now
                )
                if waiter.done():
                    watch.remove(ids, waiter)
                    waiter = Future[None]()
                    watch.add(ids, waiter)
        finally:
            watch.remove(ids, waiter)

    # -- in threads -----------------------------------------------------------------------------

    def _database(self, workspace: str, *, make: bool = False) -> Database:
        try:
            return self._open(workspace, make)
        except NotFound:
            raise unknown() from None

    def _create(self, owner: Owner, workspace: str, seconds: float | None, form: bytes | None) -> str:
        limits = self._limits
        deadline = self._clock() + deadline_of(limits, seconds)
        database = self._database(workspace, make=True)
        self._sweep(workspace, database)
        key = _key(owner)
        with database.query(_OPEN, {"owner": key}, limit=limits.owned) as cursor:
            mine = sum(1 for record in cursor if record["deadline"] > self._clock() * 1000)
        if mine >= limits.owned:
            raise FFIError(f"you have {limits.owned} signals, which is the limit; cancel some")
        if database.stats()["records"] >= limits.signals:
            raise FFIError(f"there are {limits.signals} signals in this workspace, which is the limit")
        id = new_id()
        record: dict[str, Value] = {
            "_rmx_id": f"signal:{id}",
            "_rmx_type": "signal",
            "owner": key,
            "app": owner.app,
            "user": owner.user,
            "home": owner.home,
            "open": True,
            "deadline": int(deadline * 1000),
            "until": int((deadline + limits.kept) * 1000),
            "outcome": None,
        }
        if form is not None:
            record["form"] = form
        database.save([record], _NEW)
        return f"{workspace}.{id}"

    def _read(self, id: str) -> tuple[Database, dict[str, Any]]:
        workspace, _, rest = id.partition(".")
        try:
            database = self._open(workspace, False)
        except NotFound:
            database = None
        if database is None:
            # Whoever knows an id may settle it, so anybody may ask: where there is no database another one is looked
            # into for nothing, or by the time that it takes everybody could tell which workspaces there are.
            with contextlib.suppress(NotFound):
                _record(self._open(self._instead, False), rest)
            raise unknown()
        self._instead = workspace
        record = _record(database, rest)
        if record is None or record["until"] <= self._clock() * 1000:
            raise unknown()
        return database, record

    def _settle(self, id: str, outcome: Case) -> None:
        words = sealed(self._limits, outcome)
        database, record = self._read(id)
        if record["outcome"] is None and record["deadline"] > self._clock() * 1000:
            form = record.get("form")
            check_outcome(None if form is None else bytes(form), outcome)
            if database.stats()["size"] + len(words) > 4 * self._limits.total:
                raise FFIError("the signals of this workspace keep as much as they may; try again later")
            if self._write(database, record, words):
                return
        elif record["outcome"] is None:
            self._write(database, record, sealed(self._limits, TIMEOUT))
        raise Settled("something was sent to this signal before, or it was canceled or is too late")

    def _write(self, database: Database, record: dict[str, Any], words: bytes) -> bool:
        """Settle it; False if somebody else has."""
        new = {name: value for name, value in record.items() if not name.startswith("_rmx_")}
        new |= {name: record[name] for name in ("_rmx_id", "_rmx_type", "_rmx_rev")}
        until = int((self._clock() + self._limits.kept) * 1000)
        new |= {"open": False, "until": until, "outcome": words}
        try:
            database.save([new], _ONCE)
        except Conflict:
            return False
        return True

    def _find(self, id: str) -> Found:
        database, record = self._read(id)
        if record["outcome"] is None and record["deadline"] <= self._clock() * 1000:
            # Written down, so that all find the same though somebody settles it in this moment.
            self._write(database, record, sealed(self._limits, TIMEOUT))
            database, record = self._read(id)
        words = record["outcome"]
        owner = Owner(id.partition(".")[0], record["app"], record["user"], record["home"])
        return Found(owner, record["deadline"] / 1000, None if words is None else opened(bytes(words)))

    def _look(self, ids: Sequence[str], owner: Owner) -> tuple[str, Case] | float:
        """The first that is settled, or else the next deadline."""
        first = float("inf")
        settled: tuple[str, Case] | None = None
        for id in ids:
            found = self._find(id)
            if found.owner != owner:
                raise unknown()
            if found.outcome is None:
                first = min(first, found.deadline)
            elif settled is None:
                settled = id, found.outcome
        return first if settled is None else settled

    def _sweep(self, workspace: str, database: Database) -> None:
        """Forget what is too old, from time to time."""
        now = self._clock()
        if now < self._swept.get(workspace, 0.0) + _SWEEP:
            return
        self._swept[workspace] = now
        with database.query(_OLD, {"now": int(now * 1000)}, limit=1_000) as cursor:
            old = [record["_rmx_id"] for record in cursor]
        if old:
            database.delete(old)
        stats = database.stats()
        if stats["versions"] - stats["records"] > _STALE:
            database.compact(drop_history=True)

    # -- waking ---------------------------------------------------------------------------------

    def _watch(self, workspace: str) -> _Watch:
        import asyncio

        loop = asyncio.get_running_loop()
        key = (workspace, id(loop))
        with self._lock:
            for other, watch in list(self._watches.items()):
                if watch.loop.is_closed():
                    del self._watches[other]
            found = self._watches.get(key)
            if found is None or found.loop is not loop:
                found = self._watches[key] = _Watch(
                    loop, workspace, lambda: self._database(workspace), self._bus, self._limits.waiters
                )
            return found


def _record(database: Database, rest: str) -> dict[str, Any] | None:
    """What is kept of the signal with what stands behind the dot in an id."""
    return database.get(f"signal:{rest}") if len(rest) == 32 and rest.isalnum() else None


class _Watch:
    """Wakes those who wait on one event loop, when something in the database has changed that concerns them."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        workspace: str,
        open: Callable[[], Database],
        bus: Callable[[], Bus] | None,
        most: int,
    ) -> None:
        self.loop = loop
        self._workspace = workspace
        self._open = open
        self._bus = bus
        self._most = most
        self._waiters: dict[str, set[Future[None]]] = {}
        self._tasks: list[asyncio.Task[None]] = []

    def add(self, ids: Sequence[str], waiter: Future[None]) -> None:
        if any(len(self._waiters.get(id, ())) >= self._most for id in ids):
            raise FFIError(f"{self._most} calls await this signal already, which is the limit")
        for id in ids:
            self._waiters.setdefault(id, set()).add(waiter)
        if not self._tasks or self._tasks[0].done():
            self._stop()
            self._tasks = [self.loop.create_task(self._look())]
            if self._bus is not None:
                self._tasks.append(self.loop.create_task(self._listen(self._bus())))

    def remove(self, ids: Sequence[str], waiter: Future[None]) -> None:
        for id in ids:
            waiters = self._waiters.get(id, set())
            waiters.discard(waiter)
            if not waiters:
                self._waiters.pop(id, None)
        if not self._waiters:
            self._stop()

    def _stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        self._tasks = []

    async def _listen(self, bus: Bus) -> None:
        """Wake whoever waits for what another process says that it has settled."""
        with contextlib.suppress(BusError):
            subscription = await bus.subscribe(_topic(self._workspace), owner=("signals", self._workspace))
            try:
                while True:
                    try:
                        self._wake([(await subscription.next()).payload.decode()])
                    except MessagesMissed:
                        self._wake(list(self._waiters))
            finally:
                subscription.close()

    async def _look(self) -> None:
        """The same by what is in the database: the bus may have lost something, and not all have one."""
        import asyncio

        try:
            database = await asyncio.to_thread(self._open)
            watermark = await asyncio.to_thread(database.watermark)
            while True:
                self._wake(await asyncio.to_thread(self._settled, database, list(self._waiters)))
                watermark = await database.changed_async(watermark)
        except Exception:
            # Whoever waits looks for itself, and finds what is wrong.
            self._wake(list(self._waiters))

    @staticmethod
    def _settled(database: Database, ids: list[str]) -> list[str]:
        keys = {id: f"signal:{id.partition('.')[2]}" for id in ids}
        records = {id: database.get(key) for id, key in keys.items()}
        return [id for id, record in records.items() if record is None or record["outcome"] is not None]

    def _wake(self, ids: list[str]) -> None:
        for id in ids:
            for waiter in self._waiters.pop(id, set()):
                if not waiter.done():
                    waiter.set_result(None)


def _topic(workspace: str) -> str:
    # No agent and no client can name it.
    return f"$signals/{workspace}"


def _key(owner: Owner) -> str:
    return repr((owner.app, owner.user, owner.home))
