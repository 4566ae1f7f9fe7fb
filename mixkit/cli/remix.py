"""`mixkit remix`: packages, from a source folder to a file that is signed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mixkit.cli.grants import check_grants
from mixkit.cli.group import Group
from mixkit.cli.output import Output
from mixkit.cli.package_file import FILE, open_package, trust_option, trusted_keys, warnings_of
from mixkit.cli.remix_text import agents, powers, widgets
from mixkit.cli.session import Session, json_option, pass_session

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from mixkit.package import Package

__all__ = ["remix"]

FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
NEW_FILE = click.Path(dir_okay=False, path_type=Path)


_CODE = ("", ".wasm", ".mixexe")
"""How the names of files end that are code already."""
_WASM = b"\0asm"


@click.group(cls=Group)
def remix() -> None:
    """Build, inspect, verify and install .remix packages."""


remix.lazy(
    "install",
    "mixkit.cli.install:install",
    "Install PACKAGE into a workspace, after showing the powers that it asks for.",
)
remix.lazy(
    "diff",
    "mixkit.cli.install:diff",
    "Show what differs from package OLD, or from what is installed in a workspace, to package NEW.",
)
remix.lazy(
    "history",
    "mixkit.cli.install:history",
    "Show what was installed as APP of a workspace, and granted to it, when; oldest first.",
)
remix.lazy(
    "convert",
    "mixkit.cli.convert:convert",
    "Make a package of one of the earlier format, as far as it can be.",
)
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
    from mixkit.package.agreement import unasked
    from mixkit.package.build import build as build_package

    out = Output(session.as_json)

    def compiled(path: Path) -> tuple[str, bytes] | None:
        if path.suffix in _CODE:
            return None
        # Only a source needs a profile that loads.
        with session.kernel() as kernel:
            return kernel.compiled(path)

    def said(code: bytes) -> Mapping[str, Any] | None:
        if code.startswith(_WASM):
            return None
        with session.kernel() as kernel:
            return kernel.said(code)

    with out.working(f"building {folder}"):
        packed = build_package(folder, key.read_bytes() if key is not None else None, compiled, said)
        package = Package.open(packed)
        path = output or Path(f"{package.name}-{package.version}.remix")
        _write(path, packed)
    warnings = check_grants(session, package.grants, out, unasked(package, said))
    out.record(
        {"package": str(path), "bytes": len(packed), "digest": package.digest, **warnings_of(warnings, out)}
    )


@remix.command()
@click.argument("package", type=FILE)
@json_option
@pass_session
def inspect(session: Session, package: Path) -> None:
    """Show what is in PACKAGE and which powers it asks for. The signature is not verified: see `verify`."""
    import msgspec

    from mixkit.cli.convert import describe, earlier_in

    out = Output(session.as_json)
    earlier = earlier_in(package)
    if earlier is not None:
        describe(earlier, out)
        return
    found = open_package(package, out)
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
        ("Widgets", ("widget", "agent", "sizes", "database", "tags", "description"), widgets(found)),
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
    found = open_package(package, out)
    signer = found.verify(trusted_keys(trust))
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
    found = open_package(package, out)
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


def _contradiction(package: Package) -> list[str]:
    """Why the package would not be installed: it says what its code denies."""
    from mixkit.errors import PackageError
    from mixkit.package import agreement

    try:
        agreement.check(package)
    except PackageError as exc:
        return [str(exc)]
    return []


def _write(path: Path, data: bytes) -> None:
    from mixkit.whole_file import whole_file

    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as file:
        file.write(data)
