"""Server-sent events: what a follower has, as the body of an answer."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from mix_server.error_answer import error_line
from mix_server.streams import CutOff, Stream
from mixkit.errors import MixError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from mix_server.caller import Permission, Resource
    from mix_server.follower import Follower
    from mix_server.request import Request
    from mix_server.response import Response
    from mix_server.server import Server

__all__ = ["EVENTS", "last_seen", "send_events"]

EVENTS: Final = "text/event-stream"
_HEARTBEAT: Final = b":\n\n"


def last_seen(req: Request) -> str | None:
    """The id of the last event that the client has seen, if it comes back."""
    return req.get_header("Last-Event-ID") or None


def send_events(
    server: Server,
    req: Request,
    resp: Response,
    follower: Follower,
    permission: Permission,
    resource: Resource,
) -> None:
    """Answer with events, as long as the client is there and may have them.

    Args:
        follower: closed when the answer ends.
        permission, resource: what the caller must have, and of what; asked again from time to time.

    Raises:
        Overloaded, Stopping: there are too many streams. The follower was closed then.
    """
    resp.content_type = EVENTS
    resp.set_header("Cache-Control", "no-store")
    # Proxies that collect an answer before they pass it on would never pass this one on.
    resp.set_header("X-Accel-Buffering", "no")
    parts = _parts(server, req, follower, permission, resource)
    resp.stream = Stream(server.streams, req, parts, follower.close, endless=True)


async def _parts(
    server: Server, req: Request, follower: Follower, permission: Permission, resource: Resource
) -> AsyncGenerator[bytes, None]:
    heartbeat = server.settings.heartbeat
    asked = time.monotonic()
    try:
        # Sent at once, so that the client knows that it is connected.
        yield _HEARTBEAT
        while True:
            if not await follower.ready(heartbeat):
                yield _HEARTBEAT
            if time.monotonic() - asked >= heartbeat:
                if not await _may_still(server, req, permission, resource):
                    return
                asked = time.monotonic()
            while part := follower.piece():
                yield part
    except MixError as exc:
        yield b"event: error\ndata: " + error_line(req, exc) + b"\n\n"
        raise CutOff from exc


async def _may_still(server: Server, req: Request, permission: Permission, resource: Resource) -> bool:
    caller = req.who
    if caller.until is not None and time.time() > caller.until:
        return False
    if resource.workspace is not None:
        await server.authorizer.ready(caller, resource.workspace)
    return server.authorizer.may(caller, permission, resource)
