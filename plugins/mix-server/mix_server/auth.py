"""Who asks, and what they may do. For now: whoever holds the server's token, or without one whoever is on this machine,
may do everything.

Everything else asks `Authorizer.authorize` and `require`, and nothing more, so accounts will be another authorizer.
"""

from __future__ import annotations

import hmac
import ipaddress
import re
from typing import TYPE_CHECKING, Any, Final, Protocol

from mix_server.caller import Caller, Permission, Resource
from mix_server.errors import Forbidden, Unauthorized
from mixkit.errors import NotFound, ProfileError

if TYPE_CHECKING:
    from mix_server.request import Request

__all__ = [
    "MIN_TOKEN",
    "Authorizer",
    "LoopbackAuthorizer",
    "TokenAuthorizer",
    "is_loopback",
    "make",
    "permission_of",
    "require",
]

_HOST: Final = re.compile(
    r"(?:\[(?P<address>[0-9A-Fa-f:.]{2,45})\]|(?P<name>[A-Za-z0-9.-]{1,253}))(?::[0-9]{1,5})?"
)
_PROXY: Final = frozenset(
    (
        "via",
        "forwarded",
        "x-real-ip",
        "x-client-ip",
        "x-cluster-client-ip",
        "true-client-ip",
        "cf-connecting-ip",
    )
)
_PROXY_PREFIXES: Final = ("x-forwarded", "x-original-", "x-proxy", "x-envoy-")
_ALIASES: Final = {"HEAD": "GET"}
MIN_TOKEN: Final = 16
"""Shortest token that is taken, in characters."""


class Authorizer(Protocol):
    """Decides who asks, and what they may do."""

    def authorize(self, request: Request) -> Caller:
        """Who sent the request.

        Raises:
            Unauthorized, Forbidden: it may not be served.
        """
        ...

    def may(self, subject: Caller, permission: Permission, resource: Resource) -> bool:
        """Whether somebody may do something. Answered at once, from memory: every request asks."""
        ...


def require(authorizer: Authorizer, subject: Caller, permission: Permission, resource: Resource) -> None:
    """Go on if the subject may do that.

    Raises:
        NotFound: not even know that the resource is there.
        Forbidden: only that.
    """
    if authorizer.may(subject, permission, resource):
        return
    if permission is Permission.SEE or not authorizer.may(subject, Permission.SEE, resource):
        raise NotFound("the caller may not see it")
    raise Forbidden(f"expected the permission {permission} here, which you do not have")


def permission_of(handler: Any, method: str) -> Permission | None:
    """What is needed for a method of a Falcon resource, as its `permissions` say; `EVERYBODY` where nothing is."""
    if method == "OPTIONS":
        return Permission.SEE
    declared: dict[str, Permission | None] = getattr(handler, "permissions", {})
    return declared.get(_ALIASES.get(method, method), Permission.ADMIN)


class _Owners:
    """Whoever is let in may do everything."""

    def may(self, subject: Caller, permission: Permission, resource: Resource) -> bool:
        """Yes."""
        return True


class TokenAuthorizer(_Owners):
    """Takes one token, as `Authorization: Bearer TOKEN`."""

    def __init__(self, token: str) -> None:
        if len(token) < MIN_TOKEN or not token.isascii() or not token.isprintable() or " " in token:
            raise ProfileError(
                f"expected at least {MIN_TOKEN} printable ASCII characters without spaces, "
                f"found {len(token)} characters",
                "settings.server.token",
            )
        self._expected = token.encode()
        self._caller = Caller("local")

    def authorize(self, request: Request) -> Caller:
        """The holder of the token. `Unauthorized` without it."""
        scheme, _, given = (request.auth or "").partition(" ")
        # NOTE: as bytes, in constant time; text that is not ASCII would raise there.
        if scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), self._expected):
            return self._caller
        raise Unauthorized("expected the server's token as Authorization: Bearer TOKEN")


class LoopbackAuthorizer(_Owners):
    """Takes everybody on this machine, and no web page that a browser on this machine shows.

    A page from elsewhere can make the browser send requests to a loopback address, and can by its DNS server
    point its own name there. So the `Host` must be a loopback name, and what a browser says of a request's
    origin must not be another site. A proxy would make strangers look local: what says that it came through
    one is refused.
    """

    def __init__(self) -> None:
        self._caller = Caller(None)

    def authorize(self, request: Request) -> Caller:
        """Nobody in particular. `Forbidden` if the request may come from elsewhere."""
        server = request.scope.get("server")
        if not (server and is_loopback(server[0])):
            raise Forbidden("without authentication only connections to a loopback address are served")
        if any(map(_says_proxy, request.headers)):
            raise Forbidden("without authentication nothing is served that comes through a proxy")
        host = request.get_header("Host") or ""
        if not is_loopback(_name_of(host)):
            raise Forbidden("without authentication the Host must be localhost or a loopback address")
        origin = request.get_header("Origin")
        site = request.get_header("Sec-Fetch-Site") or "none"
        if site not in ("none", "same-origin") or (origin and origin.partition("://")[2] != host):
            raise Forbidden("without authentication no requests are served that other web sites make")
        return self._caller


def make(token: str | None, no_auth: bool) -> Authorizer:
    """The authorizer of these settings.

    Raises:
        ProfileError: a token and no authentication, or neither, or a token that is too weak.
    """
    if no_auth and token is not None:
        raise ProfileError("expected a token or no_auth, found both", "settings.server.no_auth")
    if no_auth:
        return LoopbackAuthorizer()
    if token is None:
        raise ProfileError(
            "no token is set; all workers must know the same: set MIXKIT_SERVER_TOKEN, "
            "or start with `mixkit serve`, which makes one",
            "settings.server.token",
        )
    return TokenAuthorizer(token)


def is_loopback(host: str) -> bool:
    """Whether a host name or address is this machine and nothing else."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _name_of(host: str) -> str:
    """The name in a `Host` header, in lower case, without port and brackets; empty if it is not one (RFC 3986, 3.2)."""
    found = _HOST.fullmatch(host)
    return (found["address"] or found["name"]).lower() if found else ""


def _says_proxy(name: str) -> bool:
    """Whether a header is one by which a proxy says for whom it asks, or that it is there at all."""
    name = name.lower()
    return name in _PROXY or name.startswith(_PROXY_PREFIXES)
