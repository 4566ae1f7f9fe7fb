"""`mixkit app`: the apps of workspaces, each with its agents, powers and database."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mixkit.cli.desk import desk_command
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
    from mixkit.cli.desk import Desk
    from mixkit.cli.output import Output
    from mixkit.package import Workspace, WorkspaceStore

__all__ = ["COLUMNS", "app", "app_row"]

COLUMNS = ("app", "package", "version", "signer", "agents")


@click.group(cls=Group)
def app() -> None:
    """List, make, show, move and remove apps of workspaces, and say what they may do."""


app.lazy("export", "mixkit.cli.moving:export_app", "Write an app to a file.")
app.lazy(
    "import", "mixkit.cli.moving:import_app", "Bring an app of an export into a workspace, all or nothing."
)


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
@desk_command()
def create(name: str, desk: Desk, out: Output) -> None:
    """Make an app without code, which has a database."""
    out.record(desk.create_app(*split_app(name)))


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
@desk_command()
def rm(name: str, yes: bool, desk: Desk, out: Output) -> None:
    """Remove an app and its data, which is gone for good."""
    from mixkit.errors import NotFound
    from mixkit.near import meant

    ws, app = split_app(name)
    apps = desk.apps(ws)
    if app not in apps:
        there = f"there are: {', '.join(apps) or 'none'}"
        raise NotFound(f"no app {app!r} in workspace {ws!r}; {there}{meant(app, apps)}")
    agreed(f"Remove app {name} with all its data?", yes, out)
    desk.remove_app(ws, app)
    out.record({"removed": name})


@app.command()
@click.argument("name", metavar="WS/APP")
@click.option(
    "--agree",
    "wanted",
    multiple=True,
    metavar="POWER",
    help="Let it have this power, as it is listed. Repeatable.",
)
@click.option("--agree-all", is_flag=True, help="Let it have all that was withheld.")
@desk_command()
def powers(name: str, wanted: tuple[str, ...], agree_all: bool, desk: Desk, out: Output) -> None:
    """Show what an app may do, and what its package asks for and nobody has agreed to; or agree to it."""
    if wanted and agree_all:
        raise click.UsageError("--agree and --agree-all exclude each other")
    ws, app = split_app(name)
    found = (
        desk.agree(ws, app, None if agree_all else [*wanted]) if wanted or agree_all else desk.powers(ws, app)
    )
    if out.as_json:
        out.document(found)
        return
    rows = [(state, power) for state in ("allowed", "withheld") for power in found[state]]
    out.table(("state", "power"), rows, styles={"allowed": "ok", "withheld": "warning"})
    if not rows:
        out.note("it asks for none")
