"""`mixkit mcp`, and what is below it."""

from __future__ import annotations

from pathlib import Path

import click

from mix_mcp.options import constant_option
from mixkit.cli.choices import server_option, server_to_ask, token_option, ws_dir_option, ws_option
from mixkit.cli.group import Group
from mixkit.cli.session import Session, pass_session
from mixkit.cli.workspaces import find_workspace, open_store, served_dir

__all__ = ["mcp"]


@click.group(cls=Group, invoke_without_command=True)
@ws_option("-w", "--workspace", "workspace", help="Whose agents are the tools. Must be given.")
@constant_option
@server_option
@token_option
@ws_dir_option
@click.pass_context
@pass_session
def mcp(
    session: Session,
    context: click.Context,
    /,
    workspace: str | None,
    constant: bool,
    server: str | None,
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

    url = server_to_ask(session, server, ws_dir, token)
    if url is not None:
        from mix_mcp.remote import serve_remote

        serve_remote(url, workspace, token, take_output(), constant=constant)
        return
    # Before anything of a plugin is imported, which may print.
    output = take_output()
    from mix_mcp.local import serve_workspace

    if ws_dir is not None:
        session.overrides = {**session.overrides, "settings.server.ws_dir": str(ws_dir)}
    with session.kernel() as kernel:
        served = served_dir(kernel)
        if not (served / workspace).is_dir():
            find_workspace(open_store(kernel, served), workspace)
        serve_workspace(kernel, workspace, output, constant=constant)


mcp.lazy("install", "mix_mcp.installing:install", "Let Claude Desktop start it.")
mcp.lazy("uninstall", "mix_mcp.installing:uninstall", "Let Claude Desktop start it no more.")
