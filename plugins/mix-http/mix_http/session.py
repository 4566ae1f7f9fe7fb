"""Pools of connections: one for each event loop, process and settings. Each socket in them was checked."""

from __future__ import annotations

import asyncio
import ipaddress
import os
import select
import socket
import ssl
import threading
import weakref
from collections.abc import AsyncGenerator
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final, NoReturn

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from mix_http.message import ClientTLS
from mix_http.settings import HttpSettings
from mixkit import egress, outgoing
from mixkit.egress import EgressPolicy
from mixkit.errors import FFIError
from mixkit.header_fields import reveal
from mixkit.target import EgressDenied, Target

MAX_HEADERS: Final = 500
"""Header fields of a response."""

__all__ = ["ConnectionDropped", "Sent", "client_context", "sent", "session_for"]


class ConnectionDropped(FFIError):
    """The server closed the connection before it answered."""


@dataclass(slots=True)
class Sent:
    """What became of one request on its way."""

    reused: bool = False
    """It went over a connection that an earlier request had left open."""


sent: Final[ContextVar[Sent]] = ContextVar("sent")
"""That of the request which the current task makes."""


class _CleanConnector(aiohttp.TCPConnector):
    """Uses a kept connection again only if nothing has come over it since: those bytes answer no request of ours.

    NOTE: aiohttp asks a connection whether it is clean when it is put away, and not when it is taken out again. This
    overrides a method that it does not document; a test with a server that says too much holds it.
    """

    async def _get(self, key: Any, traces: Any) -> Any:
        while (connection := await super()._get(key, traces)) is not None:
            protocol = connection.protocol
            # What is already known of it, and what has arrived and is not read yet.
            clean = protocol is not None and protocol.is_connected() and not protocol.should_close
            if clean and not _has_news(connection.transport):
                sent.get().reused = True
                break
            connection.close()
        return connection


def _has_news(transport: asyncio.Transport | None) -> bool:
    """Whether something has arrived that the loop has not read yet."""
    opened = None if transport is None else transport.get_extra_info("socket")
    if opened is None or opened.fileno() < 0:
        return False
    # NOTE: select() would refuse the descriptors from 1024 on.
    poll = select.poll()
    poll.register(opened, select.POLLIN)
    return bool(poll.poll(0))


