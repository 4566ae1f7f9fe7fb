"""`mixkit perms`: who may do what in a workspace, and why."""

from __future__ import annotations

import sys
from contextlib import closing
from typing import TYPE_CHECKING, Any

import click

from mix_server.access.grant import check_permission, parse_resource
from mix_server.access.store import GrantStore
from mix_server.access.subject import check_agent, check_subject, subjects_named
from mix_server.caller import Permission
from mixkit.activities import Kind
from mixkit.cli.choices import ws_option
from mixkit.cli.group import Group
from mixkit.cli.noted import noted
from mixkit.cli.workspaces import find_workspace, store_command
from mixkit.near import meant

if TYPE_CHECKING:
    from mix_server.caller import Resource
    from mixkit.cli.output import Output
    from mixkit.package import Workspace, WorkspaceStore

__all__ = ["perms"]

_COLUMNS = ("subject", "role", "resource", "id")
_ws_option = ws_option(required=True)


@click.group(cls=Group)
def perms() -> None:
    """List, give, take back and explain grants, beside a server that runs too.

    SUBJECT is user/EMAIL, domain/HOST, agent/SERVER:WS.APP.AGENT, machine/ID, all-users or anonymous; ROLE is runner,
    editor, admin or db/creator; RESOURCE is workspace, db/APP or agent/APP/AGENT.
    """


@perms.command("list")
@_ws_option
@store_command
def list_(ws: str, store: WorkspaceStore, out: Output) -> None:
    """List the grants of a workspace, and who owns it."""
    find_workspace(store, ws)
    grants = GrantStore(store).of(ws)
    rows = [[grant.public()[column] for column in _COLUMNS] for grant in grants]
    if grants.owner is not None:
        rows.insert(0, [grants.owner, "owner", "workspace", ""])
    out.table(_COLUMNS, rows)
    if not rows:
        out.note("nobody but the operator may do anything; `mixkit perms grant` lets others")


@perms.command()
@click.argument("subject")
@click.argument("role")
@click.argument("resource", default="workspace")
@_ws_option
@store_command
def grant(subject: str, role: str, resource: str, ws: str, store: WorkspaceStore, out: Output) -> None:
    """Let SUBJECT act as ROLE on RESOURCE and all that is in it; the whole workspace if none is given."""
    workspace = find_workspace(store, ws)
    with noted(store, Kind.GRANT, ws) as about:
        made, is_new = GrantStore(store).add(ws, subject, role, resource, None)
        about |= made.public()
    out.record({**made.public(), "new": is_new})
    if said := _not_there(workspace, made.resource, "; it holds when there is one"):
        out.note(said)


def _not_there(workspace: Workspace, resource: Resource, then: str = "") -> str | None:
    """What to say of a resource that is not there yet; None if it is."""
    app, agent, known = resource.app, resource.agent, workspace.apps()
    if app is None:
        return None
    if app not in known:
        return f"there is no app {app!r} in workspace {workspace.name!r} yet{then}{meant(app, known)}"
    if agent is not None:
        with closing(workspace.app(app)) as found:
            agents = [*found.agents]
        if agent not in agents:
            return f"there is no agent {agent!r} in app {app!r} yet{then}{meant(agent, agents)}"
    return None


@perms.command()
@click.argument("ids", metavar="ID...", nargs=-1, required=True)
@_ws_option
@store_command
def revoke(ids: tuple[str, ...], ws: str, store: WorkspaceStore, out: Output) -> None:
    """Take back the grants of these IDs, all or none; `mixkit perms list` has them."""
    find_workspace(store, ws)
    with noted(store, Kind.REVOKE, ws) as about:
        gone = GrantStore(store).remove(ws, ids)
        about["grants"] = [each.public() for each in gone]
    out.table(_COLUMNS, [[each.public()[column] for column in _COLUMNS] for each in gone])


@perms.command()
@click.argument("subject")
@click.argument("permission")
@click.argument("resource", default="workspace")
@click.option(
    "--via", metavar="AGENT", help="Whether that agent, agent/:WS.APP.AGENT, may call it for SUBJECT."
)
@_ws_option
@store_command
def explain(
    subject: str, permission: str, resource: str, via: str | None, ws: str, store: WorkspaceStore, out: Output
) -> None:
    """Say whether SUBJECT may do PERMISSION with RESOURCE, and why; the status is 1 if it may not.

    PERMISSION is see, run, read, write, create, delete, install or admin.
    """
    workspace = find_workspace(store, ws)
    who = subjects_named(check_subject(subject))
    wanted, about = check_permission(permission), parse_resource(resource, ws)
    grants = GrantStore(store).of(ws)
    if via is None:
        found = grants.explain(who, wanted, about)
    elif wanted is not Permission.RUN:
        raise click.UsageError("--via says who may run an agent: expected the permission run")
    else:
        found = grants.explain_call(who, subjects_named(check_agent(via, ws)), about)
    if out.as_json:
        out.document(found)
    else:
        _tell(found, out)
    if said := _not_there(workspace, about):
        out.note(said)
    if not found["allowed"]:
        sys.exit(1)


def _tell(found: dict[str, Any], out: Output) -> None:
    verb = "may" if found["allowed"] else "may not"
    out.line(
        f"{found['subjects'][0]} {verb} {found['permission']} {found['resource']}",
        "ok" if found["allowed"] else "error",
    )
    _tell_tried(found, out)
    if "via" in found:
        out.line(f"  or {found['via']['subjects'][0]}, which calls it")
        _tell_tried(found["via"], out)
    because, needed = found["because"], found["needed"]
    if because is not None and "owner" in because:
        out.line(f"  because {because['owner']} owns the workspace")
    elif because is not None and "same_app" in because:
        out.line(f"  because agents of {because['same_app']} may always call each other")
    elif because is not None and because.get("inside"):
        out.line(f"  because it holds {because['resource']}, which {because['subject']} may use")
    if needed is not None:
        out.line(f"  needed: {' or '.join(needed['roles'])}, of {' or '.join(needed['resources'])}")


def _tell_tried(found: dict[str, Any], out: Output) -> None:
    out.line(f"  is {', '.join(found['subjects'])}")
    for tried in found["tried"]:
        for each in tried["grants"]:
            allows = "allows it" if each["allows"] else "does not"
            out.line(f"  {each['subject']} is {each['role']} of {each['resource']}: {allows}")
        if not tried["grants"]:
            out.line(f"  none of these was granted anything for {tried['resource']}", "dim")
