"""Agents that the command line can run: entries of a module, agents of a package or of a source folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from mixkit.errors import NotFound
from mixkit.grants import Grants
from mixkit.near import meant
from mixkit.schema import ANY, Type
from mixkit.shape import declared

if TYPE_CHECKING:
    from mixkit.databases import Apps
    from mixkit.environment import Env
    from mixkit.job import Agents, Target
    from mixkit.kernel import Kernel
    from mixkit.limits import Limits
    from mixkit.package import Package
    from mixkit.state import State
    from mixkit.storage import Place

__all__ = [
    "Runnable",
    "described",
    "env_of",
    "find",
    "find_all",
    "limits_of",
    "of_package",
    "others_of",
    "pick",
]

MANIFEST = "manifest.json"
"""What makes a folder one of a package."""


@dataclass(frozen=True, slots=True)
class Runnable:
    """Something to run.

    Attributes:
        name: what the user types: an entry, or `app/agent`.
        entry: what the code calls it.
        grants: what the package asks for; None for a module without one, which asks for itself.
        settings: of the app, which are put into the environment.
        workspace, place, apps: of an installed app: where it is, its database, and how it names the other apps.
    """

    name: str
    entry: str
    code: bytes = field(repr=False)
    description: str = ""
    params: Type = ANY
    result: Type = ANY
    grants: Grants | None = None
    limits: Mapping[str, int | float] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    app: str | None = None
    workspace: str | None = None
    place: Place | None = None
    apps: Apps | None = None


def find_all(kernel: Kernel, path: Path) -> dict[str, Runnable]:
    """Everything that can be run in a module, a source, a `.remix` package, or a folder that makes a package.

    Raises:
        NotFound: no such file.
        PackageError, EngineError, GuestError: it is none of these.
    """
    if path.is_dir() and not (path / MANIFEST).is_file():
        raise NotFound(
            f"expected a module, a source, a .remix package, or a folder with a {MANIFEST}, found {str(path)!r}"
        )
    if path.is_dir() or path.suffix == ".remix":
        return of_package(_open(path, kernel))
    code = kernel.read(path)
    program = kernel.load(code, path.name)
    return {
        name: Runnable(name, name, code, entry.description, entry.params, entry.result)
        for name, entry in program.entries.items()
    }


def described(kernel: Kernel, item: Runnable) -> Runnable:
    """The same, with what the code says of itself where the package is silent."""
    if item.params != ANY and item.result != ANY and item.description:
        return item
    entry = kernel.load(item.code, item.name).entry(item.entry)
    return replace(
        item,
        params=entry.params if item.params == ANY else item.params,
        result=entry.result if item.result == ANY else item.result,
        description=item.description or entry.description,
    )


def find(kernel: Kernel, path: Path, name: str) -> tuple[Runnable, dict[str, Runnable]]:
    """The one of that name, and all; an agent may go without its app where that is clear.

    Raises:
        NotFound: lists the names that there are.
    """
    found = find_all(kernel, path)
    if not found and path.suffix == ".wasm":
        # A guest without a manifest that dispatches names by itself.
        return Runnable(name, name, path.read_bytes()), {}
    return pick(found, str(path), name), found


def pick(found: Mapping[str, Runnable], where: str, name: str) -> Runnable:
    """The one of that name, which may go without its app where that is clear.

    Args:
        where: it is looked for, for the message.

    Raises:
        NotFound: lists the names that there are.
    """
    fitting = [item for key, item in found.items() if name in (key, key.rpartition("/")[2])]
    if len(fitting) == 1 or (fitting and fitting[0].name == name):
        return fitting[0]
    known = [item.name for item in fitting or found.values()]
    there = f"there is {', '.join(known) or 'nothing that can be run'}"
    if fitting:
        raise NotFound(f"{where}: {name!r} is more than one agent; {there}")
    names = [other.rpartition("/")[2] for other in known] if "/" not in name else known
    raise NotFound(f"{where}: no entry {name!r}; {there}{meant(name, names)}")


def env_of(runnable: Runnable, extra: Mapping[str, Any] = MappingProxyType({})) -> Env:
    """What it sees around it."""
    from mixkit.environment import Env

    return Env(workspace=runnable.workspace, app=runnable.app, extra={**runnable.settings, **extra})


def limits_of(kernel: Kernel, runnable: Runnable, timeout: float | None = None) -> Limits:
    """The limits of a run: the kernel's, narrowed by the package, and by so many seconds if they are given."""
    import msgspec

    limits = kernel.limits.narrowed(msgspec.structs.replace(kernel.limits, **runnable.limits))
    return (
        limits
        if timeout is None
        else msgspec.structs.replace(limits, wall_time=min(timeout, limits.wall_time))
    )


def others_of(
    kernel: Kernel,
    runnable: Runnable,
    found: Mapping[str, Runnable],
    grants: Grants | None,
    place: Place | None = None,
) -> Agents:
    """How an agent of a package calls the others of its app, under the same grants, with the same database."""
    import asyncio

    from mixkit.job import Agents, Target

    async def resolve(state: State, name: str) -> Target:
        other = found.get(name) or found.get(f"{runnable.app}/{name}")
        if other is None or other.app != runnable.app:
            raise NotFound(f"no agent {name!r} in app {runnable.app!r}")
        program = await asyncio.to_thread(kernel.load, other.code, other.name)
        return Target(
            program,
            other.entry,
            grants,
            place=place,
            apps=runnable.apps,
            check=declared(other.params),
            answer=declared(other.result),
        )

    return Agents(resolve)


def _open(path: Path, kernel: Kernel) -> Package:
    from mixkit.package import Package

    if path.is_dir():
        from mixkit.package.build import build

        return Package.open(build(path, compiled=kernel.compiled, said=kernel.said))
    try:
        return Package.open(path)
    except FileNotFoundError:
        raise NotFound(f"no such file {str(path)!r}") from None


def of_package(package: Package) -> dict[str, Runnable]:
    """The agents of a package."""
    from mixkit.databases import Apps
    from mixkit.package.manifest import param_types

    found = {}
    for app, spec in package.manifest.apps.items():
        for agent, about in spec.agents.items():
            params, result = param_types(about)
            found[f"{app}/{agent}"] = Runnable(
                f"{app}/{agent}",
                about.entry or agent,
                package.archive.read(about.code),
                about.description,
                params,
                result,
                package.grants,
                package.manifest.limits,
                package.settings.get(app, {}),
                app,
                apps=Apps(_alone, partial(package.file, app)),
            )
    return found


def _alone(name: str) -> Place:
    raise NotFound(f"no app {name!r:.80}: this run was started alone, without other apps")
