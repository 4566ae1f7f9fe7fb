"""`mixkit ws`: workspaces, each of which holds apps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from mixkit.cli.completing import complete_workspace
from mixkit.cli.desk_command import desk_command
from mixkit.cli.group import Group
from mixkit.cli.workspaces import agreed, yes_option

if TYPE_CHECKING:
    from mixkit.cli.desk import Desk
    from mixkit.cli.output import Output

__all__ = ["ws"]


@click.group(cls=Group)
def ws() -> None:
    """List, make, show, move and remove workspaces, beside a server that runs too, or through one."""


ws.lazy("export", "mixkit.cli.moving:export_ws", "Write a workspace to a file.")
ws.lazy("import", "mixkit.cli.moving:import_ws", "Make a workspace of an export, all or nothing.")
ws.lazy("clone", "mixkit.cli.moving:clone", "Make a workspace of one that another server has.")


@ws.command("list")
@desk_command()
def list_(desk: Desk, out: Output) -> None:
    """List the workspaces and their apps."""
    rows = desk.workspaces()
    out.table(
        ("workspace", "apps"), [(name, apps if out.as_json else ", ".join(apps)) for name, apps in rows]
    )
    if not rows:
        out.note("none yet; `mixkit ws create NAME` makes one")


@ws.command()
@click.argument("name", metavar="WS")
@desk_command(make=True)
def create(name: str, desk: Desk, out: Output) -> None:
    """Make the empty workspace WS."""
    out.record(desk.create(name))


@ws.command()
@click.argument("name", metavar="WS", shell_complete=complete_workspace)
@desk_command()
def show(name: str, desk: Desk, out: Output) -> None:
    """Show the apps of workspace WS: what is installed of each, and who signed it."""
    from mixkit.cli.apps import COLUMNS, app_rows

    rows = app_rows(desk, name, out)
    out.table(COLUMNS, rows)
    if not rows:
        out.note("no apps yet; `mixkit remix install PACKAGE --ws WS` installs some")


@ws.command()
@click.argument("name", metavar="WS", shell_complete=complete_workspace)
@yes_option
@desk_command()
def rm(name: str, yes: bool, desk: Desk, out: Output) -> None:
    """Remove workspace WS, its apps and all their data, which are gone for good."""
    apps = desk.apps(name)
    what = f"with {len(apps)} app{'s' if len(apps) != 1 else ''} and all data"
    agreed(f"Remove workspace {name} {what}?", yes, out)
    desk.remove(name)
    out.record({"removed": name, "apps": apps if out.as_json else ", ".join(apps)})
