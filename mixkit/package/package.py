"""A `.remix` package, opened: manifest, settings, contents, signature."""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from mixkit.errors import PackageError
from mixkit.grants import Grants
from mixkit.package import manifest, signature
from mixkit.package.app import no_file
from mixkit.package.archive import Archive, ArchiveLimits, lines_in
from mixkit.package.document import MAX_DOCUMENT, parse
from mixkit.package.manifest import Manifest
from mixkit.package.release import Release
from mixkit.package.signature import Signature

__all__ = ["RUNTIME", "Package"]

RUNTIME = "runtime.json"
_DOCUMENTS = (manifest.ENTRY, RUNTIME, signature.ENTRY)


class Package:
    """A package whose layout and manifest are right. Its contents are checked as they are read.

    Attributes:
        archive: the entries.
        manifest: what the package says of itself.
        settings: from `runtime.json`: name of the app to its settings.
        signature: as found, not yet verified; None if the package is not signed.
    """

    def __init__(self, archive: Archive) -> None:
        self.archive = archive
        self.manifest = Manifest.decode(self._document(manifest.ENTRY))
        self._check_layout()
        self.settings = self._read_settings() if RUNTIME in archive.entries else {}
        self.signature = (
            Signature.decode(self._document(signature.ENTRY)) if signature.ENTRY in archive.entries else None
        )

    @classmethod
    def open(cls, source: Path | str | bytes, limits: ArchiveLimits | None = None) -> Package:
        """The package in a file, or in bytes.

        Raises:
            PackageError: it is refused; the message names the entry.
            OSError: the file cannot be read.
        """
        limits = limits or ArchiveLimits()
        return cls(
            Archive(source if isinstance(source, bytes) else _read(Path(source), limits.packed), limits)
        )

    @property
    def name(self) -> str:
        return self.manifest.name

    @property
    def version(self) -> str:
        return self.manifest.version

    @cached_property
    def grants(self) -> Grants:
        """The powers that the package asks for."""
        return self.manifest.grants.to_grants()

    @cached_property
    def digests(self) -> Mapping[str, str]:
        """Path to SHA-256, in hex, of every entry but `SIGNATURE`. Reads, and so checks, the whole package.

        Raises:
            PackageError: an entry is damaged.
        """
        return self.check()

    def check(self, progress: Callable[[int], object] = lambda size: None) -> Mapping[str, str]:
        """`digests`, with `progress` called with the size in bytes of each piece that was read."""
        digests = {}
        for path in sorted(self.archive.entries.keys() - {signature.ENTRY}):
            digest = hashlib.sha256()
            for chunk in self.archive.chunks(path):
                digest.update(chunk)
                progress(len(chunk))
            digests[path] = digest.hexdigest()
        self.__dict__["digests"] = digests
        return digests

    @property
    def digest(self) -> str:
        """SHA-256, in hex, of the text that a signature signs: of what is inside, however it is packed."""
        return hashlib.sha256(signature.signed_text(self.digests)).hexdigest()

    def verify(self, trusted: Iterable[str] | None = None) -> str | None:
        """Check every entry, and the signature if there is one.

        Args:
            trusted: public keys, one of which must have signed the package; None to accept any key, or none.

        Returns:
            The public key that signed it, None if it is not signed.

        Raises:
            PackageError: damaged, wrongly signed, or not signed by a trusted key.
        """
        text = signature.signed_text(self.digests)
        if self.signature is not None:
            return self.signature.verify(text, trusted)
        if trusted is not None:
            raise PackageError(
                "the package is not signed, and only packages of trusted keys are accepted here"
            )
        return None

    def release(self, app: str, *, signer: str | None = None) -> Release:
        """What the package brings for that app."""
        setup = self.manifest.setup_agent()
        records = f"records/{app}.ndjson"
        return Release(
            app=app,
            package=self.name,
            version=self.version,
            signer=signer,
            agents=self.manifest.apps[app].agents,
            widgets=self.manifest.apps[app].widgets,
            grants=self.manifest.grants,
            limits=self.manifest.limits,
            settings=self.settings.get(app, {}),
            save_options=self.manifest.save_options,
            setup=setup[1] if setup and setup[0] == app else None,
            entries={path: digest for path, digest in self.digests.items() if _owner(path) == app},
            records=sum(1 for _ in self.lines(records)) if records in self.archive.entries else 0,
        )

    def file(self, app: str, name: str) -> bytes:
        """A file in the folder of the app's code, by its path below it.

        Raises:
            NotFound: there is none.
            PackageError: it is damaged.
        """
        folder = f"code/{app}/"
        entries = self.archive.entries
        if folder + name not in entries:
            raise no_file(name, (path.removeprefix(folder) for path in entries if path.startswith(folder)))
        return self.archive.read(folder + name)

    def lines(self, path: str) -> Iterator[bytes]:
        """The lines of an entry that are not empty, without their ends."""
        return lines_in(self.archive.chunks(path), path)

    def _document(self, path: str) -> bytes:
        entry = self.archive.entries.get(path)
        if entry is None:
            raise PackageError("the package has no such entry, which it must have", path)
        if entry.size > MAX_DOCUMENT:
            raise PackageError(f"expected at most {MAX_DOCUMENT} bytes, found {entry.size}", path)
        return self.archive.read(path)

    def _check_layout(self) -> None:
        entries, apps = self.archive.entries, self.manifest.apps
        for path in entries:
            if path not in _DOCUMENTS and _owner(path) not in apps:
                raise PackageError(
                    "unknown entry; a package has manifest.json, runtime.json, SIGNATURE, and code/APP/…, "
                    f"records/APP.ndjson, files/APP/… of its apps ({', '.join(apps)})"[:400],
                    path,
                )
        for app, spec in apps.items():
            for agent in spec.agents.values():
                if agent.code not in entries:
                    raise PackageError(
                        f"the package lacks the entry, which app {app!r} names as code", agent.code
                    )

    def _read_settings(self) -> dict[str, dict[str, Any]]:
        document = parse(self._document(RUNTIME), RUNTIME)
        if not isinstance(document, dict):
            raise PackageError("expected an object", RUNTIME)
        if self.manifest.kind == "app":
            return {next(iter(self.manifest.apps)): document}
        for app, settings in document.items():
            if app not in self.manifest.apps or not isinstance(settings, dict):
                raise PackageError(f"expected app names to objects, found the key {app!r:.80}", RUNTIME)
        return document


def _owner(path: str) -> str | None:
    """The app that an entry belongs to, by its path."""
    top, _, rest = path.partition("/")
    if top == "records":
        return rest.removesuffix(".ndjson") if rest.endswith(".ndjson") else None
    app, slash, _ = rest.partition("/")
    return app if slash and top in ("code", "files") else None


def _read(path: Path, most: int) -> bytes:
    if not stat.S_ISREG(path.stat().st_mode):
        raise PackageError(f"expected a file, found something else at {path}")
    with path.open("rb") as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise PackageError(f"a package has at most {most} bytes, found more at {path}")
    return data
