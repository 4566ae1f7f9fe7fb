"""The authorizer of a server with users: its own token, tokens of an identity provider, of this server, of machines."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import time
from collections import OrderedDict
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mix_server.access.cookie import session_of
from mix_server.access.ended import Ended
from mix_server.access.ingress import Ingress, SessionToken, account_of
from mix_server.access.machine import is_good, is_machine_token, parts_of
from mix_server.access.server_key import ISSUER, LIFETIME
from mix_server.access.subject import check_subject, subjects_named, subjects_of
from mix_server.access.tokens import LEEWAY, Claims, Expected, NoSuchKey, header_of, verified
from mix_server.auth import ANYBODY, Authorizer, LoopbackAuthorizer, OperatorToken, is_of_another_site
from mix_server.caller import Caller, Permission, Resource
from mix_server.errors import BadRequest, Forbidden, Unauthorized
from mixkit.errors import ProfileError

if TYPE_CHECKING:
    from mix_server.access.key_source import KeySource
    from mix_server.access.server_key import ServerKey
    from mix_server.access.store import GrantStore
    from mix_server.request import Request
    from mix_server.settings import ServerSettings

__all__ = ["SESSION_LIFETIME", "Accounts", "make"]

SESSION_LIFETIME: Final = 12 * 3_600
"""Seconds of a browser's session."""

_MOST_KNOWN: Final = 10_000
_OPERATOR: Final = Caller("local", operator=True)


