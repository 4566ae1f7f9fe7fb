"""The one egress check: every outgoing connection of every plugin passes here, again at each redirect.

A URL is parsed once, by `parse_url`, into a `Target`; nobody parses its text again. `check` turns the name of
a target into addresses, refuses it unless every one of them may be reached, and answers them pinned: the
caller connects to exactly these, without another resolution. `EgressPolicy.refusal` decides for one address,
from `mixkit.addresses.classify`.
"""

from __future__ import annotations

import functools
import ipaddress
import logging
import re
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, TypeAlias
from urllib.parse import quote, urljoin, urlsplit

import msgspec

from mixkit.addresses import AllowedNetwork, IPAddress, classify
from mixkit.errors import FFIError, GrantError

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

__all__ = [
    "MAX_URL",
    "EgressDenied",
    "EgressPolicy",
    "HostPattern",
    "PinnedAddress",
    "Resolver",
    "Target",
    "canonical_host",
    "check",
    "host_patterns",
    "parse_url",
    "system_resolver",
]

_log = logging.getLogger("mixkit.egress")

Resolver: TypeAlias = Callable[[str], Awaitable[list[str]]]
"""From an ASCII name to all its addresses as text. Raises OSError when there is none."""

DEFAULT_PORTS: Final = {"http": 80, "https": 443, "ws": 80, "wss": 443, "mqtt": 1883, "mqtts": 8883}
MAX_URL: Final = 32 * 1024


class EgressDenied(FFIError):
    """A connection is refused before it is made.

    `host` is what was asked for, `address` the offending address or None, `reason` says what is wrong. The
    message has the address only when the caller wrote it: agents shall not map the network inside by names. The
    log of `mixkit.egress` has it.
    """

    code = "egress"

    def __init__(self, host: str, reason: str, address: str | None = None) -> None:
        super().__init__(f"connection to {host[:253]!r} refused: {reason}")
        self.host = host
        self.reason = reason
        self.address = address


# -- hosts ----------------------------------------------------------------------------------------

_LABEL: Final = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMERIC: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")
# IDNA 2003 and 2008 map these to different names; guessing one could reach a host that nobody meant.
_AMBIGUOUS: Final = re.compile("[ßẞς\u200c\u200d]")


def canonical_host(host: str) -> tuple[str, IPAddress | None]:
    """The ASCII form of a host name, or the address that the host is.

    Raises:
        EgressDenied: control characters, `%`, user names, empty labels, names that IDNA does not allow, and
            IPv4 addresses in any notation but four decimal numbers (`127.1`, `0x7f000001`, `017700000001` …).
    """
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
        if ":" not in host:
            raise EgressDenied(host, "expected an IPv6 address in the brackets")
    if ":" in host:
        try:
            ip = ipaddress.IPv6Address(host)
        except ValueError:
            raise EgressDenied(host, "expected a host name or an IPv6 address") from None
        if ip.scope_id is not None:
            raise EgressDenied(host, "an address with a zone")
        return str(ip), ip
    if len(host) > 253:
        raise EgressDenied(host, f"expected at most 253 characters, found {len(host)}")
    name = _ascii(host).lower().removesuffix(".")
    labels = name.split(".")
    if len(name) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise EgressDenied(host, "expected a host name of letters, digits, hyphens and dots")
    if _NUMERIC.fullmatch(labels[-1]):
        # Resolvers read a name that ends in a number as inet_aton does: octal, hexadecimal, parts left out.
        try:
            return name, ipaddress.IPv4Address(name)
        except ValueError:
            raise EgressDenied(host, "expected an IPv4 address as four decimal numbers") from None
    return name, None


def _ascii(host: str) -> str:
    if host.isascii():
        return host
    if _AMBIGUOUS.search(host):
        raise EgressDenied(host, "write this international name in its xn-- form, which is unambiguous")
    try:
        return host.encode("idna").decode("ascii")
    except UnicodeError as exc:
        raise EgressDenied(host, f"not a valid international name: {exc}") from None


class HostPattern(msgspec.Struct, frozen=True):
    """Hosts that a grant names: `example.com`, `*.example.com` (any depth below, not itself) or `*`.

    With `:port` only that port, else all.
    """

    name: str
    below: bool = False
    port: int | None = None

    @classmethod
    def parse(cls, text: str) -> HostPattern:
        """GrantError for other text: a grant that cannot be enforced must not look granted."""
        match = re.fullmatch(r"(\*\.)?(\*|\[[^\]]*\]|[^*:\[\]/@]+)(?::([0-9]{1,5}))?", text)
        if match is None or (match[1] and match[2] == "*"):
            raise GrantError(
                'expected a host pattern as "example.com", "*.example.com" or "example.com:8443", '
                f"found {text!r}"
            )
        port = int(match[3]) if match[3] else None
        if match[2] == "*":
            return cls("", True, port)
        try:
            name, ip = canonical_host(match[2])
        except EgressDenied as exc:
            raise GrantError(f"host pattern {text!r}: {exc.reason}") from None
        if match[1] and ip is not None:
            raise GrantError(f"host pattern {text!r}: an address has no subdomains")
        return cls(name, bool(match[1]), port)

    def matches(self, target: Target) -> bool:
        """Whether the target is one of these hosts."""
        if self.port not in (None, target.port):
            return False
        if not self.below:
            return target.host == self.name
        return not self.name or (target.ip is None and target.host.endswith(f".{self.name}"))


