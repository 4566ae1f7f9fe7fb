"""`mixkit app`: the apps of workspaces, each with its agents, powers and database."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mixkit.cli.group import Group
from mixkit.cli.session import Session, json_option, pass_session
from mixkit.cli.workspaces import (
    agreed,
    find_workspace,
    open_store,
    split_app,
    store_command,
    ws_dir_option,
    yes_option,
)

if TYPE_CHECKING:
    from mixkit.cli.output import Output
    from mixkit.package import Workspace, WorkspaceStore

__all__ = ["COLUMNS", "app", "app_row"]

COLUMNS = ("app", "package", "version", "signer", "agents")


@click.group(cls=Group)
def app() -> None:
    """List, make, show and remove apps of workspaces."""


@app.command("list")
@click.argument("name", metavar="[WS]", required=False)
@store_command
def list_(name: str | None, store: WorkspaceStore, out: Output) -> None:
    """List the apps of workspace WS, or of all."""
    found = (
        [store.workspace(other) for other in store.list()] if name is None else [find_workspace(store, name)]
    )
    rows = [(ws.name, *app_row(ws, app, out)) for ws in found for app in ws.apps()]
    out.table(("workspace", *COLUMNS), rows)
    if not rows:
        out.note("no apps yet; `mixkit remix install PACKAGE --ws WS` installs some")


def app_row(workspace: Workspace, name: str, out: Output) -> tuple[Any, ...]:
    """An app under `COLUMNS`."""
    with closing(workspace.app(name)) as found:
        release, agents = found.release, list(found.agents)
    about = (release.package, release.version, release.signer) if release else (None, None, None)
    return (name, *about, agents if out.as_json else ", ".join(agents))


@app.command()
@click.argument("name", metavar="WS/APP")
@store_command
def make(name: str, store: WorkspaceStore, out: Output) -> None:
    """Make an app without code, which has a database."""
    ws, app = split_app(name)
    made = find_workspace(store, ws).create_app(app)
    out.record({"app": name, "database": str(made.place.home)})


@app.command()
@click.argument("name", metavar="WS/APP")
@ws_dir_option
@json_option
@pass_session
def show(session: Session, name: str, ws_dir: Path | None) -> None:
    """Show what is installed as an app, its agents, and what it may do."""
    from mixkit.cli.installed import find_installed
    from mixkit.cli.output import Output
    from mixkit.cli.runnable import described

    out = Output(session.as_json)
    ws, app = split_app(name)
    with session.kernel() as kernel:
        with closing(find_workspace(open_store(kernel, ws_dir), ws).app(app)) as found:
            release = found.release
        agents = [described(kernel, item) for item in find_installed(kernel, ws_dir, ws, app).values()]
    about = {
        "app": name,
        "package": release.package if release else None,
        "version": release.version if release else None,
        "signer": release.signer if release else None,
        "database": str(found.place.home),
    }
    # A call must be allowed by all of them.
    powers = [{"ffis": patterns, "options": options} for patterns, options in found.grants.layers()]
    rows = [
        (item.name.rpartition("/")[2], str(item.params), str(item.result), item.description)
        for item in agents
    ]
    columns = ("agent", "params", "result", "description")
    if out.as_json:
        shown = [dict(zip(columns, row, strict=True)) for row in rows]
        out.document({**about, "limits": found.limits, "granted": powers, "agents": shown})
        return
    out.record(about)
    for title, heads, lines in (
        ("Limits", ("limit", "value"), list(found.limits.items())),
        ("Powers, of which a call needs each line", ("ffis", "options"), [_power(layer) for layer in powers]),
        ("Agents", columns, rows),
    ):
        if lines:
            out.line()
            out.line(title, "title")
            out.table(heads, lines)


def _power(layer: dict[str, Any]) -> tuple[str, str]:
    options = "; ".join(f"{name} {value}" for name, value in layer["options"].items())
    return ", ".join(layer["ffis"]) or "none", options


@app.command()
@click.argument("name", metavar="WS/APP")
@yes_option
@store_command
def remove(name: str, yes: bool, store: WorkspaceStore, out: Output) -> None:
    """Remove an app and its data, which is gone for good."""
    ws, app = split_app(name)
    workspace = find_workspace(store, ws)
    workspace.generation(app)
    agreed(f"Remove app {name} with all its data?", yes, out)
    workspace.delete_app(app)
    out.record({"removed": name})
