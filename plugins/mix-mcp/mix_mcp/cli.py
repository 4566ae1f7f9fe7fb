"""`mixkit mcp`."""

from __future__ import annotations

from pathlib import Path

import click

from mixkit.cli.session import Session, pass_session
from mixkit.cli.workspaces import ws_dir_option

__all__ = ["mcp"]


@click.command()
@click.option(
    "-w", "--ws", "--workspace", "workspace", metavar="WS", required=True, help="Whose agents are the tools."
)
@click.option("--constant", is_flag=True, help="List two tools, which find and call all others.")
@ws_dir_option
@pass_session
def mcp(session: Session, /, workspace: str, constant: bool, ws_dir: Path | None) -> None:
    """Serve the agents of a workspace as tools to an MCP client, over standard input and output.

    It ends when its input does. What agents write goes to the client if it asks for it, and to standard error.
    """
    from mix_mcp.stdio import take_output

    # Before anything of a plugin is imported, which may print.
    output = take_output()
    from mix_mcp.local import serve_workspace

    if ws_dir is not None:
        session.overrides = {**session.overrides, "settings.server.ws_dir": str(ws_dir)}
    with session.kernel() as kernel:
        serve_workspace(kernel, workspace, output, constant=constant)
