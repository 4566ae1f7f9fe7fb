"""`mixkit plugins`: what is installed, and what the profile loads."""

from __future__ import annotations

import click

from mixkit.cli.output import Output
from mixkit.cli.session import Session, json_option, pass_session

__all__ = ["plugins"]

COLUMNS = ("name", "distribution", "version", "module", "status")
STYLES = {"loaded": "ok", "not in the profile": "dim", "not installed": "error"}


@click.command()
@json_option
@pass_session
def plugins(session: Session) -> None:
    """List the installed plugins, and which of them the profile loads. Exit status 1 if one does not load."""
    from mixkit.cli.plugin_commands import load_working
    from mixkit.distributions import installed

    wanted = session.loaded_profile().plugins
    points = installed()
    _, broken = load_working(wanted)
    rows = []
    for name in [*wanted, *sorted(points.keys() - set(wanted))]:
        status = str(broken.get(name, "loaded")) if name in wanted else "not in the profile"
        status = status if name in points else "not installed"
        for point in points.get(name, [None]):
            about = (point.distribution, point.version, point.value) if point else ("", "", "")
            rows.append((name, *about, status))
    out = Output(session.as_json)
    out.table(COLUMNS, rows, styles=STYLES)
    missing = next((name for name in wanted if name not in points), None)
    if missing is not None and not session.as_json:
        # The first names all of them, and what adds them.
        out.note(str(broken[missing]), "error")
    if broken:
        click.get_current_context().exit(1)
