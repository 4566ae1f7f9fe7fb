"""Opens one WebSocket: every hop's name is resolved, checked and pinned by the one egress check."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus

from mix_ws.settings import WsSettings
from mixkit import egress
from mixkit.egress import EgressPolicy
from mixkit.errors import FFIError
from mixkit.header_fields import Fields, has
from mixkit.target import Target

__all__ = ["Dialer"]

_REDIRECTS: Final = frozenset((301, 302, 303, 307, 308))
_WEBSOCKET: Final = {"http": "ws", "https": "wss"}


class Dialer(connect):
    """`websockets.connect`, which would resolve names for itself, read proxies from the environment, and follow
    redirects to other hosts with the agent's headers.

    Args:
        target: where to.
        policy: what the run may connect to.
        fields: the agent's headers; they stay with the target's origin.
        options: of `websockets.connect`.
    """

    def __init__(
        self, target: Target, policy: EgressPolicy, settings: WsSettings, fields: Fields, **options: Any
    ) -> None:
        own_agent = has(fields, "user-agent")
        super().__init__(
            target.url,
            additional_headers=fields,
            user_agent_header=None if own_agent else settings.user_agent,
            proxy=settings.proxy or None,
            open_timeout=None,
            **options,
        )
        self.target = target
        self._policy = policy
        self._settings = settings
        self._hops = 0

    async def open_tcp_connection(self) -> ClientConnection:
        """A connection to an address that was checked, and the only resolution of its name."""
        pinned = await egress.check(self.target, self._policy)
        secure = self.target.scheme == "wss"
        context = self._settings.context() if secure else None
        if self.proxy is not None:
            # The proxy is the operator's choice, and resolves the name for itself.
            if secure:
                self.create_connection_kwargs["ssl"] = context
            return await super().open_tcp_connection()
        failure: OSError | None = None
        for address in pinned:
            try:
                _, connection = await asyncio.get_running_loop().create_connection(
                    lambda: self.factory(self.ws_uri),
                    address.address,
                    address.port,
                    ssl=context,
                    server_hostname=self.target.host if secure else None,
                )
            except OSError as exc:
                failure = exc
            else:
                return connection
        assert failure is not None
        raise failure

    def process_redirect(self, exc: Exception) -> Exception | str:
        """Where a redirect leads, whose URL is parsed as every other; or what ends the attempt."""
        if not isinstance(exc, InvalidStatus) or exc.response.status_code not in _REDIRECTS:
            return exc
        location = exc.response.headers.get("Location", "")
        if not location:
            return exc
        self._hops += 1
        if self._hops > self._settings.max_redirects:
            return FFIError(
                f"more than {self._settings.max_redirects} redirects; the setting ws.max_redirects raises it"
            )
        try:
            scheme, separator, rest = location.partition(":")
            target = self.target.referred(_WEBSOCKET.get(scheme.lower(), scheme) + separator + rest)
        except FFIError as refused:
            return refused
        if self.target.scheme == "wss" and target.scheme != "wss":
            return FFIError(f"refused a redirect from wss to {target.scheme}, at {self.target.host}")
        if target.origin != self.target.origin:
            self.additional_headers = None
            self.user_agent_header = self._settings.user_agent
        self.target = target
        return target.url
