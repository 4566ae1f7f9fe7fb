"""Messages on a topic as server-sent events."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

from mix_server.auth import admit
from mix_server.caller import Permission, Resource
from mix_server.described import Method
from mix_server.errors import BadRequest, Forbidden, Unavailable, Unsupported
from mix_server.event_stream import EVENTS, last_seen, send_events
from mixkit.bus import BusError
from mixkit.errors import FFIError, NotFound
from mixkit.topics import SHORT, Names, expanded

if TYPE_CHECKING:
    from mix_server.request import Request
    from mix_server.response import Response
    from mix_server.server import Server

__all__ = ["Subscribe"]

_NEEDED: Final = {
    "$app": Permission.READ,
    "$cloudAppShared": Permission.RUN,
    "$cloudAppPublic": Permission.SEE,
    "$cloudAppUser": Permission.RUN,
    "$workspace": Permission.READ,
    "$user": Permission.SEE,
}
"""What is needed of the app, or of the workspace, to hear what is said on these topics. `$user` and `$cloudAppUser` are
those of the caller, whoever that is."""


class Subscribe:
    """`GET /v1/subscribe/{topic}?ws=&app=`: the messages on a topic, from now on, or since those that were seen.

    The topic is named as agents name it: `$app/room` of the workspace `ws` and the app `app`. Others, as `sensors/1`,
    belong to no workspace, and only who runs the server hears them. Each message has its position as `id` and its
    payload as `data`. With `Last-Event-ID` those come first that were missed; where that cannot be said any more there
    is one `resync`.
    """

    permissions: ClassVar = {"GET": Permission.READ}
    admits_by_itself = True
    options: ClassVar = {"GET": frozenset({"ws", "app"})}
    methods: ClassVar = {
        "GET": Method(
            "Follow a topic: its messages, as they come",
            {200: str},
            (EVENTS,),
            errors=frozenset({429, 501, 503}),
        )
    }

    def __init__(self, server: Server) -> None:
        self._server = server

    async def on_get(self, req: Request, resp: Response, topic: str) -> None:
        server = self._server
        ws, app = req.get_param("ws"), req.get_param("app")
        name = topic.partition("/")[0]
        if name not in SHORT:
            permission, resource = Permission.ADMIN, Resource()
        elif ws is None or (app is None and "app" in SHORT[name]):
            raise BadRequest(
                f"expected {' and '.join(_places(name))} in the query string, since {name} is one of an app's topics"
                if "app" in SHORT[name]
                else f"expected ws in the query string, since {name} is one of a workspace's topics"
            )
        else:
            permission = _NEEDED[name]
            resource = Resource(ws, app if "app" in SHORT[name] else None)
        req.caller = await admit(server.authorizer, req, permission, resource)
        given = {"ws": ws, "app": app}
        excess = [each for each in given if given[each] is not None and each not in _places(name)]
        if excess:
            raise BadRequest(
                f"expected no {' and '.join(excess)} beside the topic {topic[:80]!r}, which is of none; those of an "
                "app begin with $app/, those of a workspace with $workspace/ (in a shell between single quotes)"
            )
        if resource.workspace is None and server.bridge is not None:
            raise Unsupported(
                "with a broker only short topics can be followed here; ask the broker for others"
            )
        await server.databases.look_up(lambda: self._find(resource))
        if "user" in SHORT.get(name, ()) and req.who.user is None:
            raise Forbidden(f"expected a user, whose topics {name} are")
        try:
            found = expanded(topic, Names(ws, app, req.who.user), server.topics_prefix)
        except FFIError as exc:
            raise BadRequest(str(exc)) from None
        server.streams.check(req)
        try:
            with req.watch():
                follower = await server.feeds.join(found.full, last_seen(req), (ws, app))
        except BusError as exc:
            raise Unavailable(f"messages cannot be followed now: {exc}") from None
        send_events(server, req, resp, follower, permission, resource)

    def _find(self, resource: Resource) -> None:
        """Raise `NotFound` unless it is there."""
        if resource.workspace is not None:
            workspace = self._server.store.workspace(resource.workspace)
            if resource.app is not None and resource.app not in workspace.apps():
                raise NotFound(f"no app {resource.app!r:.80} in workspace {resource.workspace!r}")


def _places(name: str) -> list[str]:
    """The options that a topic needs."""
    short = SHORT.get(name, ())
    return [option for option, part in (("ws", "workspace"), ("app", "app")) if part in short]
