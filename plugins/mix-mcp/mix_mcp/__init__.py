"""Agents of mixkit as tools of MCP clients, over stdio (`mixkit mcp`) and over HTTP (`/mcp/{ws}`). See docs/mcp.md."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from mixkit.hookspecs import hookimpl

if TYPE_CHECKING:
    from mixkit.cli.group import Group
    from mixkit.ffi import Registry

__version__ = "0.1.0"

RELEASE_INFO: Final = "/v1/ext/remix-app/release-info"
"""Where a server says of which release it is."""


@hookimpl
def mix_settings() -> str:
    return "mix_mcp.settings:McpSettings"


@hookimpl
def mix_ffis(registry: Registry) -> None:
    from mix_mcp.ffis import ffis

    registry.add(ffis)


@hookimpl
def mix_commands(group: Group) -> None:
    group.lazy("mcp", "mix_mcp.cli:mcp", "Agents as tools of an MCP client, over stdio.")


@hookimpl
def mix_routes(app: Any, server: Any) -> None:
    from mix_mcp.http import Endpoint
    from mix_mcp.release_info import ReleaseInfo

    app.add_route("/mcp/{ws}", Endpoint(server))
    app.add_route(RELEASE_INFO, ReleaseInfo())
