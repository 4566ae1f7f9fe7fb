"""Rows of a query as an answer: an array of JSON or MessagePack made whole, or NDJSON row by row.

What is made whole has a limit of size. NDJSON has none: a batch of rows is read when the client has taken the one
before, so that an answer of any length takes the memory of one batch.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Sequence
from typing import TYPE_CHECKING, Final

import falcon
import msgpack  # type: ignore[import-untyped]

from mix_server.error_answer import error_line
from mix_server.errors import NotAcceptable, Stopping
from mix_server.response import NDJSON, wants_msgpack, wants_ndjson, write_value
from mix_server.size import Size
from mix_server.streams import CutOff, Stream
from mixkit.errors import MixError, TaggedJSONError, ValueKindError, printable
from mixkit.storage import BATCH

if TYPE_CHECKING:
    from mix_server.question import Question
    from mix_server.request import Request
    from mix_server.response import Response
    from mix_server.server import Server
    from mixkit.rows import Rows
    from mixkit.storage import Cursor, Database

__all__ = ["WARNING", "WATERMARK", "answer"]

WATERMARK: Final = "Mix-Watermark"
"""The header that says which state of the database was read."""

WARNING: Final = "Mix-Warning"
"""The header that says what a query names that no record has."""


async def answer(
    server: Server, req: Request, resp: Response, database: Database, question: Question
) -> None:
    """Run the query and make its rows, or how it would be run, the answer. The body must have been read."""
    question.source  # noqa: B018 - refused before a thread is taken
    if question.explain:
        with req.watch():
            plan = await server.databases.call(lambda: question.explained(database))
        write_value(req.accept, resp, dict(plan))
    elif wants_ndjson(req.accept):
        await _stream(server, req, resp, database, question)
    else:
        await _whole(server, req, resp, database, question)


class _Reading:
    """A query that is read in threads, one call after the other, and can be stopped from outside at any time."""

    def __init__(self, question: Question, database: Database, most_seconds: float) -> None:
        self._question = question
        self._database = database
        self._most_seconds = most_seconds
        self._cursor: Cursor | None = None
        self._cancelled = False
        self._warnings: Sequence[str] = ()

    def label(self, resp: Response) -> None:
        """Say in headers what was read, and what is odd about the query; known after the first rows are read."""
        resp.set_header(WATERMARK, self.watermark)
        if self._warnings:
            text = " | ".join(map(printable, self._warnings))
            resp.set_header(WARNING, text.encode("ascii", "backslashreplace").decode())

    @property
    def watermark(self) -> str:
        """The state that is read; known after the first rows are."""
        assert self._cursor is not None, "nothing was read yet"
        return self._cursor.watermark

    def next(self, most: int = BATCH) -> Rows:
        """The next of the rows that are wanted, about so many at most; none when there are no more."""
        cursor = self._cursor
        if cursor is None:
            cursor = self._cursor = self._question.run(self._database, self._most_seconds)
            if self._cancelled:
                cursor.cancel()
            self._warnings = cursor.warnings()
        return cursor.next_rows(most)

    def cancel(self) -> None:
        """Let what reads end soon."""
        self._cancelled = True
        if self._cursor is not None:
            self._cursor.cancel()

    def close(self) -> None:
        """Free what the query holds."""
        if self._cursor is not None:
            self._cursor.close()


_REMEDY: Final = f"ask for fewer rows with limit, or for Accept: {NDJSON}"


_MANY: Final = 500
"""Rows that are asked for at once where nobody waits for the first of them."""


async def _whole(
    server: Server, req: Request, resp: Response, database: Database, question: Question
) -> None:
    reading = _Reading(question, database, server.settings.query_timeout)
    size = Size(server.settings.answer_limit, _REMEDY)
    packed = req.accept != "*/*" and wants_msgpack(req.accept)

    def work() -> bytes:
        parts: list[bytes] = []
        count = 0
        try:
            while rows := reading.next(_MANY):
                if not packed:
                    parts.append(b"," if count else b"[")
                parts.append(size.add(rows.msgpack() if packed else rows.json()))
                count += len(rows)
        except (TaggedJSONError, ValueKindError) as exc:
            raise NotAcceptable(f"a row cannot be written: {exc}") from None
        finally:
            reading.close()
        # PERF: put together once, since to copy a large answer costs as much as to write it.
        if packed:
            return b"".join([msgpack.Packer().pack_array_header(count), *parts])
        return b"".join([*parts, b"]"]) if count else b"[]"

    with req.watch():
        resp.data = await server.databases.call(work, reading.cancel)
    resp.content_type = falcon.MEDIA_MSGPACK if packed else falcon.MEDIA_JSON
    reading.label(resp)


_PART: Final = 512 << 10
"""About how many bytes of NDJSON are sent at once: each part costs a call in a thread, and more."""
_SOON: Final = 0.02
"""Seconds for which rows that are there wait for more of them."""


async def _stream(
    server: Server, req: Request, resp: Response, database: Database, question: Question
) -> None:
    server.streams.check(req)
    reading = _Reading(question, database, server.settings.query_timeout)
    # The first rows do not wait for others.
    wanted = 0
    failed: MixError | None = None
    ended = False

    def batch() -> bytes:
        nonlocal wanted, failed, ended
        if failed is not None:
            raise failed
        lines: list[bytes] = []
        left, wanted = wanted, _PART
        until = time.monotonic() + _SOON
        try:
            while rows := reading.next():
                lines += (rows.json(b"\n"), b"\n")
                left -= len(lines[-2])
                if left <= 0 or time.monotonic() > until:
                    break
            else:
                ended = True
        except MixError as exc:
            if not lines:
                raise
            # What was read before it is sent before it.
            failed = exc
        return b"".join(lines)

    async def parts(first: bytes) -> AsyncGenerator[bytes, None]:
        part = first
        try:
            while part:
                yield part
                part = b"" if ended else await server.databases.call(batch, reading.cancel)
        except Stopping:
            raise CutOff from None
        except MixError as exc:
            yield error_line(req, exc) + b"\n"
            raise CutOff from exc

    try:
        with req.watch():
            # The status is decided by the first rows: most queries that fail have none.
            first = await server.databases.call(batch, reading.cancel)
    except BaseException:
        reading.close()
        raise
    resp.content_type = NDJSON
    reading.label(resp)
    resp.stream = Stream(server.streams, req, parts(first), reading.close)
