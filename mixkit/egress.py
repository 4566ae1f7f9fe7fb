"""The one egress check: every outgoing connection of every plugin passes here, again at each redirect.

A URL is parsed once, by `mixkit.target.parse_url`; nobody parses its text again. `check` turns the name of
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
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeAlias

import msgspec

from mixkit.addresses import AllowedNetwork, IPAddress, classify
from mixkit.errors import FFIError, GrantError
from mixkit.target import EgressDenied, Target, canonical_host

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

__all__ = [
    "EgressPolicy",
    "HostPattern",
    "PinnedAddress",
    "Resolver",
    "check",
    "host_patterns",
    "system_resolver",
]

_log = logging.getLogger("mixkit.egress")

Resolver: TypeAlias = Callable[[str], Awaitable[list[str]]]
"""From an ASCII name to all its addresses as text. Raises OSError when there is none."""


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
        return EgressPolicy(self.schemes, self.dangerous, self.allow, hosts, count or self.count)

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
