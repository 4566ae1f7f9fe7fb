"""From a source folder to a package, and from a package to a signed one. Equal sources make equal bytes.

The folder has the layout of a package: `manifest.json`, `runtime.json`, `code/`, `records/`, `files/`.
Besides, an agent's `code` may name any file of the folder, which is put to `code/<app>/` under its own name. A source
is compiled.
Whatever else lies in the folder (sources, a README, tests) stays out.
"""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeAlias

import msgspec

from mixkit._fault import step
from mixkit.errors import PackageError
from mixkit.package import agreement, manifest, signature
from mixkit.package.manifest import AgentSpec, Manifest
from mixkit.package.package import RUNTIME, Package
from mixkit.package.zip_headers import check_path
from mixkit.vm.manifest import manifest_of

__all__ = ["FOLDERS", "build", "pack", "sign"]

Content: TypeAlias = Callable[[], bytes]
Compiled: TypeAlias = Callable[[Path], tuple[str, bytes] | None]
"""The name and the code that a source becomes; None for what is no source."""
Said: TypeAlias = Callable[[bytes], Mapping[str, Any] | None]
"""What code says of itself; None if it says nothing that can be read."""

_TIME: Final = (1980, 1, 1, 0, 0, 0)
_MODE: Final = 0o100644 << 16
FOLDERS: Final = ("code", "records", "files")
"""Folders of which everything is part of the package."""


def _as_it_is(path: Path) -> None:
    """No file is a source."""


def _says_nothing(code: bytes) -> None:
    """No code is read."""


def build(
    folder: Path,
    private_key: bytes | None = None,
    compiled: Compiled = _as_it_is,
    said: Said = _says_nothing,
) -> bytes:
    """The package that a source folder describes, signed if a private key (PEM) is given.

    Where its manifest does not say what an agent does, takes and answers, that is what the agent's code says.

    Args:
        compiled: what becomes of an agent's code that is a source: `Kernel.compiled`.
        said: what code says of itself that is no Wasm module: `Kernel.said`.

    Raises:
        PackageError: the folder does not make a package that could be installed.
        OSError: a file cannot be read.
        MixError: what `compiled` raises.
    """
    try:
        written = Manifest.decode((folder / manifest.ENTRY).read_bytes(), source=True)
    except FileNotFoundError:
        raise PackageError(
            f"expected a manifest in the folder {folder}, found none", manifest.ENTRY
        ) from None
    entries: dict[str, Content] = {}
    for top in FOLDERS:
        for path in _files(folder / top):
            entries[path.relative_to(folder).as_posix()] = path.read_bytes
    if (folder / RUNTIME).is_file():
        entries[RUNTIME] = (folder / RUNTIME).read_bytes
    resolved = _resolve(folder, written, entries, compiled, said)
    entries[manifest.ENTRY] = resolved.encode
    packed = pack(entries)
    return _checked(packed) if private_key is None else sign(Package.open(packed), private_key)


def sign(package: Package, private_key: bytes) -> bytes:
    """The same package with a signature by that private key (PEM), in the place of any that it had."""
    signed = signature.sign(signature.signed_text(package.digests), private_key)
    entries: dict[str, Content] = {path: _reader(package, path) for path in package.archive.entries}
    return _checked(pack(entries | {signature.ENTRY: signed.encode}))


def pack(entries: Mapping[str, Content]) -> bytes:
    """A zip of these entries: sorted, without times or owners, so that equal entries give equal bytes."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        # The manifest first, so that `file`, `head` and people meet it first.
        for path in sorted(entries, key=lambda path: (path != manifest.ENTRY, path.encode())):
            info = zipfile.ZipInfo(check_path(path), _TIME)
            info.external_attr, info.create_system = _MODE, 3
            data = entries[path]()
            archive.writestr(info, data, zipfile.ZIP_DEFLATED if len(data) > 64 else zipfile.ZIP_STORED, 9)
    return out.getvalue()


def _checked(packed: bytes) -> bytes:
    # What we build is what we would install.
    package = Package.open(packed)
    package.verify()
    agreement.check(package)
    return packed


def _reader(package: Package, path: str) -> Content:
    return lambda: package.archive.read(path)


def _resolve(
    folder: Path, written: Manifest, entries: dict[str, Content], compiled: Compiled, said: Said
) -> Manifest:
    """The manifest with every `code` where it is in the package; adds to `entries` what was elsewhere."""
    apps, origins = {}, dict[str, Path]()
    for app, spec in written.apps.items():
        agents = {}
        for name, agent in spec.agents.items():
            code = agent.code
            if code not in entries or not code.startswith(f"code/{app}/"):
                code = _adopt(folder, app, agent, entries, origins, compiled)
            agents[name] = _completed(
                name, msgspec.structs.replace(agent, code=code), app, said(entries[code]())
            )
        apps[app] = msgspec.structs.replace(spec, agents=agents)
    return msgspec.structs.replace(written, apps=apps)


def _completed(name: str, agent: AgentSpec, app: str, said: Mapping[str, Any] | None) -> AgentSpec:
    """The agent with what its code says where the manifest is silent. What both say may not contradict each other."""
    if said is None:
        return agent
    agreement.check_agent(name, agent, manifest_of(said, agent.code), f"$.apps{step(app)}.agents{step(name)}")
    entry = said["entries"].get(agent.entry or name, {})
    return msgspec.structs.replace(
        agent,
        description=agent.description or entry.get("description", ""),
        in_params=entry.get("inParams") if agent.in_params is None else agent.in_params,
        out_params=entry.get("outParams") if agent.out_params is None else agent.out_params,
    )


def _adopt(
    folder: Path,
    app: str,
    agent: AgentSpec,
    entries: dict[str, Content],
    origins: dict[str, Path],
    compiled: Compiled,
) -> str:
    source = folder / check_path(agent.code)
    if not source.is_file() or not source.resolve().is_relative_to(folder.resolve()):
        raise PackageError(
            f"app {app!r} names code that is not a file of the folder {folder}; if it is built, build it first",
            agent.code,
        )
    made = compiled(source)
    path = f"code/{app}/{source.name if made is None else made[0]}"
    if path in entries and origins.get(path) != source:
        raise PackageError(f"two files would become the entry {path}; rename one", agent.code)
    origins[path] = source
    entries[path] = source.read_bytes if made is None else partial(bytes, made[1])
    return path


def _files(folder: Path) -> list[Path]:
    """All files below a folder. A link is refused: what it points to may be nobody's business."""
    found = []
    for directory, folders, files in os.walk(folder):
        for name in [*folders, *files]:
            path = Path(directory, name)
            if path.is_symlink() or not (path.is_file() or path.is_dir()):
                raise PackageError(
                    f"expected plain files and folders, found a link or a device in {folder}", str(path)
                )
        found += [Path(directory, name) for name in files]
    return found
