"""Live queries that streams share: who asks the same hears the same, computed and written once.

A following is one live query of a database. Its followers are the streams. What one of them has not taken waits in a
queue, and the events in it are those of the others; whoever lags further behind than the queue is long begins anew with
all rows when it is ready for them. Where the process holds more events than it may, the oldest is taken from all.
"""

from __future__ import annotations

import asyncio
import weakref
from typing import TYPE_CHECKING, Final, TypeAlias

from mix_server.databases import contained
from mix_server.follower import Dropped, Followed, Follower
from mix_server.live_event import Event, Writer
from mixkit import tagged_json
from mixkit.errors import QueryCancelled, QueryError, QueryTimeout, QueryTooLarge

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mix_server.databases import Databases
    from mix_server.held import Held
    from mix_server.question import Question
    from mix_server.settings import ServerSettings
    from mixkit.storage import Database
    from mixkit.storage import Live as LiveQuery

__all__ = ["Following", "Followings"]

_STEPS: Final = 2
"""Changes that are computed and written at once: each is many rows in memory, and they are to leave time for runs."""

Step: TypeAlias = "tuple[str, Event | None] | None"
"""A new state, and the event that leads to it if somebody wanted that."""


class Followings:
    """All followings of a process.

    Args:
        databases: calls what takes long.
        settings: `answer_limit`, `query_timeout` and `heartbeat` count here.
        held: counts the events.
    """

    def __init__(self, databases: Databases, settings: ServerSettings, held: Held) -> None:
        self._databases = databases
        self._settings = settings
        self._held = held
        self._open: dict[tuple[int, str], Following] = {}
        self._running: set[Following] = set()
        self._stepping = asyncio.Semaphore(_STEPS)

    async def join(self, database: Database, question: Question, since: str | None) -> Follower:
        """Follow a query.

        Args:
            since: the watermark of the last event that the client has seen.

        Raises:
            QueryError: it cannot be followed.
            Overloaded, Stopping: there is no place.
        """
        return Follower(await self.following(database, question), since)

    async def following(self, database: Database, question: Question) -> Following:
        """The one of this query, begun if there is none. Raises as `join`."""
        key = (id(database), tagged_json.dumps([question.query, question.ast, question.params]))
        if (found := self._open.get(key)) is not None:
            return found
        opened: list[LiveQuery] = []
        try:
            await self._databases.call(lambda: opened.append(database.live(question.source, question.params)))
        except BaseException:
            for live in opened:
                live.close()
            raise
        if (found := self._open.get(key)) is not None:
            # Somebody was quicker.
            opened[0].close()
            return found
        writer = Writer(database, question, self._settings.answer_limit, self._settings.query_timeout)
        found = self._open[key] = Following(self, opened[0], writer, self._settings.heartbeat)
        self._running.add(found)
        self._held.by.add(found)
        return found

    def retire(self, following: Following) -> None:
        """Let nobody join it any more."""
        for key in [key for key, found in self._open.items() if found is following]:
            del self._open[key]

    def ended(self, following: Following) -> None:
        """Forget it."""
        self.retire(following)
        self._running.discard(following)
        self._held.by.discard(following)

    async def step(self, live: LiveQuery, writer: Writer, *, wanted: Callable[[], bool], all: bool) -> Step:
        """The change up to now, as far as somebody wants it; None if there is none. `all`: it has all rows."""

        def work(wanted: bool) -> Step:
            change = live.next(0)
            if change is None:
                return None
            return change.watermark, writer.change(change, all=all) if wanted else None

        async with self._stepping:
            found = await asyncio.to_thread(work, wanted())
        if found is not None and found[1] is not None:
            self._held.count(found[1])
        return found

    async def begin(self, since: str | None, watermark: str, writer: Writer) -> Event:
        """The event with which a follower begins. `Dropped` if that state cannot be read any more."""
        try:
            event = await self._databases.call(lambda: writer.beginning(since, watermark))
        except (QueryTimeout, QueryTooLarge, QueryCancelled):
            raise
        except QueryError as exc:
            raise Dropped from exc
        self._held.count(event)
        return event

    async def stop(self) -> None:
        """End all."""
        tasks = [following.end() for following in self._running]
        if tasks:
            await asyncio.wait(tasks)


