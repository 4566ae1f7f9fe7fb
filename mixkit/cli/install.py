"""`mixkit remix install`, `diff` and `history`: packages, and what is installed of them in a workspace."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mixkit.cli.choices import is_given, ws_dir_option, ws_option
from mixkit.cli.grants import say_unknown, typed_grants
from mixkit.cli.output import Output
from mixkit.cli.package_file import FILE, open_package, releases_of, trust_option, trusted_keys, warnings_of
from mixkit.cli.remix_text import powers, print_diff, shown
from mixkit.cli.session import Session, json_option, pass_session
from mixkit.cli.workspaces import agreed, find_workspace, open_store

if TYPE_CHECKING:
    from mixkit.grants import Grants
    from mixkit.kernel import Kernel
    from mixkit.package import InstalledApp, Package, Release, Workspace, WorkspaceStore
    from mixkit.package.install import Installed
    from mixkit.package.manifest import GrantsSpec

__all__ = ["diff", "history", "install", "install_package"]


@click.command()
@click.argument("packages", type=FILE, nargs=-1, required=True, metavar="[OLD] NEW")
@ws_dir_option
@ws_option(help="Workspace to compare with.")
@json_option
@pass_session
def diff(session: Session, packages: tuple[Path, ...], ws_dir: Path | None, ws: str | None) -> None:
    """Show what differs from package OLD, or from what is installed in a workspace, to package NEW."""
    out = Output(session.as_json)
    package = open_package(packages[-1], out)
    if len(packages) == 2 and not (is_given("ws_dir") or is_given("ws")):
        before = releases_of(open_package(packages[0], out))
    elif len(packages) == 1 and ws is not None:
        with session.kernel() as kernel:
            before = find_workspace(open_store(kernel, ws_dir), ws).releases(package)
    else:
        raise click.UsageError("give two packages, or one package with --ws")
    _show_diff(before, package, out)


@click.command()
@click.argument("package", type=FILE)
@ws_dir_option
@ws_option(required=True, help="Workspace; made if it is not there, as is the directory.")
@click.option(
    "--grant",
    "patterns",
    multiple=True,
    metavar="PATTERN",
    help="FFI, or prefix with *, that the package may have of what it asks for. Repeatable; default: all.",
)
@trust_option
@click.option(
    "--force", is_flag=True, help="Also go back to an older version, or put another package in its place."
)
@click.option("--yes", "-y", is_flag=True, help="Do not ask: grant what is shown.")
@json_option
@pass_session
def install(
    session: Session,
    package: Path,
    ws_dir: Path | None,
    ws: str,
    patterns: tuple[str, ...],
    trust: tuple[str, ...],
    force: bool,
    yes: bool,
) -> None:
    """Install PACKAGE into a workspace, after showing the powers that it asks for.

    On an upgrade the difference is shown. New powers must be agreed to: at the terminal, or
    with --yes. The code is loaded with the profile first; what does not load is not installed.
    """
    from mixkit.activities import Kind
    from mixkit.cli.noted import noted
    from mixkit.grants import ALL

    out = Output(session.as_json)
    found = open_package(package, out)
    found.verify(trusted_keys(trust))
    with session.kernel() as kernel:
        kernel.ffis.check_grants(found.grants)
        store = open_store(kernel, ws_dir, make=True)
        granted = typed_grants(kernel, patterns, found.grants) if patterns else None
        warnings = say_unknown(kernel, found.grants, out)
        before = store.workspace(ws).releases(found) if ws in store.list() else {}
        if _agreed(found, before, granted, yes, out):
            granted = granted or ALL
        with (
            _workspace(store, ws) as workspace,
            out.working(f"installing {found.name} {found.version}"),
            noted(store, Kind.INSTALL, ws) as about,
        ):
            done = install_package(kernel, workspace, found, granted, force, trusted_keys(trust))
            about |= {"apps": [*done.apps], "version": done.version, "changed": done.changed}
    out.record(
        {
            "changed": done.changed,
            "workspace": ws,
            "apps": list(done.apps),
            "version": done.version,
            "withheld": list(done.withheld),
            **warnings_of(warnings, out),
        }
    )


@click.command()
@click.argument("app")
@ws_dir_option
@ws_option(required=True)
@json_option
@pass_session
def history(session: Session, app: str, ws_dir: Path | None, ws: str) -> None:
    """Show what was installed as APP of a workspace, and granted to it, when; oldest first."""
    import msgspec

    from mixkit.errors import NotFound
    from mixkit.near import meant
    from mixkit.package.install import grants_spec

    out = Output(session.as_json)
    with session.kernel() as kernel:
        workspace = find_workspace(open_store(kernel, ws_dir), ws)
        events = workspace.past(app)
        known = [] if events else workspace.apps()
    if not events:
        raise NotFound(f"no app {app!r:.80} was ever in workspace {ws!r}{meant(app, known)}")
    found = []
    for event in events:
        row: dict[str, Any] = {"when": event.when.isoformat(timespec="milliseconds"), "what": event.what}
        if event.installation is not None:
            release = event.installation.release
            row |= {"package": release.package, "version": release.version, "signer": release.signer}
            row["granted"] = grants_spec(event.installation.grants())
        found.append(row)
    if session.as_json:
        out.document(msgspec.to_builtins(found))
        return
    columns = ("when", "what", "package", "version", "signer")
    out.table(
        (*columns, "granted"),
        [(*(row.get(name) or "" for name in columns), _granted(row.get("granted", ()))) for row in found],
    )


def install_package(
    kernel: Kernel,
    workspace: Workspace,
    package: Package,
    granted: Grants | None = None,
    force: bool = False,
    trusted: Iterable[str] | None = None,
) -> Installed:
    """Install a package with all that belongs to it: its code checked, its setup run, its records and files loaded.

    Arguments and errors as those of `Workspace.install`.
    """
    return workspace.install(
        package,
        granted=granted,
        force=force,
        trusted=trusted,
        validate=kernel.check_code,
        run_setup=lambda app, agent: _run_setup(kernel, workspace, app, agent),
        load_records=lambda *given: _load_records(kernel, *given),
        load_files=(lambda *given: _load_files(kernel, *given)) if kernel.filesystem else None,
    )


def _granted(layers: Iterable[GrantsSpec]) -> str:
    """What the layers allow, all of which must."""
    texts = (
        [*layer.ffis, *(f"{name} {shown(value)}" for name, value in layer.options.items())]
        for layer in layers
    )
    return " & ".join(", ".join(text) or "nothing" for text in texts)


@contextmanager
def _workspace(store: WorkspaceStore, name: str) -> Iterator[Workspace]:
    """The workspace, made if need be, and not left behind if what it was made for fails."""
    if name in store.list():
        yield store.workspace(name)
        return
    workspace = store.create(name)
    try:
        yield workspace
    except BaseException:
        from mixkit.errors import NotFound

        # Somebody else may have found it meanwhile, and put something into it; or deleted it.
        with suppress(NotFound):
            if not workspace.apps():
                store.delete(name)
        raise


def _agreed(
    package: Package, before: dict[str, Release], granted: Grants | None, yes: bool, out: Output
) -> bool:
    """Whether somebody agrees to powers here, after seeing them. False where nothing new is asked for."""
    from mixkit.package.diff import diff as compare

    after = releases_of(package)
    changes = compare(before, after)
    widened = [f"{change.app}: {power}" for change in changes for power in change.widened]
    if not widened:
        return granted is not None
    if not out.as_json:
        if before:
            print_diff(changes, out, stderr=True)
        else:
            out.note(f"{package.name} {package.version} asks for these powers:", "title")
            for power, value in powers(package):
                out.note(f"  {power} {shown(value)}".rstrip(), "warning")
        if granted is not None:
            out.note(
                f"of which --grant allows: {', '.join(p for layer in granted.patterns() for p in layer)}"
            )
    asked = f"it asks for powers that nobody agreed to ({', '.join(widened)})"
    agreed("Install it with these powers?", yes, out, asked)
    return True


def _run_setup(kernel: Kernel, workspace: Workspace, app: InstalledApp, agent: str) -> None:
    from msgspec.structs import replace

    from mixkit.databases import Apps
    from mixkit.environment import Env

    limits = {name: min(value, getattr(kernel.limits, name)) for name, value in app.limits.items()}
    kernel.run_sync(
        app.code(agent),
        app.agents[agent].entry,
        {},
        env=Env(workspace=app.workspace, app=app.name, extra=app.settings),
        grants=app.grants,
        limits=replace(kernel.limits, **limits),
        place=app.place,
        apps=Apps(workspace.place, app.file),
    )


def _load_records(kernel: Kernel, app: InstalledApp, lines: Iterator[bytes], options: dict[str, Any]) -> None:
    from mixkit.databases import load_records

    load_records(kernel.databases.open(app.place), lines, options)


def _load_files(kernel: Kernel, app: InstalledApp, items: Iterator[tuple[str, Iterator[bytes]]]) -> None:
    from mixkit.package_files import load_files

    load_files(kernel.files.open(app.place), items)


def _show_diff(before: dict[str, Release], package: Package, out: Output) -> None:
    import msgspec

    from mixkit.package.diff import diff as compare

    changes = compare(before, releases_of(package))
    if out.as_json:
        out.document(msgspec.to_builtins(changes))
    elif changes:
        print_diff(changes, out)
    else:
        out.line("nothing differs")
