"""Live queries as server-sent events."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from mix_server.caller import Permission, Resource
from mix_server.described import DATABASE, Method
from mix_server.event_stream import EVENTS, last_seen, send_events
from mix_server.question import FIELDS, OPTIONS, Question, from_query_string

if TYPE_CHECKING:
    from mix_server.request import Request
    from mix_server.response import Response
    from mix_server.server import Server

__all__ = ["Live"]


class Live:
    """`GET …/app/{app}/live?query=&params=`: a query, and how its rows change.

    Each event has the watermark as its `id` and `{"watermark", "entered", "changed", "left"}` as its `data`.
    The first is a `change` with all rows as `entered`. With `Last-Event-ID` it has what changed since then; where
    that cannot be said any more it is a `reset`, which replaces all that the client knows; so is the next one for a
    client that has taken too little for a while.
    """

    permissions: ClassVar = {"GET": Permission.READ}
    options: ClassVar = {"GET": FIELDS - OPTIONS}
    methods: ClassVar = {
        "GET": Method(
            "Follow a query: its rows, and how they change",
            {200: str},
            (EVENTS,),
            query=Question,
            errors=DATABASE,
        )
    }

    def __init__(self, server: Server) -> None:
        self._server = server

    async def on_get(self, req: Request, resp: Response, ws: str, app: str) -> None:
        question = from_query_string(req.query_string)
        question.source  # noqa: B018 - refused before anything is opened
        server = self._server
        server.streams.check(req)
        database = await server.databases.of(ws, app)
        with req.watch():
            follower = await server.followings.join(database, question, last_seen(req))
        send_events(server, req, resp, follower, Permission.READ, Resource(ws, app))
