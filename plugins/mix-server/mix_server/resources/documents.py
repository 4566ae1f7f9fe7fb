"""Records of an app's database: list, get, save, replace, change, delete; and their versions."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, NotRequired, TypedDict

import msgspec

from mix_server.answer import answer
from mix_server.caller import Permission
from mix_server.described import DATABASE, VALUE, Method
from mix_server.errors import BadRequest
from mix_server.match import Match, etag, not_modified
from mix_server.payload import read_record, read_value
from mix_server.question import EVERYTHING, FIELDS, Question, from_query_string, reader_at
from mix_server.response import NDJSON, write_value
from mix_server.size import Size
from mixkit.activities import Kind
from mixkit.errors import NotFound
from mixkit.fields import valid
from mixkit.storage import SaveOptions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mix_server.request import Request
    from mix_server.response import Response
    from mix_server.server import Server
    from mixkit.storage import Commit, Database, Reader, Record

__all__ = ["MOST", "PAGE", "Document", "Documents", "History", "Save"]

PAGE: Final = 100
"""Records of a list that is asked for without a limit."""
MOST: Final = 1000
"""Records of a list at most. A query has no such bound."""

_WELL_FORMED: Final = re.compile(r"[0-9A-Za-z]{32}", re.ASCII)
_AS_OF: Final = "as_of"
_RECORD: Final = dict[str, Any]


class Documents:
    """`…/app/{app}/documents`: GET lists or queries, POST saves a record."""

    permissions: ClassVar = {"GET": Permission.READ, "POST": Permission.WRITE}
    activities: ClassVar = {"POST": Kind.SAVE}
    options: ClassVar = {"GET": FIELDS}
    methods: ClassVar = {
        "GET": Method(
            "List records, or those that a query finds",
            {200: list[Any] | dict[str, Any]},
            (*VALUE, NDJSON),
            query=Question,
            errors=DATABASE,
        ),
        "POST": Method(
            "Save a record", dict.fromkeys((200, 201), _RECORD), VALUE, _RECORD, VALUE, errors=DATABASE
        ),
    }

    def __init__(self, server: Server) -> None:
        self._server = server

    async def on_get(self, req: Request, resp: Response, ws: str, app: str) -> None:
        question = from_query_string(req.query_string)
        limit = PAGE if question.limit is None else question.limit
        if limit > MOST:
            raise BadRequest(f"expected a limit of at most {MOST}, found {limit}; a query has no such bound")
        changes: dict[str, Any] = {"limit": limit}
        if question.query is None and question.ast is None:
            changes["query"] = EVERYTHING
        database = await self._server.databases.of(ws, app)
        await answer(self._server, req, resp, database, msgspec.structs.replace(question, **changes))

    async def on_post(self, req: Request, resp: Response, ws: str, app: str) -> None:
        database = await self._server.databases.of(ws, app)
        settings = self._server.settings
        record = await read_record(req, settings.body_limit, settings.body_timeout, settings.values_limit)
        commit = await _save(self._server, database, [record])
        _write_saved(req, resp, commit.records[0], f"/v1/ws/{ws}/app/{app}/documents/")


class Document:
    """`…/documents/{id}`: one record, as it is now or was `?as_of=`."""

    permissions: ClassVar = {
        "GET": Permission.READ,
        "PUT": Permission.WRITE,
        "PATCH": Permission.WRITE,
        "DELETE": Permission.WRITE,
    }
    activities: ClassVar = dict.fromkeys(("PUT", "PATCH", "DELETE"), Kind.SAVE)
    heeds_conditions = frozenset({"PUT", "PATCH", "DELETE"})
    options: ClassVar = {"GET": frozenset({_AS_OF})}
    methods: ClassVar = {
        "GET": Method("Read a record", {200: _RECORD, 304: None}, VALUE, errors=DATABASE | {412}),
        "PUT": Method(
            "Replace a record", dict.fromkeys((200, 201), _RECORD), VALUE, _RECORD, VALUE, errors=DATABASE
        ),
        "PATCH": Method(
            "Lay fields over those of a record",
            dict.fromkeys((200, 201), _RECORD),
            VALUE,
            _RECORD,
            VALUE,
            errors=DATABASE,
        ),
        "DELETE": Method("Delete a record; its versions stay", {200: _RECORD}, VALUE, errors=DATABASE),
    }

    def __init__(self, server: Server) -> None:
        self._server = server

    async def on_get(self, req: Request, resp: Response, ws: str, app: str, id: str) -> None:
        database = await self._server.databases.of(ws, app)
        when = _as_of(req)
        if when is None:
            found = await self._server.databases.look_up(lambda: database.get(id))
        else:
            found = await self._server.databases.call(lambda: reader_at(database, when).get(id))
        if found is None:
            raise NotFound(f"no record {id!r:.80}")
        resp.set_header("ETag", etag(found))
        if not_modified(req, found):
            resp.status = 304
        else:
            write_value(req.accept, resp, found)

    async def on_put(self, req: Request, resp: Response, ws: str, app: str, id: str) -> None:
        await self._write(req, resp, ws, app, id, upsert=False)

    async def on_patch(self, req: Request, resp: Response, ws: str, app: str, id: str) -> None:
        await self._write(req, resp, ws, app, id, upsert=True)

    async def on_delete(self, req: Request, resp: Response, ws: str, app: str, id: str) -> None:
        match = Match.of(req)
        database = await self._server.databases.of(ws, app)

        def work() -> Commit:
            if match is None:
                return database.delete([id])
            return match.keep(database, id, lambda rev: database.delete([{"_rmx_id": id, "_rmx_rev": rev}]))

        commit = await self._server.databases.call(work)
        write_value(req.accept, resp, commit.records[0])

    async def _write(self, req: Request, resp: Response, ws: str, app: str, id: str, *, upsert: bool) -> None:
        match = Match.of(req)
        database = await self._server.databases.of(ws, app)
        settings = self._server.settings
        record = await read_record(req, settings.body_limit, settings.body_timeout, settings.values_limit)
        given = record.get("_rmx_id", id)
        if getattr(given, "id", given) != id:
            raise BadRequest(f"expected a record with the id of the path or none, found {str(given)[:80]!r}")
        if not _WELL_FORMED.fullmatch(id) and await self._server.databases.call(
            lambda: not database.history(id)
        ):
            raise BadRequest(f"expected 32 letters and digits as the id of a new record, found {id[:80]!r}")
        # NOTE: whoever takes the record away meanwhile does not make its id a temporary one.
        options = SaveOptions(upsert=upsert, original_id_always=True, unchanged=match is not None)

        def work() -> Commit:
            if match is None:
                return database.save([record | {"_rmx_id": id}], options)
            return match.keep(
                database, id, lambda rev: database.save([record | {"_rmx_id": id, "_rmx_rev": rev}], options)
            )

        commit = await self._server.databases.call(work)
        _write_saved(req, resp, commit.records[0])


class History:
    """`GET …/documents/{id}/history`: all versions of a record, oldest first."""

    permissions: ClassVar = {"GET": Permission.READ}
    options: ClassVar = {"GET": frozenset({_AS_OF})}
    methods: ClassVar = {
        "GET": Method("List all versions of a record", {200: list[Any]}, VALUE, errors=DATABASE)
    }

    def __init__(self, server: Server) -> None:
        self._server = server

    async def on_get(self, req: Request, resp: Response, ws: str, app: str, id: str) -> None:
        database = await self._server.databases.of(ws, app)
        when = _as_of(req)

        def read() -> list[Record]:
            reader: Reader = reader_at(database, when)
            return reader.history(id)

        versions = await self._server.databases.call(read)
        if not versions:
            raise NotFound(f"no record {id!r:.80}")
        write_value(req.accept, resp, versions)
        remedy = "a query with include_superseded answers parts of it, and NDJSON"
        Size(self._server.settings.answer_limit, remedy).add(resp.data or b"")


class Batch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of `POST …/save`."""

    records: list[dict[str, Any]]
    upsert: bool = False
    options: SaveOptions = SaveOptions()


