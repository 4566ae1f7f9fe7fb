"""The installed agents, ready to run: found by name, compiled once, looked up again when installed anew."""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import msgspec

from mix_server.caller import Resource
from mixkit import job
from mixkit.databases import Apps, gone, load_records
from mixkit.environment import Env
from mixkit.errors import GrantError, InternalError, NotFound, PackageError
from mixkit.grants import Grants, overlap
from mixkit.job import Agents
from mixkit.limits import Limits
from mixkit.near import meant
from mixkit.outside import foreign
from mixkit.package import Package
from mixkit.package.diff import AppDiff, diff
from mixkit.package.errors import BadName
from mixkit.package.names import check_name
from mixkit.package_files import load_files
from mixkit.schema import ANY, Type
from mixkit.shape import Declared, declared

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterator

    from mix_server.caller import Caller
    from mixkit.kernel import Kernel
    from mixkit.package import Installed, InstalledApp, Workspace, WorkspaceStore
    from mixkit.state import State
    from mixkit.storage import Place
    from mixkit.vm.program import Program

__all__ = ["Catalog", "Target"]


@dataclass(frozen=True, slots=True)
class Target:
    """An agent, ready to run.

    Attributes:
        workspace: says which installation of the app is current; None for one that is only being installed.
        generation: of the app's installation that this is from.
        entry: what the program calls it.
        params, result: its types, as the package says, or else the program.
        check, answer: make parameters and result fit what the package says; what the program says, the kernel checks.
        limits: the profile's, narrowed by what the package asks for.
        env: the part of the environment that all runs of the app share.
        agents: makes, of who asks and of the run that began it, if that is another one, how it calls other agents.
        place: where the app's database is.
        apps: how it names the other apps of its workspace, whose databases its grants may open.
    """

    workspace: Workspace | None
    generation: str
    program: Program
    entry: str
    description: str
    params: Type
    result: Type
    check: Declared | None
    answer: Declared | None
    grants: Grants
    limits: Limits
    env: Env
    agents: Callable[..., Agents]
    place: Place
    apps: Apps

    def is_current(self) -> bool:
        """Whether its app is still there and nothing else was installed since, by any process, as far as a glance
        shows."""
        workspace = self.workspace
        return workspace is not None and workspace.is_current(self.place, self.generation)


_MOST_NOTED: Final = 1_000
"""Calls of one run that are told of: it must not drive out what is noted of all others."""

Key = tuple[str, str, str]
MayCall: TypeAlias = "Callable[[Caller, Resource, Resource], Awaitable[bool]]"
Called: TypeAlias = "Callable[[Caller, Resource, Resource, str, float, BaseException | None], None]"
"""Who asked, the agent that called and the one that was called, the run, the seconds, and what it failed with."""


class _Begun:
    """A run that somebody asked for, with all that it calls."""

    __slots__ = ("noted", "run")

    def __init__(self, run: str) -> None:
        self.run = run
        self.noted = 0


