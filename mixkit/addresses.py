"""IP addresses: which are on the public Internet, and which others an operator lets be reached."""

from __future__ import annotations

import functools
import ipaddress
import re
from typing import Final, TypeAlias

import msgspec

__all__ = ["AllowedNetwork", "IPAddress", "classify"]

IPAddress: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
IPNetwork: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

_SERVICE: Final = "a cloud metadata or platform service"
_METADATA: Final[frozenset[IPAddress]] = frozenset(
    ipaddress.ip_address(text)
    for text in (
        "169.254.169.254",  # AWS, GCP, Azure, OpenStack, DigitalOcean
        "169.254.170.2",  # AWS ECS tasks
        "169.254.170.23",  # AWS EKS pods
        "169.254.169.253",  # AWS resolver
        "168.63.129.16",  # Azure wire server, a public address
        "100.100.100.200",  # Alibaba
        "192.0.0.192",  # Oracle
        "fd00:ec2::254",  # AWS
        "fd00:ec2::253",
        "fd00:ec2::23",
        "fd20:ce::254",  # GCP
    )
)

# IANA special-purpose registries (RFC 6890 and its updates), most specific name first. Stricter than
# `is_global`, whose answer also changes between patch releases of Python.
_SPECIAL_4: Final = tuple(
    (ipaddress.IPv4Network(network), reason)
    for network, reason in (
        ("0.0.0.0/8", "an address of this network"),
        ("10.0.0.0/8", "a private address"),
        ("100.64.0.0/10", "a carrier-grade NAT address"),
        ("127.0.0.0/8", "a loopback address"),
        ("169.254.0.0/16", "a link-local address"),
        ("172.16.0.0/12", "a private address"),
        ("192.0.0.0/24", "an address for IETF protocols"),
        ("192.0.2.0/24", "a documentation address"),
        ("192.88.99.0/24", "a 6to4 relay"),
        ("192.168.0.0/16", "a private address"),
        ("198.18.0.0/15", "a benchmarking address"),
        ("198.51.100.0/24", "a documentation address"),
        ("203.0.113.0/24", "a documentation address"),
        ("224.0.0.0/4", "a multicast address"),
        ("255.255.255.255/32", "the broadcast address"),
        ("240.0.0.0/4", "a reserved address"),
    )
)
_GLOBAL_6: Final = ipaddress.IPv6Network("2000::/3")
_SPECIAL_6: Final = tuple(
    (ipaddress.IPv6Network(network), reason)
    for network, reason in (
        ("::1/128", "a loopback address"),
        ("::/128", "the unspecified address"),
        ("::ffff:0:0/96", "an IPv4-mapped address"),
        ("::ffff:0:0:0/96", "an IPv4-translated address"),
        ("::/96", "an IPv4-compatible address"),
        ("64:ff9b::/96", "a NAT64 address"),
        ("64:ff9b:1::/48", "a local NAT64 address"),
        ("100::/64", "a discard address"),
        ("2001::/32", "a Teredo address"),
        ("2001:2::/48", "a benchmarking address"),
        ("2001::/23", "an address for IETF protocols"),
        ("2001:db8::/32", "a documentation address"),
        ("2002::/16", "a 6to4 address"),
        ("3fff::/20", "a documentation address"),
        ("5f00::/16", "a segment-routing address"),
        ("fc00::/7", "a private address"),
        ("fe80::/10", "a link-local address"),
        ("fec0::/10", "a site-local address"),
        ("ff00::/8", "a multicast address"),
    )
)


def classify(ip: IPAddress | str) -> str | None:
    """Why an address is not on the public Internet, as a phrase ("a loopback address"), or None if it is.

    Addresses that carry an IPv4 address inside (mapped, NAT64, 6to4, Teredo …) are refused, whatever it is.

    Raises:
        ValueError: a string that is no address.
    """
    return _classify(ipaddress.ip_address(ip) if isinstance(ip, str) else ip)


# PERF: some twenty networks are asked, 10 µs; agents go to the same few hosts again and again.
@functools.lru_cache(maxsize=4096)
def _classify(ip: IPAddress) -> str | None:
    if isinstance(ip, ipaddress.IPv4Address):
        if ip in _METADATA:
            return _SERVICE
        reason = next((reason for network, reason in _SPECIAL_4 if ip in network), None)
    else:
        if ip.scope_id is not None:
            return "an address with a zone"
        if ip in _METADATA:
            return _SERVICE
        reason = next((reason for network, reason in _SPECIAL_6 if ip in network), None)
        if reason is None and ip not in _GLOBAL_6:
            return "not a global unicast address"
    # Python's own table is asked last, for what the registries gain after this was written. It does not know
    # that 192.0.0.9 and its like are services of the local network, hence the tables above.
    return reason or (None if ip.is_global else "not a global address")


class AllowedNetwork(msgspec.Struct, frozen=True):
    """An exception that the operator makes: a network that may be reached although it is not public.

    `port` None is every port. A metadata address is opened only by naming exactly that address.
    """

    network: IPNetwork
    port: int | None = None

    @classmethod
    def parse(cls, text: str) -> AllowedNetwork:
        """From `"10.1.0.0/16"`, `"10.1.2.3:8443"`, `"fd00::/8"` or `"[fd00::1]:8443"`, else ValueError."""
        address, port = text, None
        if match := re.fullmatch(r"\[(.*)\](?::([0-9]{1,5}))?|([0-9./]+):([0-9]{1,5})", text):
            address = match[1] or match[3] or ""
            port = match[2] or match[4]
        number = int(port) if port else None
        if number is not None and not 0 < number < 65536:
            raise ValueError(f"expected a port from 1 to 65535 in {text!r}")
        try:
            return cls(ipaddress.ip_network(address), number)
        except ValueError as exc:
            raise ValueError(
                f'expected "address", "network/bits" or either with ":port", found {text!r}: {exc}'
            ) from None

    def covers(self, ip: IPAddress, port: int) -> bool:
        """Whether a connection to that address and port is excepted."""
        if self.port not in (None, port) or ip.version != self.network.version or ip not in self.network:
            return False
        return self.network.num_addresses == 1 or ip not in _METADATA
