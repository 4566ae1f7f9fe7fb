"""Where a connection is to go: a URL or a host, parsed once, into what nobody parses again."""

from __future__ import annotations

import functools
import ipaddress
import re
from typing import Final
from urllib.parse import quote, urljoin, urlsplit

import msgspec

from mixkit.addresses import IPAddress
from mixkit.errors import FFIError

__all__ = ["MAX_URL", "EgressDenied", "Target", "canonical_host", "parse_url"]

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


_LABEL: Final = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMERIC: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")
# IDNA 2003 and 2008 map these to different names; guessing one could reach a host that nobody meant.
_AMBIGUOUS: Final = re.compile("[ßẞς\u200c\u200d]")


@functools.lru_cache(maxsize=1024)
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
_ABSOLUTE: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_PORT: Final = re.compile(r":[0-9]*\Z")
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
    if not _ABSOLUTE.match(url) or not parts.netloc:
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
    host = _PORT.sub("", parts.netloc)
    name, ip = canonical_host(host)
    path = parts.path or "/"
    if parts.query:
        path = f"{path}?{parts.query}"
    # A "%" stays as it is; anything outside ASCII and spaces are written as their bytes.
    return Target(scheme, name, port, quote(path, safe=_URL_SAFE, errors="surrogateescape"), ip)


def _shown(url: str) -> str:
    """The start of a URL that is safe to show: never what could be a password."""
    return url.rpartition("@")[2][:100]
