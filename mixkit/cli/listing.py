"""`mixkit list`: what there is to run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from mixkit.cli.completing import complete_where
from mixkit.cli.desk_command import desk_command

if TYPE_CHECKING:
    from mixkit.cli.desk import Desk
    from mixkit.cli.output import Output

__all__ = ["list_"]

_COLUMNS = ("name", "kind", "version", "description")


@click.command("list")
@click.argument("where", metavar="[WS[/APP]]", required=False, shell_complete=complete_where)
@desk_command()
def list_(where: str | None, desk: Desk, out: Output) -> None:
    """List workspaces, their apps and the agents in them, by the names that `mixkit run` and `mixkit logs` take.

    All of them, or those of a workspace or an app. For example:

    \b
        mixkit list shop
        mixkit run shop/notes/greeting '{"name": "Ada"}'
    """
    ws, slash, app = (where or "").partition("/")
    if where is not None and (not ws or "/" in app or (slash and not app)):
        raise click.BadParameter(f"expected WS or WS/APP, found {where!r:.200}", param_hint="[WS[/APP]]")
    rows: list[tuple[Any, ...]] = []
    for name in [ws] if ws else [each for each, _ in desk.workspaces()]:
        found = [each for each in desk.installed(name) if not app or each["app"] == app]
        if app and not found:
            _refuse(desk, name, app)
        if not app:
            rows.append((name, "workspace", None, None))
        for each in found:
            rows.append((f"{name}/{each['app']}", "app", each["version"], None))
            rows += [
                (f"{name}/{each['app']}/{agent}", "agent", None, about)
                for agent, about in each["descriptions"].items()
            ]
    out.table(_COLUMNS, rows, styles={"workspace": "title", "agent": "name"})
    if not rows:
        out.note("no workspaces yet; `mixkit ws create NAME` makes one")


def _refuse(desk: Desk, ws: str, app: str) -> None:
    from mixkit.errors import NotFound
    from mixkit.near import meant

    known = desk.apps(ws)
    raise NotFound(
        f"no app {app!r} in workspace {ws!r}; there are: {', '.join(known) or 'none'}{meant(app, known)}"
    )
