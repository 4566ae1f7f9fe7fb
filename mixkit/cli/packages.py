"""`mixkit remix list` and `remove`: packages as they are installed in workspaces."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import click

from mixkit.cli.choices import ws_option
from mixkit.cli.workspaces import agreed, find_workspace, store_command, yes_option

if TYPE_CHECKING:
    from mixkit.cli.output import Output
    from mixkit.package import Release, Workspace, WorkspaceStore

__all__ = ["list_", "remove"]


@click.command("list")
@ws_option(help="Of this workspace alone.")
@store_command
def list_(ws: str | None, store: WorkspaceStore, out: Output) -> None:
    """List the packages that are installed in workspaces."""
    found = [store.workspace(name) for name in store.list()] if ws is None else [find_workspace(store, ws)]
    rows = [
        (workspace.name, name, release.version, release.signer, apps if out.as_json else ", ".join(apps))
        for workspace in found
        for (name, _), (release, apps) in _installed(workspace).items()
    ]
    out.table(("workspace", "package", "version", "signer", "apps"), rows)
    if not rows:
        out.note("none yet; `mixkit remix install PACKAGE --ws WS` installs one")


@click.command()
@click.argument("package")
@ws_option(required=True)
@yes_option
@store_command
def remove(package: str, ws: str, yes: bool, store: WorkspaceStore, out: Output) -> None:
    """Remove all apps that PACKAGE, named as `list` names it, brought to a workspace, and their data for good."""
    from mixkit.activities import Kind
    from mixkit.cli.noted import noted
    from mixkit.errors import NotFound
    from mixkit.near import meant

    workspace = find_workspace(store, ws)
    found = _installed(workspace)
    apps = [app for (name, _), (_, brought) in found.items() if name == package for app in brought]
    if not apps:
        known = sorted({name for name, _ in found})
        there = f"there are: {', '.join(known) or 'none'}"
        raise NotFound(f"no package {package!r} in workspace {ws!r}; {there}{meant(package, known)}")
    agreed(f"Remove {', '.join(apps)} of workspace {ws} with all data?", yes, out)
    with noted(store, Kind.REMOVE, ws) as about:
        about |= {"package": package, "apps": apps}
        for app in apps:
            workspace.delete_app(app)
    out.record({"removed": package, "apps": apps if out.as_json else ", ".join(apps)})


def _installed(workspace: Workspace) -> dict[tuple[str, str], tuple[Release, list[str]]]:
    """Name and version of each package to what it brought, and the apps."""
    found: dict[tuple[str, str], tuple[Release, list[str]]] = {}
    for app in workspace.apps():
        with closing(workspace.app(app)) as installed:
            release = installed.release
        if release is not None:
            found.setdefault((release.package, release.version), (release, []))[1].append(app)
    return found