class Accounts:
    """Takes tokens, and asks the grants of the workspaces what may be done.

    Args:
        operator: the token whose holder may do everything.
        server_key: by which this server's tokens are signed.
        grants: those of all workspaces.
        source: the keys of the identity provider; None if there is none.
        expected: what its tokens must say.
        creators: subjects that may make workspaces.
        ended: what was ended before its time.
        ingress: says who asks where no token does; None where nobody is believed without one.
        over_tls: browsers know this server by https alone.

    Attributes:
        ingress, over_tls: as given.
    """

    def __init__(
        self,
        operator: OperatorToken,
        server_key: ServerKey,
        grants: GrantStore,
        source: KeySource | None = None,
        expected: Expected = Expected(),  # noqa: B008 - it is frozen
        creators: frozenset[str] = frozenset(),
        ended: Ended | None = None,
        ingress: Ingress | None = None,
        *,
        over_tls: bool = False,
    ) -> None:
        self.ingress = ingress
        self.over_tls = over_tls
        self._operator = operator
        self._server_key = server_key
        self._grants = grants
        self._source = source
        self._expected = expected
        self._creators = creators
        self._ended = ended
        # By a digest of each token that was verified: until when it is good, by which keys, and who it is.
        self._known: OrderedDict[bytes, tuple[float, object, Caller]] = OrderedDict()

    async def authorize(self, request: Request) -> Caller:
        """Who has that token; nobody in particular without one. `Unauthorized` if it is not good."""
        given = request.auth
        if self.ingress is not None and (given or "").partition(" ")[0].lower() != "bearer":
            # What else is sent as Authorization is meant for the ingress; no cookie of ours is needed beside its own.
            return self.ingress.user(request)
        if given is None:
            session = session_of(request, secure=self.over_tls)
            if session is None:
                return ANYBODY
            # NOTE: a browser sends it whoever makes it send something.
            if is_of_another_site(request):
                raise Forbidden("a session is for the pages of this server, not for other web sites")
            return await self._user(session, in_session=True)
        scheme, _, token = given.partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not token:
            raise Unauthorized("expected a token as Authorization: Bearer TOKEN")
        if self._operator.is_it(token):
            return _OPERATOR
        if is_machine_token(token):
            return await self._machine(token)
        return await self._user(token)

    async def session(self, caller: Caller, seconds: float) -> tuple[str, int]:
        """The token of a browser's session for somebody, and the Unix second at which it ends.

        Args:
            seconds: for which it is good.

        Raises:
            Forbidden: it is no user, and not the operator.
        """
        if not caller.operator and caller.email is None:
            raise Forbidden("expected a user with an address, or the operator, to begin a session for")
        more: dict[str, Any] = {"use": "session", "sid": caller.session or secrets.token_hex(16)}
        if caller.operator:
            # It ends when the operator's token is another one.
            more["operator"] = self._operator.mark
        named = (str(caller.user), caller.email)
        return await asyncio.to_thread(self._server_key.token, *named, seconds, **more)

    async def end(self, caller: Caller, *, everywhere: bool) -> None:
        """End the session that somebody is in, in all processes, with the tokens that were made in it.

        Args:
            everywhere: all sessions of that user, and all tokens that this server has made for it.

        Raises:
            StorageError: it could not be written.
        """
        if self._ended is None:
            return
        if everywhere:
            await asyncio.to_thread(self._ended.end_all, caller.user or "", LIFETIME + LEEWAY)
        elif caller.session is not None:
            await asyncio.to_thread(self._ended.end, caller.session, LIFETIME + LEEWAY)

    async def _user(self, token: str, *, in_session: bool = False) -> Caller:
        digest = hashlib.sha256(bytes((in_session,)) + token.encode()).digest()
        known = self._known.get(digest)
        if known is not None:
            until, keys, caller = known
            # A key that was taken back, and a token that has ended, are noticed here.
            if time.time() < until and keys in (
                self._server_key.keys,
                self._source and self._source.at_hand(),
            ):
                return self._not_ended(caller)
            del self._known[digest]
        return self._not_ended(await self._verify(token, digest, in_session))

    def is_ended(self, caller: Caller) -> bool:
        """Whether what said who that is was ended since, before its time or not."""
        over = caller.until is not None and caller.until <= time.time()
        return over or (self._ended is not None and self._ended.has(caller))

    def _not_ended(self, caller: Caller) -> Caller:
        if self._ended is not None and self._ended.has(caller):
            raise Unauthorized("the session was ended; sign in again")
        return caller

    async def _verify(self, token: str, digest: bytes, in_session: bool) -> Caller:
        kid, _ = header_of(token)
        if in_session or kid == self._server_key.kid:
            keys = self._server_key.keys
            claims = verified(token, keys, Expected(issuer=ISSUER))
            # NOTE: a session that was stolen from a browser is no token, nor is a token a session.
            if (claims.all.get("use") == "session") is not in_session:
                raise Unauthorized("a session is kept in the cookie that it came in, and nothing else is")
        elif self._source is not None:
            keys = self._source.at_hand() or await self._source.keys()
            try:
                claims = verified(token, keys, self._expected)
            except NoSuchKey:
                # It may be signed by a key that is newer than what is known.
                keys = await self._source.keys(newer=True)
                claims = verified(token, keys, self._expected)
        else:
            raise Unauthorized("the token is not one of this server, which knows no other identity provider")
        caller = self._caller(claims, ours=keys is self._server_key.keys)
        self._known[digest] = claims.until, keys, caller
        if len(self._known) > _MOST_KNOWN:
            self._known.popitem(last=False)
        return caller

    def _caller(self, claims: Claims, *, ours: bool) -> Caller:
        # NOTE: without this a token, once stolen, could be changed for new ones for ever.
        until = claims.until - LEEWAY if ours else None
        began = session = None
        if ours:
            began, session = claims.began, claims.all.get("sid")
            if not isinstance(session, str | None):
                raise Unauthorized("the claim sid of the token is no text")
        operator = claims.all.get("operator") if ours and claims.all.get("use") == "session" else None
        if operator is not None:
            if operator != self._operator.mark:
                raise Unauthorized("the operator's token is another one by now; sign in again")
            return replace(_OPERATOR, until=until, began=began, session=session)
        # NOTE: secrets belong to it, so the provider's own name of somebody must not be another one's address.
        by_sub = Caller(
            f"sub/{claims.subject}",
            subjects_of(claims.email, True),
            until=until,
            began=began,
            session=session,
        )
        return by_sub if by_sub.email is None else replace(by_sub, user=by_sub.email)

    async def _machine(self, token: str) -> Caller:
        parts = parts_of(token)
        if parts is not None:
            workspace, id, secret = parts
            await self.ready(ANYBODY, workspace)
            machines = self._grants.look(workspace).machines
            machine = machines.get(id)
            if machine is not None and machine.admits(secret) and is_good(machine, machines):
                return Caller(f"machine/{machine.name}", subjects_named(machine.subject))
        # Which of these it was is nobody's business.
        raise Unauthorized("the token has expired or was revoked, or never was one")

    async def ready(self, subject: Caller, workspace: str) -> None:
        """Read the grants of a workspace, if they are needed and not known."""
        if not subject.operator and self._grants.at_hand(workspace) is None:
            await asyncio.to_thread(self._grants.look, workspace)

    def may(self, subject: Caller, permission: Permission, resource: Resource) -> bool:
        """Whether somebody may do something, by the grants of the workspace."""
        if subject.operator:
            return True
        if resource.workspace is None:
            if permission is Permission.SEE:
                return subject is not ANYBODY
            return permission is Permission.CREATE and not self._creators.isdisjoint(subject.subjects)
        grants = self._grants.look(resource.workspace)
        return grants.may(subject.subjects, permission, resource)


