"""`mixkit mcp`, and what is below it."""

from __future__ import annotations

from pathlib import Path

import click

from mix_mcp.options import constant_option, server_option
from mixkit.cli.group import Group
from mixkit.cli.session import Session, pass_session
from mixkit.cli.workspaces import ws_dir_option

__all__ = ["mcp"]


@click.group(cls=Group, invoke_without_command=True)
@click.option(
    "-w", "--ws", "--workspace", "workspace", metavar="WS", help="Whose agents are the tools. Must be given."
)
@constant_option
@server_option
@click.option(
    "--token",
    envvar="MIXKIT_SERVER_TOKEN",
    help="For the one at --server; better in MIXKIT_SERVER_TOKEN.",
)
@ws_dir_option
@click.pass_context
@pass_session
def mcp(
    session: Session,
    context: click.Context,
    /,
    workspace: str | None,
    constant: bool,
    url: str | None,
    token: str | None,
    ws_dir: Path | None,
) -> None:
    """Serve the agents of a workspace as tools to an MCP client, over standard input and output.

    The workspace is one of a directory, or with --server one of a server that runs elsewhere.

    It ends when its input does. What agents write goes to the client if it asks for it, and to standard error.
    """
    if context.invoked_subcommand is not None:
        return
    if workspace is None:
        raise click.UsageError("expected --ws WS, whose agents are to be the tools")
    from mix_mcp.output import take_output

    if url is not None:
        if ws_dir is not None:
            raise click.UsageError(
                "--ws-dir is a directory here, and --server is elsewhere; give one of them"
            )
        from mix_mcp.remote import serve_remote

        serve_remote(url, workspace, token, take_output(), constant=constant)
        return
    # Before anything of a plugin is imported, which may print.
    output = take_output()
    from mix_mcp.local import serve_workspace

    if ws_dir is not None:
        session.overrides = {**session.overrides, "settings.server.ws_dir": str(ws_dir)}
    with session.kernel() as kernel:
        serve_workspace(kernel, workspace, output, constant=constant)


mcp.lazy("install", "mix_mcp.installing:install", "Let Claude Desktop start it.")
mcp.lazy("uninstall", "mix_mcp.installing:uninstall", "Let Claude Desktop start it no more.")
