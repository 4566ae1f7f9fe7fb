"""Queries over an app's database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from mix_server.answer import answer
from mix_server.caller import Permission
from mix_server.described import DATABASE, VALUE, Method
from mix_server.payload import read_value
from mix_server.question import FIELDS, Question, from_query_string, from_value
from mix_server.resources.stored_queries import StoredQueries
from mix_server.response import NDJSON

if TYPE_CHECKING:
    from mix_server.request import Request
    from mix_server.response import Response
    from mix_server.server import Server

__all__ = ["Query"]


class Query:
    """`…/app/{app}/query`: POST runs a query; GET does with a query string, and lists the stored ones without.

    `POST /query/{ws}/{app}` runs one too.
    """

    permissions: ClassVar = {"GET": Permission.READ, "POST": Permission.READ}
    options: ClassVar = {"GET": FIELDS}
    methods: ClassVar = {
        "GET": Method(
            "Run a query, or list the stored ones",
            {200: list[Any] | dict[str, Any]},
            (*VALUE, NDJSON),
            query=Question,
            errors=DATABASE,
        ),
        "POST": Method(
            "Run a query",
            {200: list[Any] | dict[str, Any]},
            (*VALUE, NDJSON),
            Question,
            VALUE,
            errors=DATABASE,
        ),
    }

    def __init__(self, server: Server, stored: StoredQueries) -> None:
        self._server = server
        self._stored = stored

    async def on_get(self, req: Request, resp: Response, ws: str, app: str) -> None:
        if not req.query_string:
            resp.media = {"queries": await self._stored.names(ws, app)}
            return
        question = from_query_string(req.query_string)
        database = await self._server.databases.of(ws, app)
        await answer(self._server, req, resp, database, question)

    async def on_post(self, req: Request, resp: Response, ws: str, app: str) -> None:
        database = await self._server.databases.of(ws, app)
        settings = self._server.settings
        question = from_value(
            await read_value(req, settings.params_limit, settings.body_timeout, settings.values_limit)
        )
        await answer(self._server, req, resp, database, question)

    on_post_v0 = on_post
