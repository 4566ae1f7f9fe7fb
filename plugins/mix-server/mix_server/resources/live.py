"""Live queries as server-sent events."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, ClassVar, Final

from mix_server.caller import Permission
from mix_server.described import DATABASE, Method
from mix_server.error_answer import error_line
from mix_server.question import FIELDS, OPTIONS, Question, from_query_string
from mix_server.streams import CutOff, Stream
from mixkit.errors import MixError

if TYPE_CHECKING:
    from mix_server.follower import Follower
    from mix_server.request import Request
    from mix_server.response import Response
    from mix_server.server import Server

__all__ = ["Live"]

_HEARTBEAT: Final = b":\n\n"


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
            ("text/event-stream",),
            query=Question,
            errors=DATABASE,
        )
    }

    def __init__(self, server: Server) -> None:
        self._server = server

    async def on_get(self, req: Request, resp: Response, ws: str, app: str) -> None:
        question = from_query_string(req.query_string)
        question.source  # noqa: B018 - refused before anything is opened
        last = req.get_header("Last-Event-ID")
        server = self._server
        server.streams.check()
        database = await server.databases.of(ws, app)
        with req.watch():
            follower = await server.followings.join(database, question, last or None)
        resp.content_type = "text/event-stream"
        resp.set_header("Cache-Control", "no-store")
        # Proxies that collect an answer before they pass it on would never pass this one on.
        resp.set_header("X-Accel-Buffering", "no")
        resp.stream = Stream(server.streams, req, self._events(req, follower), follower.close, endless=True)

    async def _events(self, req: Request, follower: Follower) -> AsyncGenerator[bytes, None]:
        try:
            # Sent at once, so that the client knows that it is connected.
            yield _HEARTBEAT
            while True:
                if not await follower.ready(self._server.settings.heartbeat):
                    yield _HEARTBEAT
                while part := follower.piece():
                    yield part
        except MixError as exc:
            yield b"event: error\ndata: " + error_line(req, exc) + b"\n\n"
            raise CutOff from exc
