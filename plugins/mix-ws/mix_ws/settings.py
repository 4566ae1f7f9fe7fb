"""Settings of the plugin, `[settings.ws]` in a profile."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Annotated, ClassVar

import msgspec
from msgspec import Meta

from mixkit import outgoing
from mixkit.egress import EgressPolicy
from mixkit.errors import ProfileError

if TYPE_CHECKING:
    import ssl

__all__ = ["WsSettings"]

MIB = 1024 * 1024


class WsSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How agents open WebSockets. Hashable: equal settings share what is made of them."""

    of_project: ClassVar = (
        "connect_timeout", "close_timeout", "ping_interval", "max_redirects", "max_message_bytes",
        "queue", "connections", "user_agent",
    )  # fmt: skip

    dangerous_ws_mode: Annotated[
        bool, Meta(description="Allow plain ws, and every address: loopback, private, cloud metadata.")
    ] = False
    allow_private: Annotated[
        tuple[str, ...],
        Meta(
            description="Addresses that agents may reach although they are not public, as 10.1.2.3:8443, "
            "10.1.0.0/16 or [fd00::1]:443; only wss is spoken. A metadata address opens only when named exactly."
        ),
    ] = ()
    connect_timeout: Annotated[
        float,
        Meta(gt=0, description="Seconds to resolve, connect and shake hands, over all redirects; a cap."),
    ] = 10.0
    close_timeout: Annotated[
        float, Meta(gt=0, description="Seconds that a peer has to answer the end of a connection.")
    ] = 2.0
    ping_interval: Annotated[
        float, Meta(gt=0, description="Seconds between pings, which keep what stands between from closing.")
    ] = 20.0
    max_redirects: Annotated[int, Meta(ge=0, le=10, description="Redirects that a handshake follows.")] = 5
    max_message_bytes: Annotated[
        int, Meta(ge=1, description="Bytes of one message, sent or received, when it is not compressed.")
    ] = MIB
    queue: Annotated[
        int,
        Meta(ge=1, le=1024, description="Frames that wait for an agent, before its peer is made to wait."),
    ] = 8
    connections: Annotated[int, Meta(ge=1, description="Connections that one run has open at once.")] = 8
    proxy: Annotated[
        str, Meta(description="Proxy for all connections, http://[user:password@]host:port; none if empty.")
    ] = ""
    user_agent: Annotated[str, Meta(description="User-Agent unless the agent sets one.")] = "mixkit"
    ca_file: Annotated[
        str,
        Meta(
            extra={"names": "authorities"},
            description="PEM file of certificate authorities to trust besides the system's.",
        ),
    ] = ""

    def __post_init__(self) -> None:
        try:
            self.policy()
        except ValueError as exc:
            raise ProfileError(str(exc), "settings.ws.allow_private") from None
        outgoing.check_proxy("ws", self.proxy)

    def policy(self) -> EgressPolicy:
        """What may be connected to, before the grants of a run narrow it."""
        return outgoing.policy("ws", self.dangerous_ws_mode, self.allow_private)

    def context(self) -> ssl.SSLContext:
        """What verifies the peers' certificates.

        Raises:
            ProfileError: `ca_file` cannot be read.
        """
        return _context(self.ca_file)


# PERF: reading the system's authorities takes 20 ms.
@functools.lru_cache(maxsize=4)
def _context(ca_file: str) -> ssl.SSLContext:
    return outgoing.trusting("ws", ca_file)
