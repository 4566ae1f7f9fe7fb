"""Tokens that this server makes: for the caller, and for machines."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, NotRequired, TypedDict

import msgspec
from msgspec import Meta

from mix_server.access.accounts import SESSION_LIFETIME, Accounts
from mix_server.access.cookie import PAST, PLAIN, SECURE, is_secure
from mix_server.access.server_key import LIFETIME
from mix_server.bodies import read_form
from mix_server.caller import EVERYBODY, Caller, Permission, Resource
from mix_server.described import Method
from mix_server.errors import Forbidden, Unauthorized
from mix_server.resources.may import permissions_of
from mixkit.activities import Kind
from mixkit.errors import NotFound

if TYPE_CHECKING:
    from mix_server.access.grants import Grants
    from mix_server.access.machine import Machine
    from mix_server.request import Request
    from mix_server.response import Response
    from mix_server.server import Server

__all__ = ["IngressToken", "KeySetPage", "MachineToken", "MachineTokens", "Session", "Token"]

_EXAMPLE = '{"name": "ci", "rights": [{"role": "runner", "resource": "workspace"}], "seconds": 86400}'
_YEAR = 366 * 24 * 3_600


class MadeToken(TypedDict):
    """A token; `until` is when it ends, in Unix seconds."""

    token: str
    until: float
    seconds: float


class MadeSession(TypedDict):
    """A session, which is in the cookie."""

    until: float
    seconds: float


class WhoAsks(TypedDict):
    """Who asks: a name for people, the narrowest subject of grants, whether it is by a session, and when that ends.
    `may`: what they may do with the server as a whole, as `create` workspaces."""

    name: str
    subject: str | None
    operator: bool
    session: bool
    until: float | None
    may: list[Permission]


class KeySet(TypedDict):
    """Public keys, as JWK."""

    keys: list[dict[str, Any]]


class Token:
    """`POST /v1/auth/token`: a token of this server for who asks, good for 48 hours, or as long as the one that it is
    asked for with, where that is one of this server."""

    permissions: ClassVar = {"POST": Permission.SEE}
    activities: ClassVar = {"POST": Kind.SIGN_IN}
    methods: ClassVar = {"POST": Method("Make a token for who asks", {200: MadeToken})}

    def __init__(self, server: Server) -> None:
        self._server = server

    async def on_post(self, req: Request, resp: Response) -> None:
        await _answer_token(self._server, resp, req.who)


async def _answer_token(server: Server, resp: Response, caller: Caller) -> None:
    if caller.email is None:
        # There is nobody whom it could name: all that a token says of a user is the address.
        raise Forbidden(
            "expected a user with an address that the identity provider vouches for; who runs the server makes a token "
            "of any user with `mixkit auth token EMAIL`"
        )
    seconds = caller.seconds(LIFETIME)
    # It ends with the session that it was made in.
    more = {} if caller.session is None else {"sid": caller.session}
    make = partial(server.key.token, caller.email, caller.email, seconds, **more)
    token, until = await asyncio.to_thread(make)
    resp.set_header("Cache-Control", "no-store")
    resp.media = {"token": token, "until": until, "seconds": int(seconds)}


class IngressToken:
    """`POST /v1/auth/spcs`: the same for whom Snowflake's ingress has signed in, whatever token is sent along."""

    permissions: ClassVar = {"POST": EVERYBODY}
    activities: ClassVar = {"POST": Kind.SIGN_IN}
    methods: ClassVar = {
        "POST": Method(
            "Make a token for whom Snowflake's ingress has signed in",
            {200: MadeToken},
            errors=frozenset({401, 403, 404}),
        )
    }

    def __init__(self, server: Server) -> None:
        self._server = server

    async def on_post(self, req: Request, resp: Response) -> None:
        ingress = getattr(self._server.authorizer, "ingress", None)
        if ingress is None:
            # Nobody is believed by a header here.
            raise NotFound("no ingress")
        req.caller = ingress.user(req)
        req.activity = Kind.SIGN_IN
        await _answer_token(self._server, resp, req.caller)


class Session:
    """`/v1/auth/session`: POST begins one for who asks, in a cookie that scripts cannot read; DELETE ends it, in all
    workers, with the tokens that were made in it; with `?everywhere=true` all of the user, and all tokens that this
    server has made for it. GET says who asks, in a session or not.

    For pages of this server: an `EventSource` cannot send a header. Only the server's own pages can use it.
    """

    permissions: ClassVar = {"GET": Permission.SEE, "POST": Permission.SEE, "DELETE": EVERYBODY}
    activities: ClassVar = {"POST": Kind.SIGN_IN}
    methods: ClassVar = {
        "GET": Method("Say who asks", {200: WhoAsks}),
        "POST": Method("Begin a session for who asks", {200: MadeSession}),
        "DELETE": Method("End the session", {204: None}, errors=frozenset({400, 401, 403, 503})),
    }
    options: ClassVar = {"DELETE": frozenset({"everywhere"})}

    def __init__(self, server: Server) -> None:
        self._server = server

    async def on_get(self, req: Request, resp: Response) -> None:
        caller = req.who
        signs_in = isinstance(self._server.authorizer, Accounts)
        resp.set_header("Cache-Control", "no-store")
        resp.media = {
            "name": _called(caller, signs_in=signs_in),
            "subject": caller.subject,
            "operator": caller.operator,
            "session": signs_in and req.auth is None,
            "until": caller.until,
            "may": permissions_of(self._server.authorizer, caller, Resource()),
        }

    async def on_post(self, req: Request, resp: Response) -> None:
        accounts = self._server.authorizer
        if not isinstance(accounts, Accounts):
            raise Forbidden("without authentication nobody has a session")
        seconds = int(req.who.seconds(SESSION_LIFETIME))
        token, until = await accounts.session(req.who, seconds)
        _set_cookie(resp, token, secure=accounts.over_tls or is_secure(req), max_age=seconds)
        resp.set_header("Cache-Control", "no-store")
        resp.media = {"until": until, "seconds": seconds}

    async def on_delete(self, req: Request, resp: Response) -> None:
        accounts = self._server.authorizer
        everywhere = req.get_param_as_bool("everywhere") or False
        if isinstance(accounts, Accounts):
            try:
                caller = await accounts.authorize(req)
            except Unauthorized:
                # It has ended; that the browser forgets it is all that is left.
                if everywhere:
                    raise
            else:
                if everywhere and caller.user is None:
                    raise Unauthorized(
                        "expected who is to be signed out everywhere, found nobody in particular"
                    )
                if everywhere or caller.session is not None:
                    req.caller, req.activity, req.about = caller, Kind.REVOKE, {"everywhere": everywhere}
                await accounts.end(caller, everywhere=everywhere)
        for secure in (True, False):
            _set_cookie(resp, "", secure=secure, expires=PAST)
        resp.status = 204


