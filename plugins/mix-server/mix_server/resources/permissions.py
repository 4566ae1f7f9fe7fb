"""Grants: list, give, take back, explain; of a workspace, an app, an agent."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, ClassVar, TypedDict

import msgspec

from mix_server.access.grant import check_permission, parse_resource, resource_text
from mix_server.access.subject import check_subject, subjects_named
from mix_server.bodies import read_form
from mix_server.caller import Permission, Resource
from mix_server.described import Method
from mix_server.errors import BadRequest
from mixkit.activities import Kind
from mixkit.errors import NotFound

if TYPE_CHECKING:
    from mix_server.access.grant import Grant
    from mix_server.request import Request
    from mix_server.response import Response
    from mix_server.server import Server

__all__ = ["OneGrant", "Permissions"]

_EXAMPLE = '{"subject": "user/EMAIL", "role": "runner", "resource": "agent/APP/AGENT"}'


class NewGrant(msgspec.Struct, forbid_unknown_fields=True):
    """Body of POST. Without a resource it is that of the path."""

    subject: str
    role: str
    resource: str | None = None


class GrantDescription(TypedDict):
    """A grant."""

    id: str
    subject: str
    role: str
    resource: str


class Permissions:
    """`…/permissions` of a workspace, an app or an agent: GET lists what was granted for it and in it, POST grants.

    GET with `?explain=PERMISSION&subject=…[&resource=…]` says why a subject may or may not, and what it would need.
    `POST /grant-permission/{ws}` grants too.
    """

    permissions: ClassVar = {"GET": Permission.ADMIN, "POST": Permission.ADMIN, "DELETE": Permission.ADMIN}
    activities: ClassVar = {"POST": Kind.GRANT}
    options: ClassVar = {"GET": frozenset({"explain", "subject", "resource"})}
    methods: ClassVar = {
        "GET": Method("List grants, or explain what a subject may do", {200: dict[str, Any]}),
        "POST": Method(
            "Grant", dict.fromkeys((200, 201), GrantDescription), takes=NewGrant, errors=frozenset({409})
        ),
    }

    def __init__(self, server: Server) -> None:
        self._server = server

    async def on_get(
        self, req: Request, resp: Response, ws: str, app: str | None = None, agent: str | None = None
    ) -> None:
        grants = await asyncio.to_thread(self._server.grants.of, ws)
        where = Resource(ws, app, agent)
        permission = req.get_param("explain")
        if permission is None:
            for other in ("subject", "resource"):
                if req.has_param(other):
                    raise BadRequest(f"expected {other} beside explain only")
            resp.media = {
                "owner": grants.owner,
                "permissions": [grant.public() for grant in grants if _is_in(grant.resource, where)],
            }
            return
        text = req.get_param("resource")
        about = where if text is None else self._inside(text, where)
        subject = req.get_param("subject")
        if subject is None:
            raise BadRequest("expected subject=…, as user/EMAIL, beside explain")
        resp.media = grants.explain(
            subjects_named(check_subject(subject)), check_permission(permission), about
        )

    async def on_post(
        self, req: Request, resp: Response, ws: str, app: str | None = None, agent: str | None = None
    ) -> None:
        where = Resource(ws, app, agent)
        wanted = await read_form(req, NewGrant, _EXAMPLE, self._server.settings.body_timeout)
        # An empty one is no wish for all: whoever left a field empty did not mean the whole workspace.
        text = resource_text(where) if wanted.resource is None else wanted.resource
        self._inside(text, where)
        grant, is_new = await asyncio.to_thread(
            self._server.grants.add, ws, wanted.subject, wanted.role, text, req.who.subject
        )
        req.about = grant.public()
        resp.status = 201 if is_new else 200
        resp.location = f"/v1/ws/{ws}/permissions/{grant.id}"
        resp.media = grant.public()

    async def on_post_v0(self, req: Request, resp: Response, ws: str) -> None:
        await self.on_post(req, resp, ws)

    @staticmethod
    def _inside(text: str, where: Resource) -> Resource:
        """The resource of that text. Who administers an app grants nothing outside of it."""
        found = parse_resource(text, str(where.workspace))
        if not _is_in(found, where):
            raise BadRequest(f"expected {resource_text(where)}, or what is in it, found {text!r:.200}")
        return found


class OneGrant:
    """`…/permissions/{id}`: GET reads the grant, DELETE takes it back."""

    permissions: ClassVar = {"GET": Permission.ADMIN, "DELETE": Permission.ADMIN}
    activities: ClassVar = {"DELETE": Kind.REVOKE}
    methods: ClassVar = {
        "GET": Method("Read a grant", {200: GrantDescription}),
        "DELETE": Method("Take a grant back", {204: None}),
    }

    def __init__(self, server: Server) -> None:
        self._server = server

    async def on_get(
        self, req: Request, resp: Response, ws: str, id: str, app: str | None = None, agent: str | None = None
    ) -> None:
        resp.media = (await self._found(Resource(ws, app, agent), id)).public()

    async def on_delete(
        self, req: Request, resp: Response, ws: str, id: str, app: str | None = None, agent: str | None = None
    ) -> None:
        req.about = (await self._found(Resource(ws, app, agent), id)).public()
        await asyncio.to_thread(self._server.grants.remove, ws, [id])
        resp.status = 204

    async def _found(self, where: Resource, id: str) -> Grant:
        found = (await asyncio.to_thread(self._server.grants.of, str(where.workspace))).get(id)
        if found is None or not _is_in(found.resource, where):
            raise NotFound("no such grant")
        return found


def _is_in(inner: Resource, outer: Resource) -> bool:
    return outer == (inner.workspace, outer.app and inner.app, outer.agent and inner.agent)
