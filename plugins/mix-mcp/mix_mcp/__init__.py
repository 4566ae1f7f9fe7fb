"""Agents of mixkit as tools of MCP clients, over stdio (`mixkit mcp`) and over HTTP (`/mcp/{ws}`). See docs/mcp.md."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mixkit.hookspecs import hookimpl

if TYPE_CHECKING:
    from mixkit.cli.group import Group
    from mixkit.ffi import Registry

__version__ = "0.1.0"


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

    app.add_route("/mcp/{ws}", Endpoint(server))
