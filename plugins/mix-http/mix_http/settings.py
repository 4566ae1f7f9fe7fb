"""Settings of the plugin, `[settings.http]` in a profile."""

from __future__ import annotations

from typing import Annotated, ClassVar

import msgspec
from msgspec import Meta

from mixkit import outgoing
from mixkit.egress import EgressPolicy
from mixkit.errors import ProfileError

__all__ = ["HttpSettings"]

MIB = 1024 * 1024
Count = Annotated[int, Meta(ge=0)]


class HttpSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How agents reach the network by HTTP. Hashable: equal settings share one pool of connections."""

    of_project: ClassVar = (
        "timeout", "connect_timeout", "max_redirects", "max_retries", "max_response_bytes",
        "max_request_bytes", "max_header_bytes", "connections", "connections_per_host", "user_agent",
    )  # fmt: skip

    dangerous_http_mode: Annotated[
        bool, Meta(description="Allow plain http, and every address: loopback, private, cloud metadata.")
    ] = False
    allow_private: Annotated[
        tuple[str, ...],
        Meta(
            description="Addresses that agents may reach although they are not public, as 10.1.2.3:8443, "
            "10.1.0.0/16 or [fd00::1]:443. Whatever listens there is open to every agent with $http_do; "
            "only https is spoken. A metadata address opens only when named exactly."
        ),
    ] = ()
    timeout: Annotated[
        float, Meta(gt=0, description="Seconds for one call with all its redirects and retries; a cap.")
    ] = 30.0
    connect_timeout: Annotated[
        float, Meta(gt=0, description="Seconds to resolve, connect and shake hands.")
    ] = 10.0
    max_redirects: Annotated[Count, Meta(description="Redirects that one call follows.")] = 10
    max_retries: Annotated[Count, Meta(description="Most retries that a call may ask for.")] = 3
    max_response_bytes: Annotated[
        Count, Meta(description="Bytes of a response body after decompression.")
    ] = 16 * MIB
    max_request_bytes: Annotated[Count, Meta(description="Bytes of a request body.")] = 16 * MIB
    max_header_bytes: Annotated[
        int,
        Meta(ge=8192, le=MIB, description="Bytes of one header of a response."),
    ] = 256 * 1024
    connections: Annotated[
        int, Meta(ge=1, description="Open connections of one process, in use or kept.")
    ] = 100
    connections_per_host: Annotated[int, Meta(ge=1, description="Open connections to one host and port.")] = (
        20
    )
    proxy: Annotated[
        str, Meta(description="Proxy for all requests, http://[user:password@]host:port; none if empty.")
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
            raise ProfileError(str(exc), "settings.http.allow_private") from None
        outgoing.check_proxy("http", self.proxy)

    def policy(self) -> EgressPolicy:
        """What may be connected to, before the grants of a run narrow it."""
        return outgoing.policy("http", self.dangerous_http_mode, self.allow_private)
