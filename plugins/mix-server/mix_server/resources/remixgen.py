"""Packages that are made of a template and of what a query finds."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, ClassVar, Final

from mix_server.caller import Permission
from mix_server.described import DATABASE, Method
from mix_server.errors import BadRequest, BodyTooLarge
from mix_server.payload import read_value
from mix_server.question import Question, from_value
from mix_server.size import Size
from mixkit.errors import NotFound
from mixkit.filesystem import pieces
from mixkit.package import Package
from mixkit.package.generate import generate

if TYPE_CHECKING:
    from mix_server.request import Request
    from mix_server.response import Response
    from mix_server.server import Server
    from mixkit.storage import Cursor, Database

__all__ = ["RemixGen"]

_REMIX: Final = "application/vnd.mixkit.remix"
_OWN: Final = ("template", "into", "name", "version")
_EXAMPLE: Final = '{"template": "/templates/a.remix", "query": "…"}'


class Generation(Question, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A query, and what is made of its rows.

    Attributes:
        template: path of a package among the files of the app.
        into: app of the template whose records the rows become; needed where it has several.
        name, version: of the package that is made; by default the template's.
    """

    template: str
    into: str | None = None
    name: str | None = None
    version: str | None = None


class RemixGen:
    """`POST …/app/{app}/remixgen`: answers a package, the template with the rows of a query as its records.

    `POST /remixgen/{ws}/{app}` does too.
    """

    permissions: ClassVar = {"POST": Permission.READ}
    methods: ClassVar = {
        "POST": Method(
            "Make a package of a template and the rows of a query",
            {200: bytes},
            (_REMIX,),
            Generation,
            errors=DATABASE,
        )
    }

    def __init__(self, server: Server) -> None:
        self._server = server

    async def on_post(self, req: Request, resp: Response, ws: str, app: str) -> None:
        settings = self._server.settings
        database = await self._server.databases.of(ws, app)
        given = await read_value(req, settings.params_limit, settings.body_timeout, settings.values_limit)
        if type(given) is not dict:
            raise BadRequest(f"expected {_EXAMPLE}, found no object")
        own = {name: given[name] for name in _OWN if given.get(name) is not None}
        if "template" not in own or not all(isinstance(text, str) for text in own.values()):
            raise BadRequest(f"expected {_EXAMPLE}, with texts as {', '.join(_OWN)}")
        question = from_value({name: value for name, value in given.items() if name not in _OWN})
        if question.explain:
            raise BadRequest("expected a query that is run, found explain")
        question.source  # noqa: B018 - refused before anything is read
        template = await self._template(ws, app, str(own["template"]))
        resp.data = await self._made(template, database, question, own)
        resp.content_type = _REMIX
        resp.set_header("Cache-Control", "no-store")

    on_post_v0 = on_post

    async def _template(self, ws: str, app: str, path: str) -> bytes:
        if self._server.kernel.filesystem is None:
            raise NotFound("the profile has no file system")
        place = await asyncio.to_thread(self._server.store.workspace(ws).place, app)
        most = self._server.settings.body_limit
        try:
            reading = await self._server.kernel.files.open(place).read(path)
        except NotFound:
            raise BadRequest(
                f"expected a template among the files of the app, found none at {path!r:.200}"
            ) from None
        if reading.info.size > most:
            await reading.close()
            raise BodyTooLarge(most)
        return b"".join([piece async for piece in pieces(reading)])

    async def _made(
        self, template: bytes, database: Database, question: Question, own: dict[str, Any]
    ) -> bytes:
        settings = self._server.settings
        size = Size(settings.answer_limit, "ask for fewer rows with limit")
        running: list[Cursor] = []

        def work() -> bytes:
            package = Package.open(template)
            records: list[dict[str, Any]] = []
            with question.run(database, settings.query_timeout) as cursor:
                running.append(cursor)
                while rows := cursor.next_rows():
                    size.add(rows.msgpack())
                    records += rows.values()
            return generate(
                package, records, app=own.get("into"), name=own.get("name"), version=own.get("version")
            )

        def cancel() -> None:
            for cursor in running:
                cursor.cancel()

        return await self._server.databases.call(work, cancel)
