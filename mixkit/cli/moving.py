"""Exports and imports on the command line: workspaces and apps as files, and from server to server."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click

from mixkit.cli.choices import ws_option
from mixkit.cli.desk_command import desk_command, spooled
from mixkit.cli.workspaces import agreed, split_app, yes_option

if TYPE_CHECKING:
    from mixkit.cli.desk import Desk
    from mixkit.cli.output import Output

__all__ = ["clone", "export_app", "export_ws", "import_app", "import_ws"]

_FILE = click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path)
_output = click.option(
    "--output",
    "-o",
    type=click.Path(dir_okay=False, allow_dash=True, path_type=Path),
    help="File to write, - for stdout; by default what is exported, with .remix.",
)
_history = click.option("--history", is_flag=True, help="All versions of the records, and tombstones.")
_no_grants = click.option("--no-grants", is_flag=True, help="Leave away what was granted to users.")
_dry_run = click.option("--dry-run", is_flag=True, help="Say what the file holds, and change nothing.")


@click.command("export")
@click.argument("name", metavar="WS")
@_output
@_history
@_no_grants
@desk_command()
def export_ws(
    name: str, output: Path | None, history: bool, no_grants: bool, desk: Desk, out: Output
) -> None:
    """Write workspace WS to a file: records, code, files, and what was granted, but no secrets."""
    _export(desk, name, None, output or Path(f"{name}.remix"), history, not no_grants, out)


@click.command("export")
@click.argument("name", metavar="WS/APP")
@_output
@_history
@_no_grants
@desk_command()
def export_app(
    name: str, output: Path | None, history: bool, no_grants: bool, desk: Desk, out: Output
) -> None:
    """Write an app to a file: records, code, files, and what was granted for it, but no secrets."""
    ws, app = split_app(name)
    _export(desk, ws, app, output or Path(f"{app}.remix"), history, not no_grants, out)


def _export(
    desk: Desk, ws: str, app: str | None, path: Path, history: bool, grants: bool, out: Output
) -> None:
    from mixkit.cli.progress import Progress
    from mixkit.whole_file import whole_file

    what = ws if app is None else f"{ws}/{app}"
    to_stdout = str(path) == "-"
    if to_stdout and out.as_json:
        raise click.UsageError("--json tells about the export; write it to a file with --output")
    if to_stdout and sys.stdout.isatty():
        raise click.UsageError("the export is binary; write it to a file with --output")
    with Progress(f"exporting {what}", quiet=out.as_json, counts=False) as progress:
        if to_stdout:
            desk.export(ws, app, sys.stdout.buffer, history, grants, progress)
            sys.stdout.buffer.flush()
            return
        with whole_file(path) as file:
            desk.export(ws, app, file, history, grants, progress)
    out.record({"exported": what, "file": str(path), "bytes": path.stat().st_size})


@click.command("import")
@click.argument("path", metavar="FILE", type=_FILE)
@click.option("--ws", metavar="NAME", help="Name of the workspace; by default the one that it had.")
@_no_grants
@_dry_run
@yes_option
@desk_command(make=True)
def import_ws(
    path: Path, ws: str | None, no_grants: bool, dry_run: bool, yes: bool, desk: Desk, out: Output
) -> None:
    """Make a workspace of an export in FILE, - for stdin, or fill one that has no apps. All or nothing."""
    with spooled(path) as file:
        _bring(desk, file, path.name, ws, False, not no_grants, dry_run, yes, out)


@click.command("import")
@click.argument("path", metavar="FILE", type=_FILE)
@ws_option(required=True, help="Workspace, which has no app of that name.")
@_no_grants
@_dry_run
@yes_option
@desk_command()
def import_app(
    path: Path, ws: str, no_grants: bool, dry_run: bool, yes: bool, desk: Desk, out: Output
) -> None:
    """Bring the app that an export in FILE has, - for stdin, into a workspace. All or nothing."""
    with spooled(path) as file:
        _bring(desk, file, path.name, ws, True, not no_grants, dry_run, yes, out)


@click.command()
@click.argument("url", metavar="URL")
@click.argument("ws", metavar="[NAME]", required=False)
@click.option(
    "--from-token",
    metavar="TOKEN",
    envvar="MIXKIT_FROM_TOKEN",
    help="What the other server takes as a token.",
)
@_history
@_no_grants
@yes_option
@desk_command(make=True)
def clone(
    url: str,
    ws: str | None,
    from_token: str | None,
    history: bool,
    no_grants: bool,
    yes: bool,
    desk: Desk,
    out: Output,
) -> None:
    """Make a workspace of one that another server has at URL, as https://agents.example/v1/ws/crm."""
    from mixkit.cli.desk import MOST, counted
    from mixkit.cli.progress import Progress
    from mixkit.moving.remote import ANYWHERE, Remote

    address = f"{url.rstrip('/')}/export{'?history=true' if history else ''}"
    with tempfile.TemporaryFile() as file:
        with Progress(f"fetching {url}", quiet=out.as_json, counts=False) as progress:
            watch = counted(progress)
            Remote(ANYWHERE).fetch(address, file, MOST, token=from_token, watch=watch)
        _bring(desk, file, url, ws, False, not no_grants, False, yes, out)


def _bring(
    desk: Desk,
    file: IO[bytes],
    name: str,
    ws: str | None,
    into: bool,
    grants: bool,
    dry_run: bool,
    yes: bool,
    out: Output,
) -> None:
    from mixkit.cli.progress import Progress

    with out.working(f"reading {name}"):
        found = desk.look(file)
    if dry_run:
        _show(found, out)
        return
    _agreed(found, yes, out)
    with Progress(f"importing {name}", quiet=out.as_json, counts=False) as progress:
        done = desk.bring(file, ws, into, grants, progress)
    left_out = done["left_out"]
    if out.as_json:
        out.document(done)
        return
    out.record({**done, "apps": ", ".join(done["apps"]), "left_out": left_out or None})
    if left_out:
        out.note("left out is what cannot come along, as what was granted to tokens of machines", "warning")


def _show(found: dict[str, Any], out: Output) -> None:
    if out.as_json:
        out.document(found)
        return
    out.record({name: value for name, value in found.items() if name != "apps"})
    columns = ("app", "package", "version", "powers", "withheld")
    rows = [
        (app["name"], app["package"], app["version"], ", ".join(app["powers"]), ", ".join(app["withheld"]))
        for app in found["apps"]
    ]
    if rows:
        out.line()
        out.table(columns, rows)


def _agreed(found: dict[str, Any], yes: bool, out: Output) -> None:
    """Ask whether code may have the powers that it comes with."""
    asked = [(app["name"], power) for app in found["apps"] for power in app["powers"]]
    if not asked:
        return
    if not out.as_json:
        out.note("its apps have these powers:", "title")
        for app, power in asked:
            out.note(f"  {app}: {power}", "warning")
    agreed("Import it with these powers?", yes, out)
