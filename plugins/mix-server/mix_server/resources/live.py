"""Live queries as server-sent events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from typing import TYPE_CHECKING, Any, Final

from mix_server.answer import Size
from mix_server.errors import BadRequest, error_line
from mix_server.question import OPTIONS, Question, from_query_string
from mix_server.streams import CutOff, Stream
from mixkit import tagged_json
from mixkit.errors import MixError, QueryError
from mixkit.value import Ref

if TYPE_CHECKING:
    from mix_server.request import Request
    from mix_server.response import Response
    from mix_server.server import Server
    from mixkit.storage import Change, Database, Record
    from mixkit.storage import Live as LiveQuery

__all__ = ["Live"]

_HEARTBEAT: Final = b":\n\n"
_LONGEST_WATERMARK: Final = 64

Rows = Mapping[str, str]
"""Rows by the id of their record, each as JSON."""


class Live:
    """`GET …/app/{app}/live?query=&params=`: a query, and how its rows change.

    Each event has the watermark as its `id` and `{"watermark", "entered", "changed", "left"}` as its `data`.
    The first is a `change` with all rows as `entered`. With `Last-Event-ID` it has what changed since then; where
    that cannot be said any more it is a `reset`, which replaces all that the client knows.
    """

    def __init__(self, server: Server) -> None:
        self._server = server

    async def on_get(self, req: Request, resp: Response, ws: str, app: str) -> None:
        question = from_query_string(req.query_string)
        question.source  # noqa: B018 - refused before anything is opened
        if any(getattr(question, name) != getattr(_PLAIN, name) for name in OPTIONS):
            raise BadRequest("expected query or ast, and params; a live query has no other options")
        last = req.get_header("Last-Event-ID")
        server = self._server
        server.streams.check()
        database = await server.databases.of(ws, app)

        opened: list[LiveQuery] = []

        def begin() -> Rows | None:
            known = None if not last else self._rows_at(database, question, last)
            opened.append(database.live(question.source, question.params))
            return known

        try:
            with req.watch():
                known = await server.databases.call(begin)
        except BaseException:
            for live in opened:
                live.close()
            raise
        [live] = opened
        resp.content_type = "text/event-stream"
        resp.set_header("Cache-Control", "no-store")
        # Proxies that collect an answer before they pass it on would never pass this one on.
        resp.set_header("X-Accel-Buffering", "no")
        events = self._events(req, live, known, resumed=bool(last))
        resp.stream = Stream(server.streams, req, events, live.close, endless=True)

    def _rows_at(self, database: Database, question: Question, watermark: str) -> Rows | None:
        """What the client knows; None where that cannot be said: history was dropped, rows have no ids."""
        settings = self._server.settings
        size = Size(settings.answer_limit)
        known = {}
        try:
            reader = database.as_of(watermark[:_LONGEST_WATERMARK])
            with reader.query(question.source, question.params, timeout=settings.query_timeout) as cursor:
                for row in cursor:
                    id = _id_of(row)
                    if id is None:
                        return None
                    known[id] = tagged_json.dumps(row)
                    size.add(known[id].encode())
        except (QueryError, BadRequest):
            # If it is the query that is wrong, following it says so.
            return None
        return known

    async def _events(
        self, req: Request, live: LiveQuery, known: Rows | None, *, resumed: bool
    ) -> AsyncGenerator[bytes, None]:
        heartbeat = self._server.settings.heartbeat
        loop = asyncio.get_running_loop()
        coming = loop.create_task(live.next_async())
        first = True
        try:
            # Sent at once, so that the client knows that it is connected.
            yield _HEARTBEAT
            while True:
                # NOTE: the wait is bounded, not the task: a change must not be lost with a cancelled one.
                await asyncio.wait([coming], timeout=heartbeat)
                if not coming.done():
                    yield _HEARTBEAT
                    continue
                change = coming.result()
                coming = loop.create_task(live.next_async())
                event = await asyncio.to_thread(self._event, change, first, resumed, known)
                # The wait for the next change may be long, and these are all rows of the query, and again as text.
                del change
                first, known = False, None
                yield event
                del event
        except MixError as exc:
            yield b"event: error\ndata: " + error_line(req, exc) + b"\n\n"
            raise CutOff from exc
        finally:
            coming.cancel()
            await asyncio.wait([coming])
            if not coming.cancelled():
                coming.exception()

    def _event(self, change: Change, first: bool, resumed: bool, known: Rows | None) -> bytes:
        kind, entered, changed = "change", list(change.entered), list(change.changed)
        left = list(change.left)
        if first and resumed:
            compared = None if known is None else _compare(known, entered)
            if compared is None:
                kind = "reset"
            else:
                entered, changed, left = compared
        data = tagged_json.dumps(
            {"watermark": change.watermark, "entered": entered, "changed": changed, "left": left}
        )
        event = f"event: {kind}\nid: {change.watermark}\ndata: {data}\n\n".encode()
        return Size(self._server.settings.answer_limit, "follow a query of fewer rows").add(event)


_PLAIN: Final = Question()


def _compare(known: Rows, rows: list[Record]) -> tuple[list[Record], list[Record], list[Ref]] | None:
    """What entered, changed and left between what was known and the rows now; None if rows have no ids."""
    entered, changed, seen = [], [], set()
    for row in rows:
        id = _id_of(row)
        if id is None:
            return None
        seen.add(id)
        if id not in known:
            entered.append(row)
        elif known[id] != tagged_json.dumps(row):
            changed.append(row)
    return entered, changed, [Ref(id) for id in known if id not in seen]


def _id_of(row: Any) -> str | None:
    ref = row.get("_rmx_id") if type(row) is dict else None
    return ref.id if type(ref) is Ref else None
