"""What a query says, or where it is wrong, for who writes one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import msgspec

from mix_server.caller import Permission
from mix_server.described import DATABASE, VALUE, Method
from mix_server.errors import BadRequest
from mix_server.payload import read_value
from mix_server.question import Question, from_query_string, from_value
from mixkit.storage import Parsed

if TYPE_CHECKING:
    from mix_server.request import Request
    from mix_server.response import Response
    from mix_server.server import Server

__all__ = ["Parse"]

_FIELDS = frozenset({"query", "ast"})


class _Source(msgspec.Struct):
    query: str | None = None
    ast: list[Any] | None = None


class Parse:
    """`…/app/{app}/query/parse`: the JSON form and the text of a query, whichever of the two is given; nothing is run.

    One that is malformed is a 400 with `line` and `column`, or `path`.
    """

    permissions: ClassVar = {"GET": Permission.READ, "POST": Permission.READ}
    options: ClassVar = {"GET": _FIELDS}
    methods: ClassVar = {
        "GET": Method("Say what a query says", {200: Parsed}, query=_Source, errors=DATABASE),
        "POST": Method(
            "Say what a query says", {200: Parsed}, takes=_Source, taken_as=VALUE, errors=DATABASE
        ),
    }

    def __init__(self, server: Server) -> None:
        self._server = server

    async def on_get(self, req: Request, resp: Response, ws: str, app: str) -> None:
        await self._answer(resp, ws, app, from_query_string(req.query_string))

    async def on_post(self, req: Request, resp: Response, ws: str, app: str) -> None:
        settings = self._server.settings
        value = await read_value(req, settings.params_limit, settings.body_timeout, settings.values_limit)
        if type(value) is dict and not value.keys() <= _FIELDS:
            # The rest of a question would be passed over.
            raise BadRequest("expected query or ast, and nothing else: a query that is parsed is not run")
        await self._answer(resp, ws, app, from_value(value))

    async def _answer(self, resp: Response, ws: str, app: str, question: Question) -> None:
        source = question.source
        database = await self._server.databases.of(ws, app)
        resp.data = msgspec.json.encode(await self._server.databases.call(lambda: database.parse(source)))
