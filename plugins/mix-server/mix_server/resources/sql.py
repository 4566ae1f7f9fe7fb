"""SQL over the records of an app."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final

import falcon
import msgpack  # type: ignore[import-untyped]
import msgspec
from msgspec import Meta

from mix_server.answer import WATERMARK
from mix_server.caller import Permission
from mix_server.described import DATABASE, VALUE, Method
from mix_server.error_answer import error_line
from mix_server.errors import BadRequest, NotAcceptable, Stopping, Unsupported
from mix_server.payload import read_value
from mix_server.question import reader_at
from mix_server.response import NDJSON, wants_msgpack, wants_ndjson
from mix_server.size import Size
from mix_server.streams import CutOff, Stream
from mixkit import msgpack_values, tagged_json
from mixkit.errors import MixError, NotFound, QueryTimeout, TaggedJSONError, ValueKindError
from mixkit.fields import valid
from mixkit.sql import RecordTables, SqlAnswer, SqlEngine, SqlSession, Tabular

if TYPE_CHECKING:
    from mix_server.request import Request
    from mix_server.response import Response
    from mix_server.server import Server

__all__ = ["Sql"]

_REMEDY: Final = f"aggregate, or ask for fewer rows with LIMIT, or for Accept: {NDJSON}"


class Statement(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a caller asks.

    Attributes:
        sql: statements; the answer is that of the last one.
        params: values for `?` in an array, for `$name` in an object.
        as_of: a watermark, Unix milliseconds or an ISO 8601 time with a zone; now if None.
        timeout: seconds for the statements and the reading of their rows.
    """

    sql: str
    params: dict[str, Any] | list[Any] = msgspec.field(default_factory=list)
    as_of: str | int | None = None
    timeout: Annotated[float, Meta(gt=0)] | None = None


class Sql:
    """`…/app/{app}/sql`: POST runs statements on the records, each type a table, and changes none."""

    permissions: ClassVar = {"POST": Permission.READ}
    methods: ClassVar = {
        "POST": Method(
            "Run SQL over the records, and change none",
            {200: list[Any]},
            (*VALUE, NDJSON),
            Statement,
            VALUE,
            errors=DATABASE | {501},
        )
    }

    def __init__(self, server: Server) -> None:
        self._server = server

    async def on_post(self, req: Request, resp: Response, ws: str, app: str) -> None:
        server, settings = self._server, self._server.settings
        database = await server.databases.of(ws, app)
        statement = _statement(
            await read_value(req, settings.params_limit, settings.body_timeout, settings.values_limit)
        )
        seconds = min(settings.query_timeout, statement.timeout or settings.query_timeout)
        engine = self._engine()

        def tables() -> RecordTables:
            reader = reader_at(database, statement.as_of)
            if not isinstance(reader, Tabular):
                raise Unsupported("the storage of this server does not hand over records in columns, for SQL")
            return reader.tables()

        with req.watch():
            asked = _Asked(engine, statement, await server.databases.look_up(tables), seconds)
        resp.set_header(WATERMARK, asked.watermark)
        if wants_ndjson(req.accept):
            await self._stream(req, resp, asked)
        else:
            await self._whole(req, resp, asked)

    def _engine(self) -> SqlEngine:
        try:
            return self._server.kernel.sql
        except NotFound as exc:
            raise Unsupported(str(exc)) from None

    async def _whole(self, req: Request, resp: Response, asked: _Asked) -> None:
        size = Size(self._server.settings.answer_limit, _REMEDY)
        packed = req.accept != "*/*" and wants_msgpack(req.accept)
        write = msgpack_values.pack if packed else _json
        rows: list[bytes] = []
        try:
            with req.watch():
                async with self._server.admission:
                    while batch := await asked.next():
                        rows += [size.add(write(row)) for row in batch]
        except (TaggedJSONError, ValueKindError) as exc:
            raise NotAcceptable(f"a row cannot be written: {exc}") from None
        finally:
            asked.close()
        if packed:
            resp.data = b"".join([msgpack.Packer().pack_array_header(len(rows)), *rows])
        else:
            resp.data = b"[" + b",".join(rows) + b"]"
        resp.content_type = falcon.MEDIA_MSGPACK if packed else falcon.MEDIA_JSON

    async def _stream(self, req: Request, resp: Response, asked: _Asked) -> None:
        server = self._server
        server.streams.check(req)

        async def lines() -> bytes:
            async with server.admission:
                return b"".join([_json(row) + b"\n" for row in await asked.next() or ()])

        async def parts(first: bytes) -> AsyncGenerator[bytes, None]:
            part = first
            try:
                while part:
                    yield part
                    part = await lines()
            except Stopping:
                raise CutOff from None
            except MixError as exc:
                yield error_line(req, exc) + b"\n"
                raise CutOff from exc

        try:
            with req.watch():
                # The status is decided by the first rows: most statements that fail have none.
                first = await lines()
        except BaseException:
            asked.close()
            raise
        resp.content_type = NDJSON
        resp.stream = Stream(server.streams, req, parts(first), asked.close)


class _Asked:
    """Statements that are run when the first rows are asked for, with so many seconds of work for all of them."""

    def __init__(self, engine: SqlEngine, statement: Statement, tables: RecordTables, seconds: float) -> None:
        self.watermark = tables.watermark
        self._engine = engine
        self._statement = statement
        self._tables = tables
        self._seconds = seconds
        self._left = seconds
        self._session: SqlSession | None = None
        self._answer: SqlAnswer | None = None

    async def next(self) -> list[dict[str, Any]] | None:
        """The next rows, None after the last. Raises as `mixkit.sql.SqlSession.query` does."""
        began = time.monotonic()
        try:
            async with asyncio.timeout(self._left):
                if self._answer is None:
                    self._session = await self._engine.open(self._tables, deadline=_FOREVER)
                    self._answer = await self._session.query(self._statement.sql, self._statement.params)
                return await self._answer.rows()
        except TimeoutError:
            raise QueryTimeout(self._seconds, "aggregate or filter earlier, or give it more time") from None
        finally:
            self._left -= time.monotonic() - began

    def close(self) -> None:
        """End the session. Twice is harmless."""
        if self._session is not None:
            self._session.close()


_FOREVER: Final = float("inf")
"""Waiting for a client is not work; `Stream` bounds it."""


def _statement(value: Any) -> Statement:
    if type(value) is not dict:
        raise BadRequest('expected {"sql": "…", "params": […]}, found no object')
    try:
        return msgspec.convert(value, Statement)
    except msgspec.ValidationError as exc:
        raise BadRequest(f"malformed statement: {exc}{valid(exc, Statement)}") from None


def _json(row: Any) -> bytes:
    return tagged_json.dumps(row).encode()
