"""An installed app, as it was at the moment when it was looked up."""

from __future__ import annotations

import hashlib
import os
import weakref
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any, Literal

import msgspec

from mixkit.errors import NotFound, PackageError
from mixkit.grants import NONE, Grants
from mixkit.package import disk
from mixkit.package.document import dump, load
from mixkit.package.manifest import GrantsSpec, param_types
from mixkit.package.release import Release
from mixkit.schema import RecordType, ScalarType, Type

__all__ = ["APP_FILE", "Agent", "Installation", "InstalledApp"]

APP_FILE = "app.json"


@dataclass(frozen=True, slots=True)
class Agent:
    """An agent of an installed app.

    Attributes:
        code: path of its code, as in the package.
        entry: what the code calls it.
        in_params, out_params: types of parameters and result, `mixkit.schema.ANY` where the package is
            silent.
    """

    name: str
    code: str
    entry: str
    description: str
    in_params: RecordType | ScalarType
    out_params: Type


class Installation(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`app.json` of a version: what the package brought, and what was allowed.

    `consent` is what somebody said yes to, all of which must allow a call; it outlives upgrades, so that a
    package that suddenly asks for more does not get it.
    """

    format: Literal[1] = 1
    release: Release
    consent: list[GrantsSpec]

    @property
    def generation(self) -> str:
        """Hash of everything that runs of the app depend on; the name of the version's directory."""
        return hashlib.sha256(dump(self)).hexdigest()[:32]

    def grants(self) -> Grants:
        """What the app may do: requested, and consented to."""
        layers = [self.release.grants, *(spec for spec in self.consent if spec != self.release.grants)]
        return reduce(Grants.__and__, (spec.to_grants() for spec in layers))


class InstalledApp:
    """An app and, unless it is still empty, the version of its code that was current when it was looked up.

    It stays readable as long as this object lives, whatever is installed or deleted meanwhile. Close it, or
    drop it, when the run is over.

    Attributes:
        generation: content hash; another one after each install that changed something; `""` without code.
        version: of the package; `""` without code.
        agents: by name.
        grants: what the agents may call: requested by the package and granted at the install.
        limits: requested by the package, names of `mixkit.limits.Limits` to values.
        settings: from `runtime.json`, to be merged into the environment.
        data: directory for what the app itself stores. The store never looks into it, and keeps it on
            upgrades.
    """

    def __init__(self, workspace: str, name: str, home: Path, generation: str, lease: int | None) -> None:
        self.workspace = workspace
        self.name = name
        self.generation = generation
        self.data = home / "data"
        self._directory = lease
        self._close = weakref.finalize(self, os.close, lease) if lease is not None else None
        self.installation = self._read() if lease is not None else None
        release = self.release
        self.version = release.version if release else ""
        self.agents: dict[str, Agent] = {}
        self.grants: Grants = self.installation.grants() if self.installation else NONE
        self.limits: dict[str, int | float] = dict(release.limits) if release else {}
        self.settings: dict[str, Any] = release.settings if release else {}
        for agent, spec in release.agents.items() if release else ():
            params, result = param_types(spec)
            self.agents[agent] = Agent(
                agent, spec.code, spec.entry or agent, spec.description, params, result
            )

    @property
    def release(self) -> Release | None:
        """What the package brought; None for an app that was made empty."""
        return self.installation.release if self.installation else None

    def code(self, agent: str) -> bytes:
        """The code of an agent.

        Raises:
            NotFound: no such agent.
            PackageError: the code on the disk is not what was installed.
        """
        found = self.agents.get(agent)
        if found is None or self.release is None:
            raise NotFound(
                f"no agent {agent!r:.80} in app {self.name!r}; there are: {', '.join(self.agents) or 'none'}"
            )
        return self._entry(found.code)

    def check(self) -> None:
        """Read all code. `PackageError` if the code on the disk is not what was installed."""
        for path in self.release.code() if self.release else ():
            self._entry(path)

    def close(self) -> None:
        """Let the version be removed when it is no longer the current one. Idempotent."""
        self._directory = None
        if self._close is not None:
            self._close()

    def _read(self) -> Installation:
        entry = f"{self.name}/{APP_FILE}"
        return load(self._file(APP_FILE), Installation, entry)

    def _entry(self, path: str) -> bytes:
        content = self._file(path)
        assert self.release is not None, "only an app with code has entries"
        if hashlib.sha256(content).hexdigest() != self.release.entries[path]:
            raise PackageError(
                f"this code of app {self.name!r} was changed on the disk; install it again", path
            )
        return content

    def _file(self, path: str) -> bytes:
        if self._directory is None:
            raise NotFound(f"app {self.name!r} was closed, or has no code")
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._directory)
        except FileNotFoundError:
            raise PackageError(f"this file of app {self.name!r} is gone; install it again", path) from None
        with open(fd, "rb") as file:  # noqa: PTH123 - relative to a descriptor, which pathlib cannot do
            return file.read()

    def __repr__(self) -> str:
        return f"<InstalledApp {self.workspace}/{self.name} {self.version} {self.generation[:8]}>"


def open_version(workspace: str, name: str, home: Path, generation: str) -> InstalledApp | None:
    """The app with that version of its code; None if the version is gone or going."""
    if not generation:
        return InstalledApp(workspace, name, home, generation, None)
    lease = disk.lease(home / "versions" / generation)
    return None if lease is None else InstalledApp(workspace, name, home, generation, lease)
