"""From a checked request to an open connection, and errors in our own words."""

from __future__ import annotations

import asyncio
import ssl

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import InvalidHandshake, InvalidStatus, InvalidURI, ProxyError

from mix_ws.connection import counting
from mix_ws.dialer import Dialer
from mix_ws.request import ConnectRequest
from mix_ws.settings import WsSettings
from mixkit.errors import FFIError, LimitExceeded
from mixkit.state import State
from mixkit.target import Target, parse_url

__all__ = ["opened"]


async def opened(state: State, request: ConnectRequest, settings: WsSettings) -> tuple[ClientConnection, str]:
    """The connection, and the URL that it leads to.

    Raises:
        FFIError: there is none, for a reason that the agent may know.
        LimitExceeded: the run's `outgoing_bytes` or `wall_time` are used up.
    """
    seconds = settings.connect_timeout
    if request.timeout is not None:
        if not request.timeout > 0:
            raise FFIError(f"timeout: expected seconds above 0, found {request.timeout}")
        seconds = min(seconds, request.timeout)
    policy = settings.policy().restricted("ws.hosts", state.grants.option("ws.hosts"), state.budget.look_up)
    target = parse_url(request.url)
    policy.check_target(target)
    fields = request.fields()
    state.budget.spend("outgoing_bytes", len(target.url) + sum(len(n) + len(v) + 4 for n, v in fields))
    exceeded: list[LimitExceeded] = []
    dialer = Dialer(
        target,
        policy,
        settings,
        fields,
        subprotocols=request.protocols() or None,
        compression="deflate" if request.compression else None,
        ping_interval=settings.ping_interval,
        # A peer whose answer waits behind messages that the agent has not read is not dead.
        ping_timeout=None,
        close_timeout=settings.close_timeout,
        max_size=settings.max_message_bytes,
        max_queue=settings.queue,
        create_connection=counting(state.budget, exceeded.append),
    )
    try:
        async with asyncio.timeout(min(seconds, state.budget.remaining())):
            return await dialer, dialer.target.url
    except TimeoutError:
        state.budget.check_time()
        raise FFIError(f"{dialer.target.netloc}: no connection within {seconds:g} s") from None
    except (OSError, EOFError, InvalidHandshake, InvalidURI, ValueError) as exc:
        if exceeded:
            raise exceeded[0] from None
        raise _failure(dialer.target, exc) from exc


def _failure(target: Target, exc: Exception) -> FFIError:
    """Messages of the libraries may hold addresses, or the password of the proxy."""
    host = target.netloc
    match exc:
        case InvalidStatus():
            return FFIError(f"{host}: expected status 101 of a WebSocket, found {exc.response.status_code}")
        case ProxyError():
            return FFIError(f"the proxy gave no connection to {host}")
        case ssl.SSLCertVerificationError():
            return FFIError(
                f"{host}: the TLS certificate is not valid: {exc.verify_message or 'it does not match'}"
            )
        case ssl.SSLError():
            return FFIError(f"{host}: the TLS handshake failed")
        case InvalidHandshake() | ValueError() | EOFError():
            return FFIError(f"{host}: the answer is not that of a WebSocket server")
        case _:
            return FFIError(f"{host}: cannot connect")