def host_patterns(option: str, layer: object) -> tuple[HostPattern, ...]:
    """The hosts that the value of a grant option names.

    Raises:
        GrantError: it is no list of host patterns.
    """
    if not isinstance(layer, list | tuple) or not all(isinstance(text, str) for text in layer):
        raise GrantError(f"grant option {option}: expected a list of host patterns, found {layer!r:.80}")
    try:
        return tuple(HostPattern.parse(text) for text in layer)
    except GrantError as exc:
        raise GrantError(f"grant option {option}: {exc}") from None


@dataclass(frozen=True, slots=True)
class EgressPolicy:
    """What may be connected to. Immutable and hashable: pools of connections are kept by policy.

    Attributes:
        schemes: what a URL may begin with, as ("https",); the plugin chooses, by its own dangerous mode.
        dangerous: any address may be reached.
        allow: exceptions of the operator for addresses that are not public.
        hosts: layers of grants; a host must match one pattern of every layer.
        count: told each name before it is looked up; raises if a run may look up no more.
    """

    schemes: tuple[str, ...] = ("https",)
    dangerous: bool = False
    allow: tuple[AllowedNetwork, ...] = ()
    hosts: tuple[tuple[HostPattern, ...], ...] = ()
    count: Callable[[str], None] | None = field(default=None, compare=False, repr=False)

    def restricted(
        self, option: str, layers: Iterable[object], count: Callable[[str], None] | None = None
    ) -> EgressPolicy:
        """The same policy for only the hosts that every layer names.

        Args:
            option: the grant option, as "http.hosts", for messages.
            layers: its values, as `Grants.option` answers them: lists of host patterns.
            count: told each name before it is looked up, as `Budget.look_up`.

        Raises:
            GrantError: a layer is something else.
        """
        hosts = (*self.hosts, *(host_patterns(option, layer) for layer in layers))
        return replace(self, hosts=hosts, count=count or self.count)

    def refusal(self, ip: IPAddress, port: int) -> str | None:
        """Why that address may not be connected to, or None."""
        if self.dangerous or any(allowed.covers(ip, port) for allowed in self.allow):
            return None
        return classify(ip)

    def check_granted(self, target: Target) -> None:
        """Raise `EgressDenied` unless every layer of grants names the host."""
        for layer in self.hosts:
            if not any(pattern.matches(target) for pattern in layer):
                raise EgressDenied(target.host, f"the granted hosts do not include it (port {target.port})")

    def check_target(self, target: Target) -> None:
        """Raise `EgressDenied` for what is wrong before a name is resolved: scheme, host, literal address."""
        if target.scheme not in self.schemes:
            raise EgressDenied(target.host, f"expected {' or '.join(self.schemes)}, found {target.scheme!r}")
        self.check_granted(target)
        if target.ip is not None and (reason := self.refusal(target.ip, target.port)):
            raise EgressDenied(target.host, reason, str(target.ip))
        if target.ip is None and self.count is not None:
            self.count(target.host)


# -- URLs -----------------------------------------------------------------------------------------


