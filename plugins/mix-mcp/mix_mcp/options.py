"""Options of commands of the bridge: which tools a client is shown, and of which server."""

from __future__ import annotations

import click

__all__ = ["constant_option", "port_option", "server_option", "token_option"]

constant_option = click.option(
    "--constant", is_flag=True, help="List two tools, which find and call all others."
)
server_option = click.option(
    "--server", "url", metavar="URL", help="The workspace of the server at this URL, and of no directory."
)
token_option = click.option(
    "--token",
    envvar="MIXKIT_SERVER_TOKEN",
    help="For the one at --server; better in MIXKIT_SERVER_TOKEN.",
)
port_option = click.option(
    "--port",
    type=click.IntRange(1, 65535),
    help="Of the local server, each of which has its own; settings.mcp.port by default.",
)
