"""`mixkit mcp start`, `mixkit mcp status` and `mixkit mcp stop`: the local server, for people."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from mix_mcp.found import local_server, place_of, served_here
from mix_mcp.options import port_option
from mix_mcp.settings import McpSettings
from mixkit.cli.choices import ws_dir_option
from mixkit.cli.output import Output
from mixkit.cli.session import Session, json_option, pass_session

if TYPE_CHECKING:
    from mix_mcp.state_dir import StateDir

__all__ = ["start", "status", "stop"]

_NOT_RUNNING: Final = 3
"""Exit status of `status`, as that of service managers."""

_token_option = click.option(
    "--show-token", is_flag=True, help="Also its token, by which you sign in on its page."
)


@click.command()
@click.option("--foreground", is_flag=True, help="Be the server, and end with this terminal.")
@port_option
@ws_dir_option
@_token_option
@json_option
@pass_session
def start(
    session: Session, /, foreground: bool, port: int | None, ws_dir: Path | None, show_token: bool
) -> int | None:
    """Start the local server, if it does not run.

    It goes on when this command has ended, until `mixkit mcp stop`, or until nobody has used it for
    settings.mcp.idle_timeout.
    """
    if not foreground:
        server = local_server(session, port, ws_dir)
        server.ensure()
        return _show(session, place_of(session, port)[0], show_token)
    if show_token or session.as_json:
        raise click.UsageError("--foreground says nothing until it ends: ask `mixkit mcp status`")
    from mix_mcp.foreground import serve_here

    folder, port = place_of(session, port)
    wanted = served_here(session, ws_dir)
    serve_here(session, folder, wanted, port, session.settings("mcp", McpSettings).idle_timeout)
    return None


@click.command()
@port_option
@_token_option
@json_option
@pass_session
def status(session: Session, /, port: int | None, show_token: bool) -> int | None:
    """Say whether the local server runs, and what it serves.

    Exits with 0 if it runs, and with 3 if not.
    """
    return _show(session, place_of(session, port)[0], show_token)


@click.command()
@port_option
@click.option(
    "--timeout",
    type=click.FloatRange(min=0),
    default=60.0,
    show_default=True,
    metavar="SECONDS",
    help="Wait so long.",
)
@json_option
@pass_session
def stop(session: Session, /, port: int | None, timeout: float) -> None:
    """End the local server.

    What runs may finish, for settings.server.grace_period. One that does not run is no error.
    """
    from mix_mcp.local_server import end

    out = Output(session.as_json)
    folder, _ = place_of(session, port)
    with folder.starting():
        there, found = folder.look()
        if there:
            end(folder, found, timeout)
    if session.as_json:
        out.document({"stopped": there})
    else:
        out.note("the local server has ended" if there else "no local server runs")


def _show(session: Session, folder: StateDir, show_token: bool) -> int | None:
    out = Output(session.as_json)
    there, found = folder.look()
    about: dict[str, Any] = {"running": there}
    if found is not None:
        about |= {"pid": found.pid, "version": found.version, "url": found.url, "pages": found.pages}
        about |= {"ws_dir": found.wanted.ws_dir, "profile": found.wanted.profile, "log": str(folder.log)}
        if show_token:
            about["token"] = found.token
    out.record(about)
    return None if there else _NOT_RUNNING
