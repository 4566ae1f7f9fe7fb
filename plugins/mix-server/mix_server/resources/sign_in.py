"""Third-party sign-in of users, and the accounts that they have connected by it."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, ClassVar, Final, NotRequired, TypedDict

from mix_server.access.accounts import Accounts
from mix_server.access.cookie import PAST
from mix_server.auth import ANYBODY, is_loopback
from mix_server.caller import EVERYBODY, Caller, Permission, Resource
from mix_server.described import Method
from mix_server.errors import BadRequest, Forbidden, Unauthorized, Unsupported
from mix_server.options import ITS_OWN
from mix_server.params import parse_pairs
from mix_server.sign_in import flow
from mix_server.sign_in.account import ACCOUNT
from mix_server.sign_in.errors import BadProvider, SignInFailed
from mix_server.sign_in.paths import own_path
from mixkit.activities import Kind
from mixkit.errors import FFIError, NotFound
from mixkit.vault import Label

if TYPE_CHECKING:
    from mix_server.request import Request
    from mix_server.response import Response
    from mix_server.server import Server

__all__ = ["ConnectedAccount", "ConnectedAccounts", "SignInCallback", "SignInStart"]

_log = logging.getLogger("mixkit.server.sign_in")

_HEARD: Final = frozenset({"state", "code", "error", "iss"})
"""Parameters of a callback that mean something; providers add others, which are passed over (RFC 6749, 4.1.2)."""
_HOST: Final = "__Host-"
_DONE: Final = (
    "<!doctype html><html lang=en><meta charset=utf-8><title>Connected</title>"
    "<p>The account is connected. You may close this window.</html>"
)
_HEADERS: Final = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}


class SignInStart:
    """`GET /v1/auth/{ws}/{name}/start`: sends the browser to the provider, where the user connects an account.

    `?then=/path` is where the browser goes in the end: a path of this server.
    """

    permissions: ClassVar = {"GET": Permission.SEE}
    options: ClassVar = {"GET": frozenset({"then"})}
    methods: ClassVar = {
        "GET": Method("Begin to connect an account of a provider", {303: None}, errors=frozenset({501, 502}))
    }

    def __init__(self, server: Server) -> None:
        self._server = server

    async def on_get(self, req: Request, resp: Response, ws: str, name: str) -> None:
        caller = _user(req.who)
        text = req.get_param("then")
        then = None if text is None else own_path(text)
        self._server.vault(ws)
        where = flow.Where(self._server.store.workspace(ws).root, ws, name)
        origin = _origin(self._server, req)
        back = f"{origin}/v1/auth/{ws}/{name}/callback"
        ring = await asyncio.to_thread(lambda: self._server.kernel.keyring)
        try:
            begun = await flow.begin(self._server.tokens, ring, where, caller, back, then)
        except FFIError as exc:
            raise BadProvider(f"the provider {name!r} cannot be used now: {exc}") from None
        _set_cookie(
            resp, _cookie(begun.flow, origin.startswith("https:")), begun.cookie, max_age=flow.LIFETIME
        )
        resp.set_headers(_HEADERS)
        resp.status = 303
        resp.location = begun.url


class SignInCallback:
    """`GET /v1/auth/{ws}/{name}/callback`: where the provider sends the browser back to. Once for each sign-in."""

    permissions: ClassVar = {"GET": EVERYBODY}
    options: ClassVar = {"GET": ITS_OWN}
    methods: ClassVar = {
        "GET": Method(
            "End what was begun, by the answer of the provider",
            {200: str, 303: None},
            answered_as=("text/html",),
            errors=frozenset({403, 404, 501, 502}),
        )
    }

    def __init__(self, server: Server) -> None:
        self._server = server

    async def on_get(self, req: Request, resp: Response, ws: str, name: str) -> None:
        # NOTE: what has no state that was made here learns nothing of what there is.
        given = _given(req)
        resp.set_headers(_HEADERS)
        ring = await asyncio.to_thread(lambda: self._server.kernel.keyring)
        try:
            state = flow.opened(ring, ws, name, given.get("state", ""))
            self._server.vault(ws)
            where = flow.Where(self._server.store.workspace(ws).root, ws, name)
            cookie, named = _cookie_of(req, state.short)
            kept = await flow.take(self._server.tokens, where, state, cookie)
            req.caller, req.activity, req.about = kept.caller, Kind.SIGN_IN, {"account": name}
            if named is not None:
                _set_cookie(resp, named, "", expires=PAST)
            await self._check(kept.caller, ws)
            done = await flow.finish(self._server.tokens, where, kept, given)
        except SignInFailed as exc:
            _log.warning("a callback for %r of workspace %r is refused: %s", name[:80], ws[:80], exc)
            raise
        except (FFIError, TimeoutError) as exc:
            _log.warning("a sign-in with %r of workspace %r has failed: %s", name[:80], ws[:80], exc)
            raise BadProvider(f"the account was not connected: {exc}") from None
        if done.then is not None:
            resp.status = 303
            resp.location = done.then
            return
        resp.content_type = "text/html; charset=utf-8"
        resp.text = _DONE

    async def _check(self, caller: Caller, ws: str) -> None:
        """Who began it may be signed out by now, or have lost the workspace."""
        authorizer = self._server.authorizer
        await authorizer.ready(caller, ws)
        ended = isinstance(authorizer, Accounts) and authorizer.is_ended(caller)
        if ended or not authorizer.may(caller, Permission.SEE, Resource(ws)):
            raise SignInFailed("whoever began this sign-in is not signed in any more; begin it again")


class AccountDescription(TypedDict):
    """A provider, and what is known of the account that the caller has connected by it."""

    provider: str
    connected: bool
    subject: NotRequired[str]
    email: NotRequired[str]
    name: NotRequired[str]
    scopes: NotRequired[list[str]]
    expires: NotRequired[float | None]


class Listed(TypedDict):
    """Accounts."""

    accounts: list[AccountDescription]


class ConnectedAccounts:
    """`GET /v1/ws/{ws}/accounts`: by which providers the caller may connect an account, and has."""

    permissions: ClassVar = {"GET": Permission.SEE}
    methods: ClassVar = {
        "GET": Method(
            "List the accounts that the caller may connect, and has", {200: Listed}, errors=frozenset({501})
        )
    }

    def __init__(self, server: Server) -> None:
        self._server = server

    async def on_get(self, req: Request, resp: Response, ws: str) -> None:
        user = _user(req.who).user or ""
        resp.media = {"accounts": await asyncio.to_thread(self._listed, ws, user)}

    def _listed(self, ws: str, user: str) -> list[dict[str, Any]]:
        providers = self._server.providers(ws)
        found = []
        for each in providers.list():
            account = providers.account(Label(ACCOUNT, user, each.name))
            known = {} if account is None else account[1]
            found.append({"provider": each.name, "connected": account is not None, **known})
        return found


class ConnectedAccount:
    """`DELETE /v1/ws/{ws}/accounts/{name}`: disconnects the caller's account, and tells the provider."""

    permissions: ClassVar = {"DELETE": Permission.SEE}
    activities: ClassVar = {"DELETE": Kind.REVOKE}
    methods: ClassVar = {
        "DELETE": Method(
            "Disconnect the caller's account of a provider", {204: None}, errors=frozenset({501})
        )
    }

    def __init__(self, server: Server) -> None:
        self._server = server

    async def on_delete(self, req: Request, resp: Response, ws: str, name: str) -> None:
        req.about = {"account": name[:100]}
        label = Label(ACCOUNT, _user(req.who).user or "", name)
        told = await self._server.tokens.disconnect(self._server.vault(ws), label)
        if told is None:
            raise NotFound("no such account")
        req.about = {"account": name[:100], "revoked": told}
        resp.status = 204


