"""`mixkit ws`: workspaces, each of which holds apps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from mixkit.cli.group import Group
from mixkit.cli.workspaces import agreed, find_workspace, store_command, yes_option

if TYPE_CHECKING:
    from mixkit.cli.output import Output
    from mixkit.package import WorkspaceStore

__all__ = ["ws"]


@click.group(cls=Group)
def ws() -> None:
    """List, make, show and remove workspaces, beside a server that runs too."""


@ws.command("list")
@store_command
def list_(store: WorkspaceStore, out: Output) -> None:
    """List the workspaces and their apps."""
    rows = [(name, store.workspace(name).apps()) for name in store.list()]
    out.table(
        ("workspace", "apps"), [(name, apps if out.as_json else ", ".join(apps)) for name, apps in rows]
    )
    if not rows:
        out.note("none yet; `mixkit ws make NAME` makes one")


@ws.command()
@click.argument("name", metavar="WS")
@store_command
def make(name: str, store: WorkspaceStore, out: Output) -> None:
    """Make the empty workspace WS."""
    workspace = store.create(name)
    out.record({"workspace": name, "path": str(workspace.root)})


@ws.command()
@click.argument("name", metavar="WS")
@store_command
def show(name: str, store: WorkspaceStore, out: Output) -> None:
    """Show the apps of workspace WS: what is installed of each, and who signed it."""
    from mixkit.cli.apps import COLUMNS, app_row

    workspace = find_workspace(store, name)
    out.table(COLUMNS, [app_row(workspace, app, out) for app in workspace.apps()])
    if not workspace.apps():
        out.note("no apps yet; `mixkit remix install PACKAGE --ws WS` installs some")


@ws.command()
@click.argument("name", metavar="WS")
@yes_option
@store_command
def remove(name: str, yes: bool, store: WorkspaceStore, out: Output) -> None:
    """Remove workspace WS, its apps and all their data, which are gone for good."""
    apps = find_workspace(store, name).apps()
    what = f"with {len(apps)} app{'s' if len(apps) != 1 else ''} and all data"
    agreed(f"Remove workspace {name} {what}?", yes, out)
    store.delete(name)
    out.record({"removed": name, "apps": apps if out.as_json else ", ".join(apps)})
