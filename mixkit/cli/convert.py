"""`mixkit remix convert`: packages of the original's earlier format, made ones of today's."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mixkit.cli.output import Output
from mixkit.cli.package_file import FILE
from mixkit.cli.session import Session, json_option, pass_session

if TYPE_CHECKING:
    from mixkit.package.earlier import Earlier

__all__ = ["convert", "describe", "earlier_in"]


@click.command()
@click.argument("old", type=FILE)
@click.argument("new", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--name", help="Of the package; by default that of the file NEW.")
@click.option("--package-version", default="1.0", show_default=True, help="Of the package.")
@json_option
@pass_session
def convert(session: Session, old: Path, new: Path, name: str | None, package_version: str) -> None:
    """Make the package NEW of OLD, which has the earlier format: records, files and settings come along.

    What cannot be carried, as code and screens, is listed.
    """
    from mixkit.errors import PackageError
    from mixkit.package import ArchiveLimits
    from mixkit.package.archive import Archive
    from mixkit.package.earlier import Earlier, is_earlier
    from mixkit.whole_file import whole_file

    out = Output(session.as_json)
    with out.working(f"converting {old.name}"):
        archive = Archive(_read(old, ArchiveLimits().packed))
        if not is_earlier(archive):
            raise PackageError(f"expected a package of the earlier format, found another one at {old}")
        found = Earlier(archive)
        packed = found.convert(name or _name(new), package_version)
        with whole_file(new) as file:
            file.write(packed)
    if out.as_json:
        out.document({"package": str(new), "bytes": len(packed), **_described(found)})
        return
    out.record({"package": str(new), "bytes": len(packed)})
    _tell(found, out)


def earlier_in(path: Path) -> Earlier | None:
    """The package of the earlier format in a file; None if it is no such one."""
    from mixkit.errors import PackageError
    from mixkit.package import ArchiveLimits
    from mixkit.package.archive import Archive
    from mixkit.package.earlier import Earlier, is_earlier

    try:
        archive = Archive(_read(path, ArchiveLimits().packed))
    except PackageError:
        # Whoever takes it for a package says what is wrong.
        return None
    return Earlier(archive) if is_earlier(archive) else None


def describe(found: Earlier, out: Output) -> None:
    """Say what a package of the earlier format holds."""
    if out.as_json:
        out.document({"format": "earlier", **_described(found)})
        return
    out.record({"format": "earlier; `mixkit remix convert OLD NEW` makes a package of it"})
    _tell(found, out)


def _described(found: Earlier) -> dict[str, object]:
    apps = [
        {"app": name, "was": app.was, "records": len(app.records), "files": sorted(app.files)}
        for name, app in found.apps.items()
    ]
    return {"apps": apps, "left": found.left}


def _tell(found: Earlier, out: Output) -> None:
    out.line()
    rows = [(name, len(app.records), len(app.files), len(app.settings)) for name, app in found.apps.items()]
    out.table(("app", "records", "files", "settings"), rows)
    if found.left:
        out.line()
        out.line("What cannot come along, or has another name", "title")
        for line in found.left:
            out.line(f"  {line}")


def _name(path: Path) -> str:
    return re.sub(r"[^A-Za-z0-9_-]", "_", path.stem)[:63].lstrip("-") or "package"


def _read(path: Path, most: int) -> bytes:
    with path.open("rb") as file:
        return file.read(most + 1)
