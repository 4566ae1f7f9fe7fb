"""Installing a package into a workspace: all of it or nothing, and nothing if it is there already.

Everything new is checked, and is then written in one commit of the workspace's database. A crash at any point leaves
the old state or the new one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any, TypeAlias

from mixkit.errors import MixError, PackageError
from mixkit.grants import Grants
from mixkit.package import agreement
from mixkit.package.app import Installation, InstalledApp
from mixkit.package.book import MAX_CODE
from mixkit.package.changes import Changes
from mixkit.package.document import dump
from mixkit.package.manifest import GrantsSpec, version_key
from mixkit.package.package import Package
from mixkit.package.release import Release
from mixkit.storage import Place

__all__ = ["Installed", "Options", "grants_spec", "install"]

Validate: TypeAlias = Callable[[str, bytes], object]
LoadRecords: TypeAlias = Callable[[InstalledApp, Iterator[bytes], dict[str, Any]], object]
LoadFiles: TypeAlias = Callable[[InstalledApp, Iterator[tuple[str, Iterator[bytes]]]], object]
RunSetup: TypeAlias = Callable[[InstalledApp, str], object]


_EVERYTHING = GrantsSpec(ffis=["*"])
_NOTHING = GrantsSpec()


@dataclass(frozen=True, slots=True)
class Options:
    """How to install.

    Attributes:
        granted: what the package may have of what it asks for. None keeps what was agreed to at the last
            install, and at the first install gives what the package asks for.
        validate: called with the entry's name and the code of every agent; a `MixError` refuses the package.
        force: also put a lower version, another content of the same version, another package, or one that
            somebody else (or nobody) signed, in the place of what is installed.
        trusted: public keys, one of which must have signed; None to accept unsigned packages too.
        load_records: called with the app, the lines of its records and the manifest's `save_options`.
        load_files: called with the app, and path and content of each file.
        run_setup: called with the app and the name of the agent that the manifest wants run.

        dry_run: check all of it, and change nothing; what is answered is what would be done.

    `load_records`, `load_files` and `run_setup` are called, in this order, when the new code is in place but not
    current. They see the new version; when one raises, nothing is switched. What they store for an app that is there
    already they must be able to take back, or make harmless, themselves.
    """

    granted: Grants | None = None
    validate: Validate | None = None
    force: bool = False
    trusted: Iterable[str] | None = None
    load_records: LoadRecords | None = None
    load_files: LoadFiles | None = None
    run_setup: RunSetup | None = None
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class Installed:
    """What an install did.

    Attributes:
        changed: False if all was there already.
        apps: apps that were made or changed.
        withheld: powers that the package asks for and does not have, because nobody agreed to them.
        asks: for all of them.
    """

    changed: bool
    apps: tuple[str, ...]
    version: str
    withheld: tuple[str, ...] = ()
    asks: GrantsSpec = _NOTHING


def install(changes: Changes, package: Package, options: Options) -> Installed:
    """Install the package.

    Raises:
        PackageError: it is refused; nothing was changed.
        NotFound: there is no such workspace.
        StorageError: the database of the workspace cannot be read or written; nothing was changed.
        Busy: somebody else is changing the workspace.
    """
    signer = package.verify(options.trusted)
    releases = [package.release(app, signer=signer) for app in package.manifest.apps]
    with changes.begun():
        return _install(changes, package, releases, options)


def _install(changes: Changes, package: Package, releases: list[Release], options: Options) -> Installed:
    page = changes.book.page()
    planned, withheld, paths = list[Installation](), set[str](), dict[str, str]()
    for release in releases:
        _, entry = page.find(release.app) or (None, None)
        old = entry or None
        new = Installation(release=release, consent=_consent(release, old, options.granted))
        withheld |= {*new.withheld()}
        missing = {digest: path for path, digest in release.code().items() if page.code(digest) is None}
        if old is None or old.generation != new.generation or missing:
            _check_successor(old, release, options.force)
            planned.append(new)
            paths |= missing
    if planned:
        for new in planned:
            _check_handlers(new.release, options)
        _check_size(package, paths)
        agreement.check(package)
        _validate(package, planned, options.validate)
    if planned and not options.dry_run:
        places = [changes.make_home(new.release.app) for new in planned]
        for new, place in zip(planned, places, strict=True):
            _fill(place, package, new, options)
        code = {digest: package.archive.read(path) for digest, path in paths.items()}
        changes.book.write({new.release.app: new for new in planned}, code)
    apps = tuple(new.release.app for new in planned)
    return Installed(bool(planned), apps, package.version, tuple(sorted(withheld)), package.manifest.grants)


def grants_spec(grants: Grants) -> list[GrantsSpec]:
    """The same grants, to be stored; each must allow a call."""
    return [GrantsSpec(ffis=ffis, options=options) for ffis, options in grants.layers()]


def _consent(release: Release, old: Installation | None, granted: Grants | None) -> list[GrantsSpec]:
    if granted is None:
        return old.consent if old else [release.grants]
    # Saying yes to "$db_*" is saying yes to what this version asks for, not to what a later one may.
    return [release.grants, *(spec for spec in grants_spec(granted) if spec != _EVERYTHING)]


def _check_successor(old: Installation | None, new: Release, force: bool) -> None:
    if old is None or force:
        return
    before, reason = old.release, ""
    if before.package != new.package:
        reason = f"the app is from the package {before.package!r}, this one is {new.package!r}"
    elif before.signer is not None and before.signer != new.signer:
        reason = f"the app was signed by {before.signer}, this package is signed by {new.signer or 'nobody'}"
    elif version_key(new.version) < version_key(before.version):
        reason = f"version {before.version} is installed, which is newer than {new.version}"
    elif version_key(new.version) == version_key(before.version) and _content(before) != _content(new):
        reason = f"version {before.version} is installed with another content; raise the version"
    if reason:
        raise PackageError(f"app {new.app!r}: {reason}; force it if that is meant", "manifest.json")


def _content(release: Release) -> bytes:
    from msgspec.structs import replace

    return dump(replace(release, signer=None, version=""))


def _check_handlers(release: Release, options: Options) -> None:
    """Refuse what nobody here can handle: installed without it, the app would silently be another one."""
    needs: list[tuple[object, str, str, str]] = [
        (options.load_records, f"records/{release.app}.ndjson", "records", "a storage (plugin mix-db)"),
        (options.load_files, f"files/{release.app}/", "files", "a file system (plugin mix-files)"),
    ]
    for handler, entry, what, remedy in needs:
        if handler is None and any(path.startswith(entry) for path in release.entries):
            raise PackageError(
                f"the package brings {what}, and there is nothing to keep them; it needs {remedy}", entry
            )
    if release.save_options and options.load_records is None:
        raise PackageError(
            "save_options are for a storage (plugin mix-db), and there is none here", "manifest.json"
        )
    if release.setup is not None and options.run_setup is None:
        raise PackageError(
            f"the package wants agent {release.setup!r} run after the install, which is not possible here: "
            "install it through a server, or with a profile",
            "manifest.json",
        )


def _check_size(package: Package, paths: dict[str, str]) -> None:
    size = sum(package.archive.entries[path].size for path in paths.values())
    if size > MAX_CODE:
        raise PackageError(
            f"expected at most {MAX_CODE} bytes of new code in one install, found {size}; make several packages of it"
        )


def _validate(package: Package, planned: list[Installation], validate: Validate | None) -> None:
    for new in planned if validate is not None else ():
        for name, agent in new.release.agents.items():
            try:
                validate(agent.entry or name, package.archive.read(agent.code))  # type: ignore[misc]
            except MixError as exc:
                raise PackageError(f"the code of agent {name!r} cannot be used: {exc}", agent.code) from exc


def _fill(place: Place, package: Package, new: Installation, options: Options) -> None:
    release = new.release
    paths = {digest: path for path, digest in release.code().items()}
    with closing(InstalledApp(place, new, lambda digest: package.archive.read(paths[digest]))) as app:
        records, files = f"records/{release.app}.ndjson", release.files()
        if options.load_records is not None and records in release.entries:
            options.load_records(app, package.lines(records), release.save_options)
        if options.load_files is not None and files:
            prefix = f"files/{release.app}/"
            options.load_files(
                app, ((path.removeprefix(prefix), package.archive.chunks(path)) for path in files)
            )
        if options.run_setup is not None and release.setup is not None:
            options.run_setup(app, release.setup)
