"""`mixkit mcp install` and `mixkit mcp uninstall`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any, Final

import click

from mix_mcp import config
from mix_mcp.options import constant_option, port_option
from mixkit.cli.choices import server_option, server_to_ask, ws_dir_option, ws_option
from mixkit.cli.output import Output
from mixkit.cli.session import Session, json_option, pass_session
from mixkit.cli.workspaces import find_workspace, open_store
from mixkit.errors import MixError
from mixkit.package.names import check_name

__all__ = ["install", "uninstall"]

_NAME: Final = "remix-app"

_name_option = click.option(
    "--name", metavar="NAME", default=_NAME, show_default=True, help="What the client calls it."
)
_config_option = click.option(
    "--config",
    "path",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The client's configuration; that of Claude Desktop of this user by default.",
)
_dry_run_option = click.option(
    "--dry-run", is_flag=True, help="Print what would be written, and write nothing."
)


@click.command()
@ws_option("-w", "--workspace", "workspace", required=True, help="Whose agents are the tools.")
@constant_option
@click.option(
    "--in-process",
    is_flag=True,
    help="Each client has the agents run in a process of its own, which ends with it, and no server.",
)
@port_option
@server_option
@click.option(
    "--token",
    envvar="MIXKIT_SERVER_TOKEN",
    help="For the one at --server; it is written into the configuration, which only this user may read then.",
)
@_name_option
@_config_option
@_dry_run_option
@ws_dir_option
@json_option
@pass_session
def install(
    session: Session,
    /,
    workspace: str,
    constant: bool,
    in_process: bool,
    port: int | None,
    server: str | None,
    token: str | None,
    name: str,
    path: Path | None,
    dry_run: bool,
    ws_dir: Path | None,
) -> None:
    """Let Claude Desktop start `mixkit mcp` for a workspace.

    It is the one of this user's local server, which all clients share and the first of them starts.

    What else is in its configuration stays. A file that is no JSON is not touched. The client reads it when it starts.
    """
    url = None if in_process or port is not None else server_to_ask(session, server, ws_dir, token)
    if server is not None and (in_process or port is not None):
        raise click.UsageError(
            "--port and --in-process are of this machine, and --server is elsewhere; give one of them"
        )
    if in_process and port is not None:
        raise click.UsageError(
            "--port is that of the local server, and --in-process is without; give one of them"
        )
    if session.has_found_profile:
        raise click.UsageError(
            f"the client would go by whatever stands in {session.profile} by then, which only {session.project.path} "
            f"names: whoever writes it would have what you have. If you trust it, give mixkit -p {session.profile}"
        )
    check_name("workspace", workspace)
    # The client starts it in a folder of its own choice: what counts here is said.
    words, _ = session.again()
    command, *arguments = [*words, "mcp", "--ws", workspace]
    entry: dict[str, Any] = {"command": command, "args": arguments}
    if url is not None:
        arguments += ["--server", url]
        if token:
            entry["env"] = {"MIXKIT_SERVER_TOKEN": token}
    else:
        if not in_process:
            arguments += ["--local"] if port is None else ["--local", "--port", str(port)]
        served = _ws_dir(session, ws_dir).absolute()
        _check_workspace(session, served, workspace)
        arguments += ["--ws-dir", str(served)]
    if constant:
        arguments.append("--constant")
    _change(
        session, name, path, dry_run, lambda found: config.with_server(found, name, entry), "installed as"
    )


@click.command()
@_name_option
@_config_option
@_dry_run_option
@json_option
@pass_session
def uninstall(session: Session, /, name: str, path: Path | None, dry_run: bool) -> None:
    """Take out of the configuration of Claude Desktop what `mixkit mcp install` has put there."""
    _change(session, name, path, dry_run, lambda found: config.without_server(found, name), "uninstalled")


def _ws_dir(session: Session, ws_dir: Path | None) -> Path:
    if ws_dir is not None:
        return ws_dir
    from mix_server.settings import ServerSettings

    return Path(session.settings("server", ServerSettings).ws_dir)


def _check_workspace(session: Session, ws_dir: Path, workspace: str) -> None:
    """`NotFound`, with what there is, if there is no such workspace."""
    if not (ws_dir / workspace).is_dir():
        with session.kernel() as kernel:
            find_workspace(open_store(kernel, ws_dir), workspace)


def _change(session: Session, name: str, path: Path | None, dry_run: bool, how: Any, done: str) -> None:
    out, path = Output(session.as_json), path or config.default_path()
    before = config.read(path)
    try:
        changed = how(before)
    except MixError as exc:
        raise MixError(f"{path}: {exc}") from None
    if dry_run:
        out.document(changed)
        return
    config.write(path, changed)
    if session.as_json:
        out.document({"config": str(path)})
        return
    out.note(f"{done} {name} in {path}; start the client anew")
    old, new = config.server_of(before, name), config.server_of(changed, name)
    if old is not None and new is not None and old["args"] != new["args"]:
        words = shlex.join(map(str, old["args"][old["args"].index("mcp") :]))
        out.note(f"it was `mixkit {words}`; a --name has both, and a --port of its own another directory")
