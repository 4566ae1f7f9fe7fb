"""`mixkit remix`: packages, from a source folder to an installed app."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mixkit.cli.grants import check_grants, say_unknown, typed_grants
from mixkit.cli.group import Group
from mixkit.cli.output import Output
from mixkit.cli.params import decoded
from mixkit.cli.remix_text import agents, powers, print_diff, shown
from mixkit.cli.session import Session, json_option, pass_session
from mixkit.cli.workspaces import find_workspace, open_store, ws_dir_option

if TYPE_CHECKING:
    from mixkit.grants import Grants
    from mixkit.kernel import Kernel
    from mixkit.package import InstalledApp, Package, Release, Workspace, WorkspaceStore
    from mixkit.package.manifest import GrantsSpec

__all__ = ["remix"]

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
NEW_FILE = click.Path(dir_okay=False, path_type=Path)
trust_option = click.option(
    "--trust",
    multiple=True,
    metavar="KEY",
    help="Public key, or file with public keys, one of which must have signed. Repeatable.",
)


_CODE = ("", ".wasm", ".mixexe")
"""How the names of files end that are code already."""


@click.group(cls=Group)
def remix() -> None:
    """Build, inspect, verify and install .remix packages."""


remix.lazy("list", "mixkit.cli.packages:list_", "List the packages that are installed in workspaces.")
remix.lazy(
    "remove",
    "mixkit.cli.packages:remove",
    "Remove all apps that a package brought to a workspace, and their data.",
)


@remix.command()
@click.argument("folder", type=FOLDER)
@click.option("--output", "-o", type=NEW_FILE, help="Where to write it; NAME-VERSION.remix by default.")
@click.option("--key", type=FILE, help="Private key to sign with, as `keygen` makes it.")
@json_option
@pass_session
def build(session: Session, folder: Path, output: Path | None, key: Path | None) -> None:
    """Build the package that the manifest.json in FOLDER describes."""
    from mixkit.package import Package
    from mixkit.package.build import build as build_package

    out = Output(session.as_json)

    def compiled(path: Path) -> tuple[str, bytes] | None:
        if path.suffix in _CODE:
            return None
        # Only a source needs a profile that loads.
        with session.kernel() as kernel:
            return kernel.compiled(path)

    with out.working(f"building {folder}"):
        packed = build_package(folder, key.read_bytes() if key is not None else None, compiled)
        package = Package.open(packed)
        path = output or Path(f"{package.name}-{package.version}.remix")
        _write(path, packed)
    warnings = check_grants(session, package.grants, out)
    out.record(
        {"package": str(path), "bytes": len(packed), "digest": package.digest, **_warned(warnings, out)}
    )


@remix.command()
@click.argument("package", type=FILE)
@json_option
@pass_session
def inspect(session: Session, package: Path) -> None:
    """Show what is in PACKAGE and which powers it asks for. The signature is not verified: see `verify`."""
    import msgspec

    out = Output(session.as_json)
    found = _open(package, out)
    warnings = check_grants(session, found.grants, out, _contradiction(found))
    claimed = found.signature.key if found.signature else None
    if session.as_json:
        out.document(
            {
                "manifest": msgspec.json.decode(found.manifest.encode()),
                "digest": found.digest,
                "claimed_signer": claimed,
                "entries": {
                    path: {"size": found.archive.entries[path].size, "sha256": digest}
                    for path, digest in found.digests.items()
                },
                "warnings": warnings,
            }
        )
        return
    about = found.manifest
    out.record(
        {
            "name": about.name,
            "version": about.version,
            "kind": about.kind,
            "description": about.description,
            "setup": about.setup,
            "digest": found.digest,
            "signed by": f"{claimed} (not verified)" if claimed else "nobody",
        }
    )
    for title, columns, rows in (
        ("Powers that it asks for", ("power", "value"), powers(found)),
        ("Limits that it asks for", ("limit", "value"), list(about.limits.items())),
        ("Agents", ("agent", "params", "result", "code", "description"), agents(found)),
        ("Entries", ("bytes", "entry"), [(e.size, e.name) for e in found.archive.entries.values()]),
    ):
        out.line()
        out.line(title, "title")
        out.table(columns, rows)


@remix.command()
@click.argument("package", type=FILE)
@trust_option
@json_option
@pass_session
def verify(session: Session, package: Path, trust: tuple[str, ...]) -> None:
    """Check every entry of PACKAGE, and its signature if there is one. Fails if anything is wrong."""
    out = Output(session.as_json)
    found = _open(package, out)
    signer = found.verify(_trusted(trust))
    out.record(
        {
            "package": f"{found.name} {found.version}",
            "digest": found.digest,
            "entries": len(found.digests),
            "signer": signer,
            "trusted": bool(trust),
        }
    )
    if signer is None and not session.as_json:
        out.note("the package is not signed: nothing says who made it", "warning")
    elif not trust and not session.as_json:
        out.note(
            "the signature fits, but anybody can make a key: say --trust KEY to check whose it is", "warning"
        )


@remix.command()
@click.argument("package", type=FILE)
@click.option("--key", type=FILE, required=True, help="Private key, as `keygen` makes it.")
@click.option("--output", "-o", type=NEW_FILE, help="Where to write it; in the place of PACKAGE by default.")
@json_option
@pass_session
def sign(session: Session, package: Path, key: Path, output: Path | None) -> None:
    """Sign PACKAGE, in the place of any signature that it has."""
    from mixkit.package.build import sign as sign_package
    from mixkit.package.signature import public_key

    out = Output(session.as_json)
    found = _open(package, out)
    private_key = key.read_bytes()
    _write(output or package, sign_package(found, private_key))
    out.record({"package": str(output or package), "digest": found.digest, "signer": public_key(private_key)})


@remix.command()
@click.argument("path", type=NEW_FILE)
@json_option
@pass_session
def keygen(session: Session, path: Path) -> None:
    """Make a key to sign with: the private key in PATH, the public one in PATH.pub."""
    from mixkit.package.signature import make_key

    private_key, public = make_key()
    public_path = path.with_name(f"{path.name}.pub")
    for target, content, mode in ((path, private_key, 0o600), (public_path, f"{public}\n".encode(), 0o644)):
        # Exclusive: a key that is overwritten is gone for good.
        fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with open(fd, "wb") as file:  # noqa: PTH123 - pathlib cannot open with a mode
            file.write(content)
    Output(session.as_json).record({"private": str(path), "public": str(public_path), "key": public})


@remix.command()
@click.argument("packages", type=FILE, nargs=-1, required=True, metavar="[OLD] NEW")
@ws_dir_option
@click.option("--ws", help="Workspace to compare with.")
@json_option
@pass_session
def diff(session: Session, packages: tuple[Path, ...], ws_dir: Path | None, ws: str | None) -> None:
    """Show what differs from package OLD, or from what is installed in a workspace, to package NEW."""
    out = Output(session.as_json)
    package = _open(packages[-1], out)
    if len(packages) == 2 and ws_dir is None and ws is None:
        before = _releases(_open(packages[0], out))
    elif len(packages) == 1 and ws is not None:
        with session.kernel() as kernel:
            before = _installed(find_workspace(open_store(kernel, ws_dir), ws), package)
    else:
        raise click.UsageError("give two packages, or one package with --ws")
    _show_diff(before, package, out)


@remix.command()
@click.argument("package", type=FILE)
@ws_dir_option
@click.option("--ws", required=True, help="Workspace; made if it is not there, as is the directory.")
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
    from mixkit.grants import ALL

    out = Output(session.as_json)
    found = _open(package, out)
    found.verify(_trusted(trust))
    with session.kernel() as kernel:
        kernel.ffis.check_grants(found.grants)
        store = open_store(kernel, ws_dir, make=True)
        granted = typed_grants(kernel, patterns, found.grants) if patterns else None
        warnings = say_unknown(kernel, found.grants, out)
        before = _installed(store.workspace(ws), found) if ws in store.list() else {}
        if _agreed(found, before, granted, yes, out):
            granted = granted or ALL
        with _workspace(store, ws) as workspace, out.working(f"installing {found.name} {found.version}"):
            done = workspace.install(
                found,
                granted=granted,
                force=force,
                trusted=_trusted(trust),
                validate=kernel.check_code,
                run_setup=lambda app, agent: _run_setup(kernel, workspace, app, agent),
                load_records=lambda *given: _load_records(kernel, *given),
                load_files=(lambda *given: _load_files(kernel, *given)) if kernel.filesystem else None,
            )
    out.record(
        {
            "changed": done.changed,
            "workspace": ws,
            "apps": list(done.apps),
            "version": done.version,
            "withheld": list(done.withheld),
            **_warned(warnings, out),
        }
    )


@remix.command()
@click.argument("app")
@ws_dir_option
@click.option("--ws", required=True, help="Workspace.")
@json_option
@pass_session
def history(session: Session, app: str, ws_dir: Path | None, ws: str) -> None:
    """Show what was installed as APP of a workspace, and granted to it, when; oldest first."""
    import msgspec

    from mixkit.errors import NotFound
    from mixkit.package.install import grants_spec

    out = Output(session.as_json)
    with session.kernel() as kernel:
        events = find_workspace(open_store(kernel, ws_dir), ws).past(app)
    if not events:
        raise NotFound(f"no app {app!r:.80} was ever in workspace {ws!r}")
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


def _contradiction(package: Package) -> list[str]:
    """Why the package would not be installed: it says what its code denies."""
    from mixkit.errors import PackageError
    from mixkit.package import agreement

    try:
        agreement.check(package)
    except PackageError as exc:
        return [str(exc)]
    return []


def _warned(warnings: list[str], out: Output) -> dict[str, list[str]]:
    """The part of a JSON document that has the warnings; a person has read them already."""
    return {"warnings": warnings} if warnings and out.as_json else {}


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

    after = _releases(package)
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
    if yes:
        return True
    if out.as_json or not sys.stdin.isatty():
        raise click.UsageError(
            f"it asks for powers that nobody agreed to ({', '.join(widened)}); say --yes to agree"
        )
    click.confirm("Install it with these powers?", abort=True, err=True)
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


def _open(path: Path, out: Output) -> Package:
    """The package, wholly checked except for its signature."""
    from mixkit.package import Package

    with out.working(f"reading {path.name}"):
        package = Package.open(path)
        package.check()
    return package


def _write(path: Path, data: bytes) -> None:
    from mixkit.whole_file import whole_file

    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as file:
        file.write(data)


def _trusted(options: tuple[str, ...]) -> list[str] | None:
    """The public keys that the options give, each a key or the file of some."""
    from mixkit.package.signature import check_key

    if not options:
        return None
    keys: list[str] = []
    for option in options:
        file = Path(option)
        keys += decoded(file.read_bytes(), option).split() if file.is_file() else [option]
    return [check_key(key) for key in keys]


def _releases(package: Package) -> dict[str, Release]:
    signer = package.verify()
    return {app: package.release(app, signer=signer) for app in package.manifest.apps}


def _installed(workspace: Workspace, package: Package) -> dict[str, Release]:
    """What is installed of the package's apps."""
    from contextlib import closing

    found = {}
    for app in package.manifest.apps.keys() & set(workspace.apps()):
        with closing(workspace.app(app)) as installed:
            if installed.release is not None:
                found[app] = installed.release
    return found


def _show_diff(before: dict[str, Release], package: Package, out: Output) -> None:
    import msgspec

    from mixkit.package.diff import diff as compare

    changes = compare(before, _releases(package))
    if out.as_json:
        out.document(msgspec.to_builtins(changes))
    elif changes:
        print_diff(changes, out)
    else:
        out.line("nothing differs")
