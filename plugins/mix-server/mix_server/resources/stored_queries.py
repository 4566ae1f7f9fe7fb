"""Stored queries: read, register, remove, run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from mix_server import stored_queries
from mix_server.answer import answer
from mix_server.caller import Permission
from mix_server.described import DATABASE, VALUE, Method
from mix_server.errors import BadRequest
from mix_server.match import Match, etag, not_modified
from mix_server.options import ITS_OWN
from mix_server.params import from_texts, parse_pairs
from mix_server.payload import read_record, read_value
from mix_server.question import OPTIONS, Question, from_pairs, from_value, question_of
from mix_server.response import NDJSON, write_value
from mix_server.stored_queries import StoredQuery, check_name
from mixkit.activities import Kind
from mixkit.errors import QueryError
from mixkit.storage import SaveOptions

if TYPE_CHECKING:
    from mix_server.request import Request
    from mix_server.response import Response
    from mix_server.server import Server
    from mixkit.storage import Database, Record

__all__ = ["StoredQueries"]


class StoredQueries:
    """`…/app/{app}/query/{name}`: POST runs; GET runs with a query string, and reads the definition without one;
    PUT registers, DELETE removes.

    `DELETE /query/{ws}/{app}/{name}` removes too.
    """

    permissions: ClassVar = {
        "GET": Permission.READ,
        "POST": Permission.READ,
        "PUT": Permission.WRITE,
        "DELETE": Permission.WRITE,
    }
    activities: ClassVar = {"PUT": Kind.SAVE, "DELETE": Kind.SAVE}
    heeds_conditions = frozenset({"PUT", "DELETE"})
    options: ClassVar = {"GET": ITS_OWN}
    methods: ClassVar = {
        "GET": Method(
            "Read the definition of a stored query, or run it with what the query string has",
            {200: list[Any] | dict[str, Any], 304: None},
            (*VALUE, NDJSON),
            errors=DATABASE | {412},
        ),
        "POST": Method(
            "Run a stored query",
            {200: list[Any] | dict[str, Any]},
            (*VALUE, NDJSON),
            Question,
            VALUE,
            errors=DATABASE,
        ),
        "PUT": Method(
            "Register a query",
            dict.fromkeys((200, 201), dict[str, Any]),
            VALUE,
            stored_queries.Definition,
            VALUE,
            errors=DATABASE,
        ),
        "DELETE": Method("Remove a stored query", {204: None}, errors=DATABASE),
    }

    def __init__(self, server: Server) -> None:
        self._server = server

    async def names(self, ws: str, app: str) -> list[dict[str, str]]:
        """Name and description of each."""
        database = await self._server.databases.of(ws, app)
        return await self._server.databases.call(lambda: stored_queries.names(database))

    async def on_get(self, req: Request, resp: Response, ws: str, app: str, name: str) -> None:
        database = await self._server.databases.of(ws, app)
        record = stored_queries.find_record(database, name)
        stored = stored_queries.from_record(name, record)
        if not req.query_string:
            resp.set_header("ETag", etag(record))
            if not_modified(req, record):
                resp.status = 304
            else:
                write_value(req.accept, resp, stored.to_dict(name))
            return
        pairs = parse_pairs(req.query_string)
        # A parameter hides an option of the same name: it was declared by somebody who knew.
        options = [pair for pair in pairs if pair[0] in OPTIONS and pair[0] not in stored.params]
        params = from_texts([pair for pair in pairs if pair not in options], stored.record_type)
        await self._run(req, resp, database, stored, from_pairs(options), params)

    async def on_post(self, req: Request, resp: Response, ws: str, app: str, name: str) -> None:
        database = await self._server.databases.of(ws, app)
        stored = stored_queries.find(database, name)
        settings = self._server.settings
        body = await read_value(
            req, settings.params_limit, settings.body_timeout, settings.values_limit, empty={}
        )
        question = from_value(body)
        if question.query is not None or question.ast is not None:
            raise BadRequest("expected params and no query: it is the stored one that is run")
        await self._run(req, resp, database, stored, question, question.params)

    async def on_put(self, req: Request, resp: Response, ws: str, app: str, name: str) -> None:
        check_name(name)
        req.about = {"query": name}
        match = Match.of(req)
        database = await self._server.databases.of(ws, app)
        settings = self._server.settings
        definition = await read_record(
            req, settings.params_limit, settings.body_timeout, settings.values_limit
        )
        if definition.pop("name", name) != name:
            raise BadRequest("expected no name in the definition, or that of the path")
        stored = StoredQuery(definition)
        record = stored_queries.to_record(name, stored)

        def register() -> Record:
            _check_query(database, question_of(stored, Question(), {}))
            if match is None:
                return database.save([record]).records[0]
            options = SaveOptions(unchanged=True)
            id = stored_queries.record_id(name)
            return match.keep(
                database, id, lambda rev: database.save([record | {"_rmx_rev": rev}], options)
            ).records[0]

        saved = await self._server.databases.call(register)
        resp.status = 200 if "_rmx_previous" in saved else 201
        resp.set_header("ETag", etag(saved))
        write_value(req.accept, resp, stored.to_dict(name))

    async def on_delete(self, req: Request, resp: Response, ws: str, app: str, name: str) -> None:
        req.about = {"query": name[:100]}
        match = Match.of(req)
        database = await self._server.databases.of(ws, app)
        id = stored_queries.record_id(name)

        def remove() -> None:
            # One that is damaged is all the more to be removed.
            stored_queries.find_record(database, name)
            if match is None:
                database.delete([id])
            else:
                match.keep(database, id, lambda rev: database.delete([{"_rmx_id": id, "_rmx_rev": rev}]))

        await self._server.databases.call(remove)
        resp.status = 204

    on_delete_v0 = on_delete

    async def _run(
        self,
        req: Request,
        resp: Response,
        database: Database,
        stored: StoredQuery,
        options: Question,
        params: dict[str, Any],
    ) -> None:
        question = question_of(stored, options, stored.bind(params))
        await answer(self._server, req, resp, database, question)


def _check_query(database: Database, question: Question) -> None:
    """Refuse a query that no parameters can make right."""
    try:
        question.explained(database)
    except QueryError as exc:
        # What has a place in the query is wrong with it; what has none is about parameters, which are not here.
        if hasattr(exc, "line") or hasattr(exc, "path"):
            raise
