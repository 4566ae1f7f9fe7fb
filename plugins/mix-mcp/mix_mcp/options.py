"""Options of commands of the bridge: which tools a client is shown."""

from __future__ import annotations

import click

__all__ = ["constant_option", "server_option"]

constant_option = click.option(
    "--constant", is_flag=True, help="List two tools, which find and call all others."
)
server_option = click.option(
    "--server", "url", metavar="URL", help="The workspace of the server at this URL, and of no directory."
)
