"""`mixkit app`: the apps of workspaces, each with its agents, powers and database."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from mixkit.cli.completing import complete_where, complete_workspace
from mixkit.cli.desk_command import desk_command
from mixkit.cli.group import Group
from mixkit.cli.workspaces import (
    agreed,
    split_app,
    yes_option,
)

if TYPE_CHECKING:
    from mixkit.cli.desk import Desk
    from mixkit.cli.output import Output

__all__ = ["COLUMNS", "app", "app_rows"]

COLUMNS = ("app", "package", "version", "signer", "agents")


@click.group(cls=Group)
def app() -> None:
    """List, make, show, move and remove apps of workspaces, and say what they may do."""


app.lazy("export", "mixkit.cli.moving:export_app", "Write an app to a file.")
app.lazy(
    "import", "mixkit.cli.moving:import_app", "Bring an app of an export into a workspace, all or nothing."
)


@app.command("list")
@click.argument("name", metavar="[WS]", required=False, shell_complete=complete_workspace)
@desk_command()
def list_(name: str | None, desk: Desk, out: Output) -> None:
    """List the apps of workspace WS, or of all."""
    found = [other for other, _ in desk.workspaces()] if name is None else [name]
    rows = [(ws, *row) for ws in found for row in app_rows(desk, ws, out)]
    out.table(("workspace", *COLUMNS), rows)
    if not rows:
        out.note("no apps yet; `mixkit remix install PACKAGE --ws WS` installs some")


def app_rows(desk: Desk, ws: str, out: Output) -> list[tuple[Any, ...]]:
    """The apps of a workspace under `COLUMNS`."""
    return [
        tuple(
            found[column] if column != "agents" or out.as_json else ", ".join(found[column])
            for column in COLUMNS
        )
        for found in desk.installed(ws)
    ]


@app.command()
@click.argument("name", metavar="WS/APP", shell_complete=complete_where)
@desk_command()
def create(name: str, desk: Desk, out: Output) -> None:
    """Make an app without code, which has a database."""
    out.record(desk.create_app(*split_app(name)))


@app.command()
@click.argument("name", metavar="WS/APP", shell_complete=complete_where)
@desk_command()
def show(name: str, desk: Desk, out: Output) -> None:
    """Show what is installed as an app, its agents, and what it may do."""
    found = desk.shown(*split_app(name))
    if out.as_json:
        out.document(found)
        return
    columns = ("agent", "params", "result", "description")
    out.record({key: found[key] for key in ("app", "package", "version", "signer", "database")})
    for title, heads, lines in (
        ("Limits", ("limit", "value"), [*(found["limits"] or {}).items()]),
        # A call must be allowed by all of them.
        (
            "Powers, of which a call needs each line",
            ("ffis", "options"),
            [_power(layer) for layer in found["granted"] or ()],
        ),
        ("Agents", columns, [tuple(_text(agent[key]) for key in columns) for agent in found["agents"]]),
    ):
        if lines:
            out.line()
            out.line(title, "title")
            out.table(heads, lines)


def _text(value: Any) -> str:
    """A type or a schema in a table."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _power(layer: dict[str, Any]) -> tuple[str, str]:
    options = "; ".join(f"{name} {value}" for name, value in layer["options"].items())
    return ", ".join(layer["ffis"]) or "none", options


@app.command()
@click.argument("name", metavar="WS/APP", shell_complete=complete_where)
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
@click.argument("name", metavar="WS/APP", shell_complete=complete_where)
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
