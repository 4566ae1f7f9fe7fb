"""Packages that a command is given as files, and what it is told about them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from mixkit.cli.params import decoded

if TYPE_CHECKING:
    from mixkit.cli.output import Output
    from mixkit.package import Package, Release

__all__ = ["FILE", "open_package", "releases_of", "trust_option", "trusted_keys", "warnings_of"]

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
trust_option = click.option(
    "--trust",
    multiple=True,
    metavar="KEY",
    help="Public key, or file with public keys, one of which must have signed. Repeatable.",
)


def open_package(path: Path, out: Output) -> Package:
    """The package, wholly checked except for its signature."""
    from mixkit.package import Package

    with out.working(f"reading {path.name}"):
        package = Package.open(path)
        package.check()
    return package


def trusted_keys(options: tuple[str, ...]) -> list[str] | None:
    """The public keys that the options give, each a key or the file of some."""
    from mixkit.package.signature import check_key

    if not options:
        return None
    keys: list[str] = []
    for option in options:
        file = Path(option)
        keys += decoded(file.read_bytes(), option).split() if file.is_file() else [option]
    return [check_key(key) for key in keys]


def releases_of(package: Package) -> dict[str, Release]:
    """What of a package each of its apps is, once its signature is verified."""
    signer = package.verify()
    return {app: package.release(app, signer=signer) for app in package.manifest.apps}


def warnings_of(warnings: list[str], out: Output) -> dict[str, list[str]]:
    """The part of a JSON document that has the warnings; a person has read them already."""
    return {"warnings": warnings} if warnings and out.as_json else {}
