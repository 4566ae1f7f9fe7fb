"""`mixkit mcp`, and what is below it."""

from __future__ import annotations

from pathlib import Path

import click
from click.core import ParameterSource

from mix_mcp.options import constant_option, port_option
from mixkit.cli.choices import server_option, server_to_ask, token_option, ws_dir_option, ws_option
from mixkit.cli.group import Group
from mixkit.cli.session import Session, pass_session
from mixkit.cli.workspaces import find_workspace, open_store, served_dir

__all__ = ["mcp"]


@click.group(cls=Group, invoke_without_command=True)
@ws_option("-w", "--workspace", "workspace", help="Whose agents are the tools. Must be given.")
@constant_option
@click.option(
    "--local", is_flag=True, help="The workspace of this user's local server, which is started if none runs."
)
@port_option
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
    local: bool,
    port: int | None,
    server: str | None,
    token: str | None,
    ws_dir: Path | None,
) -> None:
    """Serve the agents of a workspace as tools to an MCP client, over standard input and output.

    The workspace is one of a directory, with --local one of the server that all clients of this user share, or with
    --server one of a server that runs elsewhere.

    It ends when its input does. What agents write goes to the client if it asks for it, and to standard error.
    """
    if context.invoked_subcommand is not None:
        _refuse_options(context)
        return
    if workspace is None:
        raise click.UsageError("expected --ws WS, whose agents are to be the tools")
    if local and server is not None:
        raise click.UsageError("--local is of this machine, and --server is elsewhere; give one of them")
    if port is not None and not local:
        raise click.UsageError("--port is that of the local server: give --local with it")
    url = None if local else server_to_ask(session, server, ws_dir, token)
    from mix_mcp.output import take_output

    # Before anything of a plugin is imported, which may print.
    output = take_output()
    if url is not None or local:
        from mix_mcp.remote import serve_remote

        if url is not None:
            from mix_mcp.peer import Address

            serve_remote(Address(url, token), workspace, output, constant=constant)
            return
        from mix_mcp.found import local_server

        shared = local_server(session, port, ws_dir)
        shared.ensure()
        serve_remote(shared, workspace, output, constant=constant)
        return
    from mix_mcp.local import serve_workspace

    if ws_dir is not None:
        session.overrides = {**session.overrides, "settings.server.ws_dir": str(ws_dir)}
    with session.kernel() as kernel:
        served = served_dir(kernel)
        if not (served / workspace).is_dir():
            find_workspace(open_store(kernel, served), workspace)
        serve_workspace(kernel, workspace, output, constant=constant)


def _refuse_options(context: click.Context) -> None:
    """What is given before a command that does not take it would be lost."""
    for parameter in context.command.params:
        name = parameter.name or ""
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            raise click.UsageError(
                f"expected {parameter.opts[-1]} behind {context.invoked_subcommand}, if it takes that; found it before"
            )


mcp.lazy("install", "mix_mcp.installing:install", "Let Claude Desktop start it.")
mcp.lazy("uninstall", "mix_mcp.installing:uninstall", "Let Claude Desktop start it no more.")
mcp.lazy("start", "mix_mcp.serving:start", "Start the local server, if it does not run.")
mcp.lazy("status", "mix_mcp.serving:status", "Say whether the local server runs, and what it serves.")
mcp.lazy("stop", "mix_mcp.serving:stop", "End the local server.")