def _user(caller: Caller) -> Caller:
    """The caller, if it is somebody who can have an account."""
    if caller.subjects == ANYBODY.subjects:
        raise Unauthorized("expected a token or a session of a user")
    if (caller.subject or "").startswith("machine/"):
        raise Forbidden("accounts are of users; a machine has none")
    return caller


def _origin(server: Server, req: Request) -> str:
    """Scheme and host to which providers send the browser back."""
    if server.settings.base_url is not None:
        return server.settings.base_url
    # NOTE: whoever asks chooses the Host; a name of this machine leads nowhere else.
    if not is_loopback(req.host):
        raise Unsupported(
            "expected settings.server.base_url, to which providers send browsers back, found none"
        )
    return f"{req.scheme}://{req.netloc}"


def _cookie(short: str, secure: bool) -> str:
    # NOTE: with this prefix a browser takes it from this host alone, and not from another one of the domain.
    return f"{_HOST if secure else ''}mixkit_sign_in_{short}"


def _set_cookie(resp: Response, named: str, value: str, **until: Any) -> None:
    resp.set_cookie(
        named,
        value,
        **until,
        # A browser takes one with the prefix only so, to forget it too.
        secure=named.startswith(_HOST),
        http_only=True,
        # It has to come with what the provider's page makes the browser ask.
        same_site="Lax",
        path="/",
    )


def _cookie_of(req: Request, short: str) -> tuple[str | None, str | None]:
    """The secret of the browser, and the name of the cookie; None if it has none."""
    for secure in (True, False):
        named = _cookie(short, secure)
        found = set(req.get_cookie_values(named) or ())
        if len(found) > 1:
            raise SignInFailed(f"expected one cookie {named}, found {len(found)}")
        if found:
            return found.pop(), named
    return None, None


def _given(req: Request) -> dict[str, str]:
    found: dict[str, str] = {}
    for key, value in parse_pairs(req.query_string):
        if key not in _HEARD:
            continue
        if key in found:
            raise BadRequest(f"expected {key} once in the query string, found it twice")
        found[key] = value
    return found
