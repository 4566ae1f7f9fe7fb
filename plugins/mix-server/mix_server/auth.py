"""Who asks, and what they may do: `admit` is asked of every request, and nothing else is.

Who asks without authentication, and who runs the server, stand here; users and grants are in `mix_server.access`.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import re
from typing import TYPE_CHECKING, Any, Final, Protocol

from mix_server.caller import Caller, Permission, Resource
from mix_server.errors import Forbidden, Unauthorized
from mix_server.rates import bucket_of
from mix_server.shares import ASKING
from mixkit.errors import NotFound, ProfileError

if TYPE_CHECKING:
    from mix_server.request import Request

__all__ = [
    "ANYBODY",
    "MIN_TOKEN",
    "Authorizer",
    "LoopbackAuthorizer",
    "OperatorToken",
    "admit",
    "is_loopback",
    "is_of_another_site",
    "permission_of",
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
"""Shortest token of the operator that is taken, in characters."""

ANYBODY: Final = Caller(None, ("anonymous",))
"""Who says nothing of who asks."""


class Authorizer(Protocol):
    """Decides who asks, and what they may do."""

    async def authorize(self, request: Request) -> Caller:
        """Who sent the request.

        Raises:
            Unauthorized, Forbidden: it may not be served.
        """
        ...

    async def ready(self, subject: Caller, workspace: str) -> None:
        """Have at hand what `may` needs to know of somebody in a workspace, which need not be there."""
        ...

    def may(self, subject: Caller, permission: Permission, resource: Resource) -> bool:
        """Whether somebody may do something. Answered from memory, once the workspace is at hand."""
        ...


async def admit(
    authorizer: Authorizer, request: Request, permission: Permission, resource: Resource
) -> Caller:
    """Who sent a request, if they may do what it asks for; what is done from here on counts as theirs (`ASKING`).

    Raises:
        Unauthorized: nobody in particular sent it, who may not; or the token is not good.
        NotFound: the caller may not even know that the resource is there.
        Forbidden: only that.
    """
    caller = await authorizer.authorize(request)
    if resource.workspace is not None:
        await authorizer.ready(caller, resource.workspace)
    if authorizer.may(caller, permission, resource):
        ASKING.set(bucket_of(request, caller))
        return caller
    if caller.subjects == ANYBODY.subjects:
        raise Unauthorized("expected a token as Authorization: Bearer TOKEN")
    if permission is Permission.SEE or not authorizer.may(caller, Permission.SEE, resource):
        raise NotFound("the caller may not see it")
    raise Forbidden(f"expected the permission {permission} here, which you do not have")


def permission_of(handler: Any, method: str) -> Permission | None:
    """What is needed for a method of a Falcon resource, as its `permissions` say; `EVERYBODY` where nothing is."""
    if method == "OPTIONS":
        return Permission.SEE
    declared: dict[str, Permission | None] = getattr(handler, "permissions", {})
    return declared.get(_ALIASES.get(method, method), Permission.ADMIN)


class OperatorToken:
    """The token of who runs the server.

    Raises:
        ProfileError: it is too weak.

    Attributes:
        mark: stands for the token in what is signed.
    """

    def __init__(self, token: str) -> None:
        if len(token) < MIN_TOKEN or not token.isascii() or not token.isprintable() or " " in token:
            raise ProfileError(
                f"expected at least {MIN_TOKEN} printable ASCII characters without spaces, "
                f"found {len(token)} characters",
                "settings.server.token",
            )
        self._expected = token
        # Says which token it was, to who has it, and nothing about it.
        self.mark = hashlib.sha256(b"mixkit operator\0" + token.encode()).hexdigest()[:32]

    def is_it(self, given: str) -> bool:
        """Whether that is the token."""
        # NOTE: in constant time, which is for ASCII alone.
        return given.isascii() and hmac.compare_digest(given, self._expected)


class LoopbackAuthorizer:
    """Takes everybody on this machine, and no web page that a browser on this machine shows.

    A page from elsewhere can make the browser send requests to a loopback address, and can by its DNS server
    point its own name there. So the `Host` must be a loopback name, and what a browser says of a request's
    origin must not be another site. A proxy would make strangers look local: what says that it came through
    one is refused.

    Args:
        origins: of pages that may ask all the same.
    """

    def __init__(self, origins: frozenset[str] = frozenset()) -> None:
        self._origins = origins
        self._caller = Caller(None, operator=True)

    async def authorize(self, request: Request) -> Caller:
        """Nobody in particular. `Forbidden` if the request may come from elsewhere."""
        server = request.scope.get("server")
        if not (server and is_loopback(server[0])):
            raise Forbidden("without authentication only connections to a loopback address are served")
        if any(map(_says_proxy, request.headers)):
            raise Forbidden("without authentication nothing is served that comes through a proxy")
        if not is_loopback(_name_of(request.get_header("Host") or "")):
            raise Forbidden("without authentication the Host must be localhost or a loopback address")
        if request.get_header("Origin") not in self._origins and is_of_another_site(request):
            raise Forbidden("without authentication no requests are served that other web sites make")
        return self._caller

    async def ready(self, subject: Caller, workspace: str) -> None:
        """Nothing is needed."""

    def may(self, subject: Caller, permission: Permission, resource: Resource) -> bool:
        """Yes: whoever is on this machine may do everything."""
        return True


def is_of_another_site(request: Request, here: tuple[str, ...] = ()) -> bool:
    """Whether a browser sent a request for a page of another web site, by what it says of its origin (Fetch, 3.1, and
    W3C Fetch Metadata). What is no browser says nothing, and is none.

    Args:
        here: hosts under which browsers know this server, instead of the one that is asked.
    """
    origin = request.get_header("Origin")
    site = request.get_header("Sec-Fetch-Site") or "none"
    hosts = here or (request.get_header("Host") or "",)
    if site not in ("none", "same-origin"):
        return True
    if not origin:
        return False
    scheme, _, host = origin.partition("://")
    # NOTE: whoever is in between can be any host without TLS.
    downgraded = scheme == "http" and "https" in (request.scheme, request.forwarded_scheme)
    return downgraded or host not in hosts


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
