"""Options of commands of the bridge: which tools a client is shown, and of which server."""

from __future__ import annotations

import click

__all__ = ["constant_option", "port_option"]

constant_option = click.option(
    "--constant", is_flag=True, help="List two tools, which find and call all others."
)
port_option = click.option(
    "--port",
    type=click.IntRange(1, 65535),
    help="Of the local server, each of which has its own; settings.mcp.port by default.",
)