class Saved(TypedDict):
    """What a commit stored: the records, or with `?return=ids` their ids."""

    watermark: str
    records: NotRequired[list[dict[str, Any]]]
    ids: NotRequired[list[str]]


_SaveQuery = TypedDict("_SaveQuery", {"return": Literal["records", "ids"]})


class Save:
    """`POST …/app/{app}/save`: many records in one commit, all or none; `?return=ids` answers only their ids."""

    permissions: ClassVar = {"POST": Permission.WRITE}
    activities: ClassVar = {"POST": Kind.SAVE}
    options: ClassVar = {"POST": frozenset({"return"})}
    methods: ClassVar = {
        "POST": Method(
            "Save many records in one commit, all or none",
            {200: Saved},
            VALUE,
            takes=list[Any] | Batch,
            taken_as=VALUE,
            query=_SaveQuery,
            errors=DATABASE,
        )
    }

    def __init__(self, server: Server) -> None:
        self._server = server

    async def on_post(self, req: Request, resp: Response, ws: str, app: str) -> None:
        wanted = req.get_param("return", default="records")
        if wanted not in ("records", "ids"):
            raise BadRequest(f"expected return=records or return=ids, found {wanted[:40]!r}")
        database = await self._server.databases.of(ws, app)
        settings = self._server.settings
        value = await read_value(req, settings.body_limit, settings.body_timeout, settings.values_limit)
        try:
            batch = msgspec.convert({"records": value} if type(value) is list else value, Batch)
        except msgspec.ValidationError as exc:
            raise BadRequest(
                f'expected an array of records or {{"records": […]}}: {exc}{valid(exc, Batch)}'
            ) from None
        options = msgspec.structs.replace(batch.options, upsert=True) if batch.upsert else batch.options
        req.about = {"records": len(batch.records)}
        commit = await _save(self._server, database, batch.records, options)
        saved: Any = commit.records
        if wanted == "ids":
            saved = [record["_rmx_id"].id for record in commit.records]
        write_value(req.accept, resp, {"watermark": commit.watermark, wanted: list(saved)})


async def _save(
    server: Server, database: Database, records: Sequence[Record], options: SaveOptions | None = None
) -> Commit:
    chosen = options or SaveOptions()
    return await server.databases.call(lambda: database.save(records, chosen))


def _write_saved(req: Request, resp: Response, record: Record, folder: str = "") -> None:
    """Answer the new version of a record; 201 if it is the first one."""
    if "_rmx_previous" not in record:
        resp.status = 201
    if folder:
        resp.location = folder + record["_rmx_id"].id
    resp.set_header("ETag", etag(record))
    write_value(req.accept, resp, record)


def _as_of(req: Request) -> str | None:
    return req.get_param(_AS_OF) if req.query_string else None