class Target(msgspec.Struct, frozen=True):
    """A URL in parts, each in its one canonical form. `path` has the query, but no fragment."""

    scheme: str
    host: str
    port: int
    path: str = "/"
    ip: IPAddress | None = None

    @classmethod
    def of(cls, scheme: str, host: str, port: int) -> Target:
        """For protocols without URLs. Raises EgressDenied as `canonical_host` does."""
        name, ip = canonical_host(host)
        return cls(scheme, name, port, ip=ip)

    @property
    def netloc(self) -> str:
        """Host and, unless it is the scheme's own, port; as in a URL."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS.get(self.scheme) else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.netloc}{self.path}"

    def referred(self, location: str) -> Target:
        """Where a redirect leads from here. Raises EgressDenied as `parse_url` does."""
        if location.startswith("//"):
            location = f"{self.scheme}:{location}"
        # Only a relative reference is joined: urljoin takes `https:x` and `https:///x` for relative ones,
        # where browsers see another host.
        absolute = _SCHEME.match(location) is not None
        return parse_url(location if absolute else urljoin(self.url, location))

    @property
    def origin(self) -> tuple[str, str, int]:
        """What credentials are bound to."""
        return (self.scheme, self.host, self.port)


_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_FORBIDDEN: Final = re.compile(r"[\x00-\x1f\x7f\\]")
_URL_SAFE: Final = "/:@!$&'()*+,;=~-._%?[]"


def parse_url(url: str) -> Target:
    """Parse an absolute URL with a host. What parsers are known to read differently is refused, not repaired.

    Raises:
        EgressDenied: control characters, backslashes, a user name or password, percent signs in the host, no
            scheme or host, a port out of range, an unusual form of an address.
    """
    if len(url) > MAX_URL:
        raise EgressDenied(_shown(url), f"expected a URL of at most {MAX_URL} characters, found {len(url)}")
    if found := _FORBIDDEN.search(url):
        raise EgressDenied(_shown(url), f"the URL has the character U+{ord(found[0]):04X}")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as exc:
        raise EgressDenied(_shown(url), f"not a URL: {exc}") from None
    if not re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", url) or not parts.netloc:
        raise EgressDenied(_shown(url), "expected an absolute URL as https://host/path")
    if "@" in parts.netloc:
        raise EgressDenied(parts.netloc.rpartition("@")[2], "a URL may not carry a user name or password")
    scheme = parts.scheme.lower()
    if port is None:
        port = DEFAULT_PORTS.get(scheme)
    if not port:
        raise EgressDenied(parts.netloc, "expected a port from 1 to 65535")
    bracketed = parts.netloc.startswith("[")
    if not bracketed and parts.netloc.count(":") > 1:
        raise EgressDenied(parts.netloc, "expected an IPv6 address in brackets")
    host = re.sub(r":[0-9]*\Z", "", parts.netloc)
    name, ip = canonical_host(host)
    path = parts.path or "/"
    if parts.query:
        path = f"{path}?{parts.query}"
    # A "%" stays as it is; anything outside ASCII and spaces are written as their bytes.
    return Target(scheme, name, port, quote(path, safe=_URL_SAFE, errors="surrogateescape"), ip)


def _shown(url: str) -> str:
    """The start of a URL that is safe to show: never what could be a password."""
    return url.rpartition("@")[2][:100]


# -- the check ------------------------------------------------------------------------------------


class PinnedAddress(msgspec.Struct, frozen=True):
    """An address that passed the check. Connect to `address`, and do not resolve `host` again."""

    host: str
    port: int
    address: str

    @property
    def is_ipv6(self) -> bool:
        return ":" in self.address


_LOOK_UPS: Final = 16
"""Names that a process looks up at once."""


def _look_ups() -> ThreadPoolExecutor:
    import os

    return _look_ups_of(os.getpid())


@functools.lru_cache(maxsize=1)
def _look_ups_of(process: int) -> ThreadPoolExecutor:
    # Threads do not survive a fork: a child has a pool of its own.
    from concurrent.futures import ThreadPoolExecutor

    return ThreadPoolExecutor(_LOOK_UPS, thread_name_prefix="mixkit-names")


async def system_resolver(host: str) -> list[str]:
    """All addresses of a name, by the system's resolver in a thread of a pool of its own.

    A name server that says nothing holds a thread for many seconds, and with the loop's own threads it would hold up
    everybody's files and first loads.
    """
    import asyncio
    import socket

    found = await asyncio.get_running_loop().run_in_executor(
        _look_ups(), functools.partial(socket.getaddrinfo, host, None, type=socket.SOCK_STREAM)
    )
    return list(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found))


async def check(
    target: Target, policy: EgressPolicy, resolver: Resolver | None = None
) -> list[PinnedAddress]:
    """Resolve a target's host once and answer its addresses, all of which may be connected to.

    A name of which only some addresses are refused is refused: it is how rebinding looks.

    Args:
        resolver: `system_resolver` unless given.

    Raises:
        EgressDenied: the policy refuses the target or one of its addresses.
        FFIError: the name has no address.
    """
    policy.check_target(target)
    host, port = target.host, target.port
    if target.ip is not None:
        return [PinnedAddress(host, port, str(target.ip))]
    try:
        addresses = [ipaddress.ip_address(text) for text in await (resolver or system_resolver)(host)]
    except (OSError, UnicodeError):
        addresses = []
    except ValueError:
        raise EgressDenied(host, "the resolver answered something that is no address") from None
    if not addresses:
        raise FFIError(f"the host name {host!r} has no address")
    for address in addresses:
        if reason := policy.refusal(address, port):
            _log.info("refused %s, port %d: it resolves to %s, %s", host, port, address, reason)
            raise EgressDenied(host, f"it resolves to {reason}", str(address))
    return [PinnedAddress(host, port, str(address)) for address in addresses]
