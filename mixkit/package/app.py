"""An installed app, as it was at the moment when it was looked up."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from functools import reduce
from typing import Any, Literal

import msgspec

from mixkit.errors import NotFound, PackageError
from mixkit.grants import NONE, Grants
from mixkit.near import meant
from mixkit.package.document import dump
from mixkit.package.manifest import GrantsSpec, param_types
from mixkit.package.powers import compare, widened
from mixkit.package.release import Release
from mixkit.schema import RecordType, ScalarType, Type
from mixkit.storage import Place

__all__ = ["Agent", "Installation", "InstalledApp", "no_file"]


def no_file(name: str, known: Iterable[str]) -> NotFound:
    """The error of whoever asks for a file of a package that is not there."""
    there = list(known)
    return NotFound(
        f"no file {name!r:.80} among the code of the package; there are: {', '.join(there[:50]) or 'none'}"
        f"{meant(name, there)}"
    )


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
    """A version of an app: what the package brought, and what was allowed.

    `consent` is what somebody said yes to, all of which must allow a call; it outlives upgrades, so that a
    package that suddenly asks for more does not get it.
    """

    format: Literal[1] = 1
    release: Release
    consent: list[GrantsSpec]

    @property
    def generation(self) -> str:
        """Hash of everything that runs of the app depend on."""
        return hashlib.sha256(dump(self)).hexdigest()[:32]

    def withheld(self) -> list[str]:
        """Powers that the package asks for and that somebody did not agree to, for people."""
        asked = self.release.grants
        return sorted({power for spec in self.consent for power in compare(spec, asked).widened})

    def agreed(self, powers: Collection[str]) -> Installation:
        """The same, with somebody's consent to some of `withheld`."""
        asked = self.release.grants
        return msgspec.structs.replace(self, consent=[widened(spec, asked, powers) for spec in self.consent])

    def allowed(self) -> list[str]:
        """Powers that the package asks for and has, for people."""
        asked, withheld = self.release.grants, set(self.withheld())
        options = [
            f"{key}: {item}"
            for key, value in sorted(asked.options.items())
            for item in (value if isinstance(value, list) else [value])
        ]
        return [power for power in (*sorted(set(asked.ffis)), *options) if power not in withheld]

    def grants(self) -> Grants:
        """What the app may do: requested, and consented to."""
        layers = [self.release.grants, *(spec for spec in self.consent if spec != self.release.grants)]
        return reduce(Grants.__and__, (spec.to_grants() for spec in layers))


class InstalledApp:
    """An app and, unless it is still empty, the version of its code that was current when it was looked up.

    It stays readable as long as this object lives, whatever is installed meanwhile, and also if the app is deleted;
    but not if the workspace is. Close it, or drop it, when its code has been read.

    Args:
        read: answers the code with a SHA-256, None if it is missing or damaged.

    Attributes:
        generation: content hash; another one after each install that changed something; `""` without code.
        version: of the package; `""` without code.
        agents: by name.
        grants: what the agents may call: requested by the package and granted at the install.
        limits: requested by the package, names of `mixkit.limits.Limits` to values.
        settings: from `runtime.json`, to be merged into the environment.
        place: where the app's database is; another one for each app that is made, whatever its name.
    """

    def __init__(
        self,
        place: Place,
        installation: Installation | None = None,
        read: Callable[[str], bytes | None] | None = None,
    ) -> None:
        self.workspace = place.workspace
        self.name = place.app
        self.place = place
        self.installation = installation
        self._read = read
        release = self.release
        self.generation = installation.generation if installation else ""
        self.version = release.version if release else ""
        self.agents: dict[str, Agent] = {}
        self.grants: Grants = installation.grants() if installation else NONE
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
            NotFound: no such agent, or the object was closed.
            PackageError: the code in the store is not what was installed.
            StorageError: it cannot be read, because the store is damaged or the workspace was deleted.
        """
        found = self.agents.get(agent)
        if found is None or self.release is None:
            raise NotFound(
                f"no agent {agent!r:.80} in app {self.name!r}; there are: {', '.join(self.agents) or 'none'}"
                f"{meant(agent, self.agents)}"
            )
        return self._content(found.code, self.release.entries[found.code])

    def file(self, name: str) -> bytes:
        """A file that the package has in the folder of the app's code, an agent's or not, by its path below it.

        Raises:
            NotFound, PackageError, StorageError: as `code`.
        """
        code = self.release.code() if self.release else {}
        folder = f"code/{self.name}/"
        if folder + name not in code:
            raise no_file(name, (path.removeprefix(folder) for path in code if path.startswith(folder)))
        return self._content(folder + name, code[folder + name])

    def _content(self, path: str, digest: str) -> bytes:
        if self._read is None:
            raise NotFound(f"app {self.name!r} was closed")
        content = self._read(digest)
        if content is None:
            raise PackageError(
                f"this code of app {self.name!r} is missing in the store, or was changed there; install it again",
                path,
            )
        return content

    def close(self) -> None:
        """Let go of the store. Idempotent."""
        self._read = None

    def __repr__(self) -> str:
        return f"<InstalledApp {self.workspace}/{self.name} {self.version} {self.generation[:8]}>"