def _called(caller: Caller, *, signs_in: bool) -> str:
    """What somebody is called, for people."""
    if not signs_in:
        return "everybody on this machine"
    return "operator" if caller.operator else caller.email or caller.user or str(caller.subject)


def _set_cookie(resp: Response, value: str, *, secure: bool, **until: Any) -> None:
    # A browser takes one with the prefix only if it is for TLS, to forget it too.
    name = SECURE if secure else PLAIN
    resp.set_cookie(name, value, **until, secure=secure, http_only=True, same_site="Strict", path="/")


class KeySetPage:
    """`GET /v1/auth/keys`: the public key of this server's tokens, as a JWK set."""

    permissions: ClassVar = {"GET": EVERYBODY}
    methods: ClassVar = {"GET": Method("The public key of this server's tokens", {200: KeySet})}

    def __init__(self, server: Server) -> None:
        self._server = server

    async def on_get(self, req: Request, resp: Response) -> None:
        resp.media = await asyncio.to_thread(self._server.key.public)


class Right(msgspec.Struct, forbid_unknown_fields=True):
    role: str
    resource: str = "workspace"


class NewToken(msgspec.Struct, forbid_unknown_fields=True):
    """Body of POST."""

    name: Annotated[str, Meta(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]+$")]
    rights: Annotated[list[Right], Meta(min_length=1, max_length=100)]
    seconds: Annotated[float, Meta(gt=0, le=_YEAR)] | None = None


class MachineDescription(TypedDict):
    """A token of a machine; the token itself is answered only where it is made."""

    id: str
    name: str
    until: float | None
    by: str | None
    rights: NotRequired[list[Right]]
    token: NotRequired[str]


class Machines(TypedDict):
    """The tokens of machines."""

    tokens: list[MachineDescription]


class MachineTokens:
    """`/v1/ws/{ws}/tokens`: GET lists those of machines, POST makes one."""

    permissions: ClassVar = {"GET": Permission.ADMIN, "POST": Permission.ADMIN}
    activities: ClassVar = {"POST": Kind.GRANT}
    methods: ClassVar = {
        "GET": Method("List the tokens of machines", {200: Machines}),
        "POST": Method(
            "Make a token for a machine", {201: MachineDescription}, takes=NewToken, errors=frozenset({409})
        ),
    }

    def __init__(self, server: Server) -> None:
        self._server = server

    async def on_get(self, req: Request, resp: Response, ws: str) -> None:
        grants = await asyncio.to_thread(self._server.grants.of, ws)
        resp.media = {"tokens": [_shown(grants, machine) for machine in grants.machines.values()]}

    async def on_post(self, req: Request, resp: Response, ws: str) -> None:
        wanted = await read_form(req, NewToken, _EXAMPLE, self._server.settings.body_timeout)
        rights = [(right.role, right.resource) for right in wanted.rights]
        machine, token = await asyncio.to_thread(
            self._server.grants.make_machine, ws, wanted.name, rights, wanted.seconds, req.who.subject
        )
        req.about = {"subject": machine.subject, "name": machine.name}
        resp.status = 201
        resp.location = f"/v1/ws/{ws}/tokens/{machine.id}"
        resp.set_header("Cache-Control", "no-store")
        resp.media = {**machine.public(), "token": token}


class MachineToken:
    """`/v1/ws/{ws}/tokens/{id}`: GET reads what it may do, DELETE revokes it."""

    permissions: ClassVar = {"GET": Permission.ADMIN, "DELETE": Permission.ADMIN}
    activities: ClassVar = {"DELETE": Kind.REVOKE}
    methods: ClassVar = {
        "GET": Method("Read what a machine may do", {200: MachineDescription}),
        "DELETE": Method("Revoke a machine's token", {204: None}),
    }

    def __init__(self, server: Server) -> None:
        self._server = server

    async def on_get(self, req: Request, resp: Response, ws: str, id: str) -> None:
        grants = await asyncio.to_thread(self._server.grants.of, ws)
        if id not in grants.machines:
            raise NotFound("no such token")
        resp.media = _shown(grants, grants.machines[id])

    async def on_delete(self, req: Request, resp: Response, ws: str, id: str) -> None:
        req.about = {"subject": f"machine/{id:.32}"}
        await asyncio.to_thread(self._server.grants.revoke_machine, ws, id)
        resp.status = 204


def _shown(grants: Grants, machine: Machine) -> dict[str, Any]:
    rights = (grant.public() for grant in grants if grant.subject == machine.subject)
    return {
        **machine.public(),
        "rights": [{"role": each["role"], "resource": each["resource"]} for each in rights],
    }
