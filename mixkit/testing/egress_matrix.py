"""What no plugin may connect to, however it is written or reached, and a watch over what is connected to.

The addresses are written down from the IANA registries and the clouds' manuals, apart from the table of
`mixkit.egress`. Plugins that open connections are held against all of it by `tests/test_egress_matrix.py`.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

__all__ = ["LOCATIONS", "NOT_PUBLIC", "PUBLIC", "REFUSED", "SPELLINGS", "Names", "watched"]

# fmt: off
NOT_PUBLIC: Final = (
    "0.0.0.0", "0.1.2.3", "10.0.0.1", "10.255.255.255", "100.64.0.1", "100.100.100.200", "100.127.255.255",
    "127.0.0.1", "127.255.255.254", "168.63.129.16", "169.254.0.1", "169.254.169.254", "169.254.170.2",
    "172.16.0.1", "172.31.255.255", "192.0.0.1", "192.0.0.9", "192.0.0.10", "192.0.0.192", "192.0.2.1",
    "192.88.99.1", "192.168.0.1", "198.18.0.1", "198.19.255.255", "198.51.100.7", "203.0.113.9", "224.0.0.1",
    "239.255.255.250", "240.0.0.1", "255.255.255.255",
    "::", "::1", "::7f00:1", "::8.8.8.8", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "::ffff:0:8.8.8.8",
    "64:ff9b::7f00:1", "64:ff9b::8.8.8.8", "64:ff9b:1::a00:1", "100::1", "2001::1", "2001:0:4136:e378::1",
    "2001:2::1", "2001:10::1", "2001:20::1", "2001:db8::1", "2002:7f00:1::", "2002:808:808::1", "3fff::1",
    "5f00::1", "4000::1", "fc00::1", "fd00:ec2::254", "fd20:ce::254", "fd12::1", "fe80::1", "fe80::1%1",
    "fec0::1", "ff02::1", "ff0e::1",
)
"""Addresses of every class that is not the public Internet."""

PUBLIC: Final = (
    "1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255",
    "128.0.0.1", "168.63.129.15", "169.253.255.255", "172.15.255.255", "172.32.0.0", "192.0.1.1",
    "192.167.255.255", "198.17.255.255", "198.20.0.0", "223.255.255.255",
    "2606:4700:4700::1111", "2001:4860:4860::8888", "2a00::1",
)
"""Their neighbours that are."""

SPELLINGS: Final = (
    "127.1", "127.0.1", "2130706433", "0x7f000001", "0X7F.1", "0x7f.0.0.1", "017700000001", "0177.0.0.1",
    "127.0.0.01", "127.0.0.1.", "127.0.0.1..", "１２７.0.0.1", "127。0。0。1", "①②⑦.0.0.1", "127%2e0.0.1",
    "%31%32%37.0.0.1", "[::ffff:7f00:1]", "[0:0:0:0:0:ffff:127.0.0.1]", "[::ffff:127.0.0.1]", "0",
    "[::127.0.0.1]", "[fe80::1%25eth0]", "[fe80::1%eth0]", "[v1.x]", "[127.0.0.1]", "8.8.8",
    "8.8.8.8.8", "0x", "1.0x7f", "999.1.1.1", "4294967296", "1e1.0x1",
)
"""Hosts in a URL that some resolver or parser takes for an address; none is the plain one of a public address."""

REFUSED: Final = (
    "{}://user:pw@good.example/", "{}://127.0.0.1#@good.example/", "{}://good.example\\@127.0.0.1/",
    "{}:\\\\good.example/", "{}://good.example\t/", "{}://good.example/\r\nHost: x", "{}://good.example/\x00",
    " {}://good.example/", "//good.example/", "{}:good.example", "{}:///path", "{}://good.example:0/",
    "{}://good.example:65536/", "{}://good.example:٣/", "{}://good.example:1:2/", "{}://::1/",
    "{}://good..example/", "{}://-good.example/", "{}://good.example../", "{}://good example/",
    "{}://good.example\u2028/", "{}://faß.example/", "{}://ex\u200dample.org/",
    "file:///etc/passwd", "gopher://good.example/", "ftp://good.example:21/", "unix:///run/x.sock",
)
"""URLs, with their scheme left out, that parsers read differently, or that are of no scheme of any plugin."""
LOCATIONS: Final = (
    "https://127.0.0.1/", "https://127.0.0.1:1/", "https://10.1.2.3/", "https://169.254.169.254/latest/meta-data/",
    "https://168.63.129.16/", "https://100.64.0.1/", "https://0.0.0.0/", "https://[::1]/", "https://[::]/",
    "https://[::ffff:127.0.0.1]/", "https://[::ffff:7f00:1]/", "https://[64:ff9b::7f00:1]/",
    "https://[fd00:ec2::254]/", "https://[fe80::1%25eth0]/", "https://2130706433/", "https://0x7f000001/",
    "https://017700000001/", "https://127.1/", "https://0/", "https://\uff11\uff12\uff17.0.0.1/",
    "https://user:pw@127.0.0.1/", "https://home.example@127.0.0.1/", "//10.0.0.1/x", "//127.1",
    "\\\\127.0.0.1\\x", "///127.0.0.1", "https:127.0.0.1",
    "/\\127.0.0.1/", "https:\\\\127.0.0.1", "http://home.example/", "HTTP://home.example/", "file:///etc/passwd",
    "ftp://home.example/", "gopher://127.0.0.1:70/x", "javascript:alert(1)", "data:text/plain,x", "https://",
    "https://private.example/", "https://mixed.example/", "https://nowhere.example/", "https://localhost/",
    "https://%31%32%37.0.0.1/", "https://127.0.0.1%00.home.example/", "https:///127.0.0.1",
    "wss://127.0.0.1/", "ws://home.example/", "mqtts://home.example/", "unix:///run/x.sock",
)
"""Every place that a redirect may not lead to, as a server of an attacker at `home.example` would write it; the names
lead inside, or nowhere."""
# fmt: on


class Names:
    """A resolver: each name answers its lists of addresses in turn, and the last one from then on; others have none."""

    def __init__(self, names: Mapping[str, Sequence[Sequence[str]]]) -> None:
        self._names = {name: list(answers) for name, answers in names.items()}
        self.asked: list[str] = []

    async def __call__(self, host: str) -> list[str]:
        self.asked.append(host)
        answers = self._names.get(host)
        if answers is None:
            raise socket.gaierror(socket.EAI_NONAME, f"no name {host}")
        return list(answers.pop(0) if len(answers) > 1 else answers[0])


class Blocked(OSError):
    """A connection that the watch did not let out."""


@contextmanager
def watched(let: Callable[[Any], bool] = lambda address: False) -> Iterator[list[Any]]:
    """A list of what Python connects to, or looks up by itself, meanwhile; nothing of it gets out.

    Each is the address that was given to the socket, or `("lookup", host)`; Unix sockets do not count. What a library
    in another language does is not seen.

    Args:
        let: which addresses are connected to nevertheless; those are not in the list.
    """
    global _watch
    _install()
    seen: list[Any] = []
    before, _watch = _watch, (seen, let)
    try:
        yield seen
    finally:
        _watch = before


_watch: tuple[list[Any], Callable[[Any], bool]] | None = None
_installed = False
_LOOKUPS: Final = frozenset({"socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"})
_SENT: Final = frozenset({"socket.connect", "socket.sendto", "socket.sendmsg"})


def _install() -> None:
    # An audit hook stays for ever, so there is one, which does nothing as a rule.
    global _installed
    if not _installed:
        _installed = True
        sys.addaudithook(_hook)


def _hook(event: str, args: tuple[Any, ...]) -> None:
    if _watch is None or not event.startswith("socket."):
        return
    seen, let = _watch
    if event in _SENT:
        address = args[1]
        if args[0].family == socket.AF_UNIX or address is None or let(address):
            return
        seen.append(address)
    elif event in _LOOKUPS:
        seen.append(("lookup", args[0]))
    else:
        return
    raise Blocked(f"{event} of {seen[-1]!r} was not let out")
