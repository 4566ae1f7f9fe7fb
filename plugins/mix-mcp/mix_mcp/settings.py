"""Settings of the local server."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

__all__ = ["McpSettings"]


class McpSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The server that the clients of a user share; see `mixkit mcp --local`."""

    port: Annotated[int, Meta(ge=1, le=65535, description="Port of 127.0.0.1 on which it listens.")] = 2025
    idle_timeout: Annotated[
        float,
        Meta(ge=0, description="Seconds without a request or a run after which it ends; 0: it does not."),
    ] = 3 * 3600.0