def make(settings: ServerSettings, grants: GrantStore, key: ServerKey) -> Authorizer:
    """The authorizer that the settings ask for.

    Raises:
        ProfileError: settings that do not go together, or one that is too weak.
    """
    if settings.no_auth:
        for name in ("token", "jwks_url"):
            if getattr(settings, name) is not None:
                raise ProfileError(f"expected {name} or no_auth, found both", "settings.server.no_auth")
        if settings.auth != "tokens":
            raise ProfileError(
                f"expected auth = {settings.auth!r} or no_auth, found both", "settings.server.no_auth"
            )
        if "*" in settings.cors_origins:
            # Each page that somebody here looks at could do everything.
            raise ProfileError(
                "expected origins without *, or authentication", "settings.server.cors_origins"
            )
        return LoopbackAuthorizer(frozenset(settings.cors_origins))
    ingress = _ingress(settings)
    if settings.token is None and ingress is None:
        raise ProfileError(
            "no token is set; all workers must know the same: set MIXKIT_SERVER_TOKEN, "
            "or start with `mixkit serve`, which makes one",
            "settings.server.token",
        )
    if settings.jwks_url is not None and settings.jwt_audience is None:
        # NOTE: a provider's tokens for its other clients would be good here as well.
        raise ProfileError("expected an audience beside jwks_url, found none", "settings.server.jwt_audience")
    for name in ("jwt_audience", "jwt_issuer"):
        if settings.jwks_url is None and getattr(settings, name) is not None:
            raise ProfileError("expected jwks_url beside it, found none", f"settings.server.{name}")
    try:
        creators = frozenset(map(check_subject, settings.workspace_creators))
    except BadRequest as exc:
        raise ProfileError(str(exc), "settings.server.workspace_creators") from None
    return Accounts(
        # Without one there is no operator behind the ingress: nobody knows this.
        OperatorToken(settings.token or secrets.token_urlsafe()),
        key,
        grants,
        None if settings.jwks_url is None else _key_source(settings.jwks_url),
        Expected(settings.jwt_audience, settings.jwt_issuer),
        creators,
        Ended(Path(settings.ws_dir)),
        ingress,
        over_tls=(settings.base_url or "").startswith("https:"),
    )


def _key_source(url: str) -> KeySource:
    # What speaks HTTP takes a while to import, and most servers ask nobody.
    from mix_server.access.key_source import KeySource

    return KeySource(url)


def _ingress(settings: ServerSettings) -> Ingress | None:
    if settings.auth != "spcs":
        return None
    if settings.jwks_url is not None:
        raise ProfileError('expected jwks_url or auth = "spcs", found both', "settings.server.jwks_url")
    account = account_of()
    SessionToken(settings.spcs_token_file).read()
    return Ingress(account, settings.base_url)