class Following(Followed):
    """One live query, followed in a task as long as it has followers.

    Attributes:
        writer: writes its events, and knows what is asked of which database.
        watermark: the state behind its last event; None before the first.
    """

    def __init__(self, all: Followings, live: LiveQuery, writer: Writer, patience: float) -> None:
        super().__init__()
        self.writer = writer
        self.watermark: str | None = None
        self._all = all
        self._live = live
        self._patience = patience
        self._made: weakref.WeakValueDictionary[str | None, Event] = weakref.WeakValueDictionary()
        self._making: dict[str | None, asyncio.Task[Event]] = {}
        self._error: Exception | None = None

    def enter(self, follower: Follower) -> None:
        super().enter(follower)
        if self._error is not None:
            follower.fail(self._error)

    def lagging(self, follower: Follower) -> None:
        """It begins anew, with all rows, when it is ready for them."""
        follower.fall_behind()

    async def another(self) -> Following:
        """One of the same query that begins anew, for what nobody can join any more."""
        self._retire()
        return await self._all.following(self.writer.database, self.writer.question)

    async def beginning(self, since: str | None) -> Event:
        """All rows in the state that was followed up to when this is called, or how they differ from those of `since`.

        Raises:
            Dropped: that state cannot be read any more.
            MixError: it could not be done.
        """
        if (made := self._made.get(since)) is not None:
            return made
        making = self._making.get(since)
        if making is None:
            assert self.watermark is not None
            work = self._all.begin(since, self.watermark, self.writer)
            making = self._making[since] = asyncio.get_running_loop().create_task(work)
            making.add_done_callback(lambda done: self._keep(since, done))
        try:
            # Whoever else wants it goes on waiting when one of them has gone.
            return await asyncio.shield(making)
        except asyncio.CancelledError:
            if making.cancelled() and not self._running():
                raise QueryCancelled("the live query has ended") from None
            raise

    def _running(self) -> bool:
        return self._task is not None and not self._task.done()

    def _keep(self, since: str | None, done: asyncio.Task[Event]) -> None:
        failed = done.cancelled() or done.exception() is not None
        if self._making.get(since) is done:
            del self._making[since]
            if not failed:
                self._made[since] = done.result()

    async def _change_after(self, watermark: str) -> str:
        with contained():
            return await self.writer.database.changed_async(watermark)

    async def _run(self) -> None:
        coming: asyncio.Task[str] | None = None
        try:
            await self._step()
            seen = self.watermark
            while self._followers:
                if coming is None:
                    assert seen is not None
                    coming = asyncio.create_task(self._change_after(seen))
                await asyncio.wait([coming], timeout=self._patience)
                if coming.done():
                    done, coming = coming, None
                    seen = done.result()
                    await self._step()
        except Exception as exc:
            self._error = exc
            if not self._begun.done():
                self._begun.set_result(None)
            for follower in self._followers:
                follower.fail(exc)
        finally:
            if coming is not None:
                coming.cancel()
                await asyncio.wait([coming])
                if not coming.cancelled():
                    coming.exception()

    def _retire(self) -> None:
        self._all.retire(self)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._all.ended(self)
        self._live.close()
        for making in self._making.values():
            making.cancel()

    async def _step(self) -> None:
        """Pass on what has changed."""
        first = not self._begun.done()
        # Where all begin anew anyway, nobody wants it.
        step = await self._all.step(
            self._live, self.writer, wanted=lambda: first or not all(self._behind()), all=first
        )
        if step is None:
            return
        self.watermark, event = step
        # What is being made is of the state before, and for those who were there then.
        self._making.clear()
        self._made.clear()
        if first:
            self._begun.set_result(None)
        for follower in self._followers:
            if event is not None:
                follower.put(event)
            elif not follower.behind:
                # It has begun in the meantime, with the state before.
                follower.fall_behind()

    def _behind(self) -> Iterator[bool]:
        return (follower.behind for follower in self._followers)