class CheckedResolver(AbstractResolver):
    """Answers aiohttp the pinned addresses of a name: this is the only resolution of a connection."""

    def __init__(self, policy: EgressPolicy) -> None:
        self._policy = policy

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        target = Target.of(self._policy.schemes[0], host, port)
        return [
            ResolveResult(
                hostname=host,
                host=pinned.address,
                port=port,
                family=socket.AF_INET6 if pinned.is_ipv6 else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for pinned in await egress.check(target, self._policy)
        ]

    async def close(self) -> None:
        pass


def checked_socket(policy: EgressPolicy, info: tuple[Any, ...]) -> socket.socket:
    """The last gate, at the address that is really connected to, whatever led there."""
    family, kind, proto, _, sockaddr = info
    address, port = sockaddr[:2]
    reason = policy.refusal(ipaddress.ip_address(address), port)
    if reason is not None:
        raise EgressDenied(str(address), reason, str(address))
    return socket.socket(family, kind, proto)


def _context(settings: HttpSettings) -> ssl.SSLContext:
    context = outgoing.trusting("http", settings.ca_file)
    context.set_alpn_protocols(["http/1.1"])
    return context


async def client_context(settings: HttpSettings, identity: ClientTLS) -> ssl.SSLContext:
    """A context that shows the agent's certificate. FFIError if key and certificate are not usable."""
    pem = f"{reveal(identity.key)}\n{identity.certificate}\n".encode()
    if len(pem) > 64 * 1024:
        raise FFIError("clientTLS: expected a key and a certificate of at most 64 KiB")

    def load() -> ssl.SSLContext:
        context = _context(settings)
        # OpenSSL reads certificates from files only; this one never reaches a disk.
        fd = os.memfd_create("mix-http-client-tls")
        try:
            os.write(fd, pem)
            # NOTE: without a password of ours OpenSSL would ask for one on the server's terminal.
            context.load_cert_chain(f"/proc/self/fd/{fd}", password=_no_password)
        finally:
            os.close(fd)
        return context

    try:
        return await asyncio.to_thread(load)
    except (ssl.SSLError, ValueError, OSError):
        raise FFIError("clientTLS: expected an unencrypted PEM key and its certificate") from None


def _no_password() -> NoReturn:
    raise ValueError("the key is encrypted")


async def _report_drop(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    # aiohttp sends idempotent requests again by itself when the server hangs up. Here one call is one request
    # unless the agent asks for more, so it must not see the exception that it would act on.
    try:
        return await handler(request)
    except aiohttp.ClientConnectorError:
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as exc:
        raise ConnectionDropped("the server closed the connection before it answered") from exc


def _open(
    settings: HttpSettings, private: bool, sockets: weakref.WeakSet[socket.socket]
) -> aiohttp.ClientSession:
    policy = settings.policy()
    # Behind a proxy the only connections are those to the proxy, an address of the operator's choice; the
    # target is checked by the client before each request.
    connect = EgressPolicy(schemes=("http", "https"), dangerous=True) if settings.proxy else policy

    def open_socket(info: tuple[Any, ...]) -> socket.socket:
        opened = checked_socket(connect, info)
        sockets.add(opened)
        return opened

    connector = _CleanConnector(
        resolver=CheckedResolver(connect),
        use_dns_cache=False,
        socket_factory=open_socket,
        ssl=_context(settings),
        force_close=private,
        limit=settings.connections,
        limit_per_host=settings.connections_per_host,
    )
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
        auto_decompress=False,
        skip_auto_headers=("Content-Type",),
        middlewares=(_report_drop,),
        proxy=settings.proxy or None,
        max_line_size=settings.max_header_bytes,
        max_field_size=settings.max_header_bytes,
        max_headers=MAX_HEADERS,
        timeout=aiohttp.ClientTimeout(total=None, connect=settings.connect_timeout),
    )


class _Pool:
    """A session, and what closes it when its event loop ends."""

    def __init__(self, loop: asyncio.AbstractEventLoop, settings: HttpSettings, private: bool) -> None:
        self.loop = loop
        self.most = settings.connections
        self.sockets: weakref.WeakSet[socket.socket] = weakref.WeakSet()
        self.session = _open(settings, private, self.sockets)
        self.keeper = self._keep()

    @property
    def full(self) -> bool:
        """As many connections are open, in use or kept, as the settings allow. aiohttp bounds only those in use."""
        return len(self.sockets) >= self.most and self.most <= sum(
            opened.fileno() >= 0 for opened in list(self.sockets)
        )

    async def _keep(self) -> AsyncGenerator[None, None]:
        # asyncio.run, and every runner like it, finishes the loop's asynchronous generators before it closes
        # the loop: the one moment at which connections can be closed properly, and nobody has to remember it.
        try:
            yield
        finally:
            await self.session.close()


_pools: dict[tuple[int, int, HttpSettings, bool], _Pool] = {}
_lock = threading.Lock()


async def session_for(settings: HttpSettings, *, private: bool = False) -> aiohttp.ClientSession:
    """The session of the running loop, this process and these settings; opened at the first request.

    A private one shares no connection: each is new, and closed after its request, whatever the server says.
    The process is part of the key because a child must neither use nor close the connections of its parent.
    """
    loop = asyncio.get_running_loop()
    key = (os.getpid(), id(loop), settings, private)
    pool = _pools.get(key)
    if pool is not None and pool.loop is loop and not pool.session.closed:
        if not private and pool.full:
            # An agent that visits many hosts must not leave a kept connection at each of them.
            return await session_for(settings, private=True)
        return pool.session
    with _lock:
        for other, known in list(_pools.items()):
            if other[0] == key[0] and known.loop.is_closed():
                del _pools[other]
    pool = _Pool(loop, settings, private)
    _pools[key] = pool
    await anext(pool.keeper)
    return pool.session