class Catalog:
    """The agents of all workspaces. An LRU, as large as the kernel's of compiled programs.

    Every look-up asks the store, for some microseconds, which version of the app is current: so an install counts
    from the next request on, in every worker.

    Args:
        extra: added to every agent's environment, under what the app's own settings say.
        may_call: whether one agent, for somebody, may call another one of another app.
        called: told of each call that has ended, the first thousand of each run.
    """

    def __init__(
        self,
        kernel: Kernel,
        store: WorkspaceStore,
        extra: dict[str, Any],
        may_call: MayCall,
        called: Called | None = None,
    ) -> None:
        self._kernel = kernel
        self._store = store
        self._extra = extra
        self._may_call = may_call
        self._called = called
        self._size: int = kernel.settings("kernel").programs
        self._targets: OrderedDict[Key, Target] = OrderedDict()
        self._loading: dict[Key, asyncio.Task[Target]] = {}

    def at_hand(self, ws: str, app: str, agent: str) -> Target | None:
        """The agent of that name if it was loaded, and is what is installed."""
        key = (ws, app, agent)
        found = self._targets.get(key)
        if found is None or not found.is_current():
            return None
        self._targets.move_to_end(key)
        return found

    async def target(self, ws: str, app: str, agent: str) -> Target:
        """The agent of that name.

        Raises:
            NotFound: no such workspace, app or agent.
            EngineError, GuestError, PackageError: its code cannot be used.
        """
        found = self.at_hand(ws, app, agent)
        if found is not None:
            return found
        key = (ws, app, agent)
        task = self._loading.get(key)
        if task is not None:
            found = await asyncio.shield(task)
            if found.is_current():
                return found
            # It had been read before what this caller already knows of was installed.
            task = self._loading.get(key)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._load(key))
            self._loading[key] = task
            # Nobody may wait for it by the time it fails, and then the event loop would log it as forgotten.
            task.add_done_callback(lambda done: done.cancelled() or done.exception())
        # One compiles, for all who wait, even if the one who asked first goes away.
        return await asyncio.shield(task)

    async def of_installed(self, app: InstalledApp, agent: str) -> Target:
        """An agent of an app that has been looked up: to be read, not to be run. Errors as those of `target`."""
        found = self.at_hand(app.workspace, app.name, agent)
        if found is not None and found.generation == app.generation:
            return found
        with foreign(lambda reason: InternalError(f"the agent cannot be loaded: {reason}")):
            return await asyncio.to_thread(self._target, None, app, agent)

    def _agents(self, place: Place, agent: str, who: Caller, begun: _Begun | None = None) -> Agents:
        """How an agent calls others, in the name of who asked: those of its app by their names, which it always may,
        and those of another one as `APP/AGENT`, if that is granted to who asked or to the agent.

        A run knows its app by the place: another one that is made under the name is not its own.

        Args:
            begun: the run that began it all, if this one was called itself.
        """
        calling = Resource(place.workspace, place.app, agent)
        first = begun

        async def resolve(state: State, name: str) -> job.Target:
            nonlocal first
            first = first or _Begun(state.run_id)
            app, _, called = name.rpartition("/")
            if app in ("", place.app):
                other = await self.target(place.workspace, place.app, called)
                if other.place != place:
                    raise gone(place)
            else:
                other = await self._of_another_app(place, agent, who, app, called)
            env = other.env.for_request(user=state.env.user, headers={}, body=None)
            ended = None
            if self._called is not None and first.noted < _MOST_NOTED:
                first.noted += 1
                resource = Resource(place.workspace, other.place.app, called)
                ended = partial(self._called, who, calling, resource, first.run)
            return job.Target(
                other.program,
                other.entry,
                other.grants,
                env,
                other.limits,
                other.place,
                other.apps,
                other.check,
                other.answer,
                other.agents(who, first),
                ended,
            )

        return Agents(resolve)

    async def _of_another_app(self, place: Place, agent: str, who: Caller, app: str, called: str) -> Target:
        """The agent of another app. `NotFound` says the same if there is none and if it may not be called."""
        ws = place.workspace
        with contextlib.suppress(NotFound, BadName):
            wanted = Resource(ws, check_name("app", app), check_name("agent", called))
            if await self._may_call(who, Resource(ws, place.app, agent), wanted):
                # What was granted to an app is not for what began with one that had its name before.
                beside = self._store.workspace(ws).place_beside(place, app)
                found = await self.target(ws, app, called)
                if found.place == beside:
                    return found
        raise NotFound(
            f"no agent {f'{app}/{called}'!r:.160} that may be called from app {place.app!r}: who asks needs a grant "
            "for it, or the agent that calls"
        )

    def _apps(self, place: Place, generation: str) -> Apps:
        """How an app names the others of its workspace, and its own files: the store decides what is one."""

        def resolve(name: str) -> Place:
            return self._store.workspace(place.workspace).place_beside(place, name)

        def file(name: str) -> bytes:
            return self._store.workspace(place.workspace).file(place, generation, name)

        return Apps(resolve, file)

    async def _load(self, key: Key) -> Target:
        try:
            # In a task of its own: what leaves it there ends the event loop.
            with foreign(lambda reason: InternalError(f"the agent cannot be loaded: {reason}")):
                target = await asyncio.to_thread(self._read, *key)
            self._targets[key] = target
            while len(self._targets) > self._size:
                self._targets.popitem(last=False)
            return target
        except BaseException:
            self._targets.pop(key, None)
            raise
        finally:
            del self._loading[key]

    def _read(self, ws: str, app: str, name: str) -> Target:
        workspace = self._store.workspace(ws)
        return self._target(workspace, workspace.app(app), name)

    def _target(self, workspace: Workspace | None, installed: InstalledApp, name: str) -> Target:
        code = installed.code(name)
        agent = installed.agents[name]
        program = self._kernel.load(code, f"{installed.name}/{name}")
        entry = program.entry(agent.entry)
        return Target(
            workspace=workspace,
            generation=installed.generation,
            program=program,
            entry=agent.entry,
            description=agent.description or entry.description,
            params=entry.params if agent.in_params == ANY else agent.in_params,
            result=entry.result if agent.out_params == ANY else agent.out_params,
            check=declared(agent.in_params),
            answer=declared(agent.out_params),
            grants=installed.grants,
            limits=self._limits(installed),
            env=self._env(installed),
            agents=partial(self._agents, installed.place, name),
            place=installed.place,
            apps=self._apps(installed.place, installed.generation),
        )

    def _limits(self, installed: InstalledApp) -> Limits:
        own = self._kernel.limits
        if not installed.limits:
            return own
        return own.narrowed(msgspec.structs.replace(own, **installed.limits))

    def _env(self, installed: InstalledApp) -> Env:
        return Env(
            workspace=installed.workspace,
            app=installed.name,
            host_environment="AgentServer",
            extra={**self._extra, **installed.settings},
        )

    def install(
        self,
        ws: str,
        data: bytes,
        *,
        force: bool,
        granted: Collection[str] | None = None,
        dry_run: bool = False,
    ) -> tuple[Installed, list[str], list[AppDiff]]:
        """Install a package, all or nothing, if its code loads, its grants can be kept and its setup succeeds.

        Answers what was done, of what the package asks for the FFIs that the profile does not have, and what differs
        from what was installed before.

        Args:
            data: the package.
            granted: FFIs and patterns that it may have of what it asks for; None as in
                `mixkit.package.install.Options`.
            force, dry_run: see there.

        Raises:
            NotFound, PackageError, Busy, RunError: nothing was changed.
        """
        workspace = self._store.workspace(ws)
        package = Package.open(data)
        signer = package.verify()
        after = {app: package.release(app, signer=signer) for app in package.manifest.apps}
        changes = diff(workspace.releases(package), after)
        try:
            self._kernel.ffis.check_grants(package.grants)
        except GrantError as exc:
            raise PackageError(str(exc), "manifest.json") from None
        installed = workspace.install(
            package,
            validate=self._kernel.check_code,
            run_setup=self._run_setup,
            load_records=self._load_records,
            load_files=self._load_files if self._kernel.filesystem else None,
            force=force,
            granted=None if granted is None else _typed(package, granted),
            dry_run=dry_run,
        )
        return installed, self._kernel.ffis.unknown_grants(package.grants), changes

    def _run_setup(self, installed: InstalledApp, agent: str) -> None:
        target = self._target(None, installed, agent)
        self._kernel.run_sync(
            target.program,
            target.entry,
            {},
            env=target.env,
            limits=target.limits,
            grants=target.grants,
            place=target.place,
            # The app may not be there yet, and nobody can delete it or its workspace meanwhile.
            apps=Apps(self._store.workspace(installed.workspace).place, installed.file),
        )

    def _load_records(self, installed: InstalledApp, lines: Iterator[bytes], options: dict[str, Any]) -> None:
        load_records(self._kernel.databases.open(installed.place), lines, options)

    def _load_files(self, installed: InstalledApp, items: Iterator[tuple[str, Iterator[bytes]]]) -> None:
        load_files(self._kernel.files.open(installed.place), items)


def _typed(package: Package, granted: Collection[str]) -> Grants:
    """What is granted of what a package asks for. `PackageError` if it asks for nothing like one of the patterns."""
    asked = package.manifest.grants.ffis
    for pattern in granted:
        if not any(overlap(pattern, other) for other in asked):
            raise PackageError(
                f"expected patterns of what the package asks for, {', '.join(asked) or 'nothing'}; found "
                f"{pattern!r:.100}{meant(pattern, asked)}"
            )
    try:
        return Grants(granted)
    except GrantError as exc:
        raise PackageError(str(exc)) from None
