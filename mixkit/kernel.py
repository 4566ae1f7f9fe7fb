"""The kernel: a profile loaded, its plugins registered, and code run with exactly their powers.

An object without globals: several kernels with different profiles may live in one process.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import logging
import os
import threading
import time
import weakref
from collections import OrderedDict
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, TypeAlias, Unpack

import msgspec
import pluggy
from msgspec import Meta

from mixkit import codec, core_ffis
from mixkit.app_files import AppFiles
from mixkit.bus import Bus, LocalBus
from mixkit.contracts import Compiled, WasmEngine
from mixkit.databases import Databases
from mixkit.disk_cache import DiskCache
from mixkit.engines import Choice, Engines, choose
from mixkit.environment import Env
from mixkit.errors import (
    CancelledRun,
    FileError,
    MixError,
    NotFound,
    PluginError,
    ProfileError,
    RunError,
    StorageError,
)
from mixkit.ffi import FFIGroup, FFITable, Registry
from mixkit.forms import Packed
from mixkit.grants import CORE, Grants
from mixkit.job import NO_ENV, Agents, Job, RunOptions, RunResult, fitted, fulfil, in_own_thread, is_much
from mixkit.keyring import VARIABLE, KeyRing, Keys
from mixkit.limits import Budget, Limits
from mixkit.near import meant
from mixkit.outside import foreign, is_ours
from mixkit.plugins import call_each, each, installed, load_plugins
from mixkit.profile import Profile, load_profile
from mixkit.settings import Origin, fill, load_object
from mixkit.signals import Signals
from mixkit.sql import SqlEngine
from mixkit.state import State
from mixkit.variables import refuse_unknown
from mixkit.vm.drive import drive, drive_async
from mixkit.vm.idle import IdleInstances
from mixkit.vm.loop import Run
from mixkit.vm.machine import RunState
from mixkit.vm.portal import Portal
from mixkit.vm.program import Program
from mixkit.vm.snapshot import SnapshotCache
from mixkit.vm.spawned import Spawned
from mixkit.vm.threads import Threads

if TYPE_CHECKING:
    from mixkit.shared_bus import SharedBus

__all__ = ["Code", "Kernel", "KernelSettings"]

_log = logging.getLogger("mixkit.kernel")

Code: TypeAlias = "Program | bytes | str | Path"
Positive = Annotated[int, Meta(ge=1)]
_RUN_OPTIONS = frozenset(RunOptions.__annotations__)


class KernelSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The kernel's own settings, `[settings.kernel]`."""

    slice: Annotated[
        float,
        Meta(
            ge=0,
            le=0.1,
            description="Seconds that a run may hold the event loop before it goes on in a thread; 0: a thread for all "
            "but waiting.",
        ),
    ] = 0.005
    threads: Annotated[
        Positive, Meta(description="Runs at once that compute or are in plugins' code that blocks.")
    ] = 32
    programs: Annotated[Positive, Meta(description="Compiled programs kept in memory.")] = 256
    idle_instances: Annotated[
        int, Meta(ge=0, description="Instances of a program kept for its next run.")
    ] = 8
    idle_bytes: Annotated[
        int,
        Meta(
            ge=0,
            description="Bytes of all instances that wait, of all programs together; the largest go first.",
        ),
    ] = 256 * 1024 * 1024
    idle_mappings: Annotated[
        int,
        Meta(
            ge=0,
            description="Mappings of the process that they take together, of those that the system allows "
            "(vm.max_map_count); a memory takes three or four.",
        ),
    ] = 16_384
    snapshots: Annotated[Positive, Meta(description="Snapshots kept in memory.")] = 256
    snapshot_bytes: Annotated[
        Positive, Meta(description="Bytes of all snapshots in memory, and of those on disk.")
    ] = 512 * 1024 * 1024
    key_file: Annotated[
        str | None,
        Meta(
            description="File of master keys, 32 bytes in base64 each, one a line, that nobody else may read; the "
            "first seals, all open. MIXKIT_SECRETS_KEY goes before; without both it is .keyring/keys in the workspaces."
        ),
    ] = None
    snapshot_dir: Annotated[
        str | None,
        Meta(description="Folder where snapshots outlive the process, for other workers and the next start."),
    ] = None


class Kernel:
    """A loaded profile.

    Args:
        profile: name or path of a profile, or a loaded one.
        config: TOML file laid over it.
        overrides: dotted keys laid over all: `{"settings.http.timeout": 5, "limits.wall_time": 3}`.
        environ: environment variables (the process's own by default).

    Raises:
        ProfileError, PluginError: nothing has been started then.

    Attributes:
        ffis: all FFIs that the profile's plugins give.
        signals: the promises of this process (`mixkit.signals`).
        bus: messages on topics, inside this process (`mixkit.bus`) unless `share_bus` was called.
        limits: what every run is bounded by.
        manager: the plugin manager, for hooks that plugins define themselves.
        origins: for each setting and limit, where its value came from.
        idle: the instances that wait, and what they take together.
        compilers, storage, filesystem: import strings of what the plugins offer and the profile names.
    """

    def __init__(
        self,
        profile: str | Path | Profile = "agent_server",
        *,
        config: str | Path | None = None,
        overrides: Mapping[str, Any] | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        environ = os.environ if environ is None else environ
        if not isinstance(profile, Profile):
            profile = load_profile(profile, config=config, environ=environ, overrides=overrides)
        self.profile = profile
        self.manager: pluggy.PluginManager = load_plugins(profile.plugins, [("core", core_ffis)])
        self.origins: dict[str, Origin] = {}
        self._offered_by: dict[str, str] = {}
        self._settings: dict[str, Any] = self._fill_settings(environ)
        self.limits: Limits = self._fill_limits(environ)
        sections = {name: settings.__struct_fields__ for name, settings in self._settings.items()}
        refuse_unknown(environ, {**sections, "limits": Limits.__struct_fields__}, installed)
        self.ffis = self._collect_ffis()
        self.compilers = self._collect("mix_compilers")
        engines = self._collect("mix_engines")
        self.engines = Engines(
            choose(profile.engines, engines) if profile.engines else (), self._make_engine, self._of_engine
        )
        self.storage = self._declared("storage", profile.storage, self._collect("mix_storages"))
        filesystems = self._collect("mix_filesystems")
        if profile.filesystem not in filesystems and profile.left_behind("filesystem"):
            self.profile = profile = dataclasses.replace(profile, filesystem=None)
        self.filesystem = self._declared("filesystem", profile.filesystem, filesystems)
        own: KernelSettings = self._settings["kernel"]
        disk = (
            DiskCache(Path(own.snapshot_dir), own.snapshot_bytes, ".snapshot") if own.snapshot_dir else None
        )
        self._snapshots = SnapshotCache(own.snapshots, own.snapshot_bytes, disk)
        self.idle = IdleInstances(own.idle_bytes, own.idle_mappings)
        self._slice = own.slice
        self._keys = Keys(environ.get(VARIABLE), None if own.key_file is None else Path(own.key_file))
        self._databases: Databases | None = None
        self._sql_engines = self._collect("mix_sql")
        self._sql: SqlEngine | None = None
        self._files: AppFiles | None = None
        self._programs: OrderedDict[str, Program] = OrderedDict()
        self._lock = threading.Lock()
        self._portal = Portal()
        self._threads = Threads(own.threads, "mixkit-run")
        self.has_open = bool(self.manager.hook.mix_state_open.get_hookimpls())
        self.has_close = bool(self.manager.hook.mix_state_close.get_hookimpls())
        self._env_words: dict[int, tuple[weakref.ref[Env], bytes]] = {}
        self._closed = False
        self.signals = Signals()
        self.bus: Bus = LocalBus()
        self._shared_bus: SharedBus | None = None

    # -- loading ------------------------------------------------------------------------------

    def _fill_settings(self, environ: Mapping[str, str]) -> dict[str, Any]:
        classes: dict[str, type] = {"kernel": KernelSettings}
        for plugin, path in call_each(self.manager, "mix_settings"):
            try:
                classes[plugin] = load_object(path)
            except MixError as exc:
                raise PluginError(f"mix_settings: {exc}", plugin) from exc
        filled = {}
        for plugin in ("kernel", *self.profile.plugins):
            layers = self.profile.settings.get(plugin, [])
            given = self.profile.overrides.get(plugin, {})
            if plugin not in classes:
                if layers or given:
                    where = f"{layers[-1][0] if layers else 'command line'}: settings.{plugin}"
                    raise ProfileError("this plugin has no settings", where)
                continue
            with foreign(self._failed("mix_settings: its class cannot be used", plugin)):
                filled[plugin], origins = fill(plugin, classes[plugin], layers, environ, given)
            self.origins |= {f"settings.{plugin}.{key}": origin for key, origin in origins.items()}
        return filled

    def _fill_limits(self, environ: Mapping[str, str]) -> Limits:
        given = self.profile.overrides.get("limits", {})
        limits: Limits
        limits, origins = fill("limits", Limits, self.profile.limits, environ, given)
        self.origins |= {f"limits.{key}": origin for key, origin in origins.items()}
        return limits

    def _collect_ffis(self) -> FFITable:
        groups: list[FFIGroup] = []
        owner: dict[str, str] = {}
        for name in [plugin for plugin, _ in self.manager.list_name_plugin()]:
            registry = Registry()
            others = [module for plugin, module in self.manager.list_name_plugin() if plugin != name]
            try:
                self.manager.subset_hook_caller("mix_ffis", others)(registry=registry)
            except BaseException as exc:
                if is_ours(exc):
                    raise
                raise PluginError(f"mix_ffis failed: {type(exc).__name__}: {exc}", name) from exc
            for ffi in (ffi for group in registry.groups for ffi in group):
                if ffi.name in owner:
                    raise PluginError(f"registers {ffi.name}, which plugin {owner[ffi.name]!r} has", name)
                owner[ffi.name] = name
            groups += registry.groups
        return FFITable(groups)

    def _collect(self, hook: str) -> dict[str, str]:
        found: dict[str, str] = {}
        for plugin, offered in call_each(self.manager, hook):
            if offered is None:
                continue
            if not isinstance(offered, dict):
                raise PluginError(
                    f"{hook} answers a dict of names to import strings, found {offered!r}", plugin
                )
            for name, path in offered.items():
                if name in found:
                    raise PluginError(f"{hook}: {name!r} is offered by another plugin too", plugin)
                found[name] = path
                self._offered_by[path] = plugin
        return found

    def _declared(self, key: str, wanted: str | None, offered: Mapping[str, str]) -> str | None:
        """The import string of the layer that the profile names; a start must not go on without it."""
        if wanted is None:
            return None
        if wanted not in offered:
            raise ProfileError(
                f"no plugin of the profile offers {wanted!r}; offered: {', '.join(sorted(offered)) or 'none'}"
                f"{meant(wanted, offered)}",
                f"{self.profile.origins[key]}: {key}",
            )
        return offered[wanted]

    # -- services for FFIs --------------------------------------------------------------------

    def settings(self, plugin: str) -> Any:
        """The settings object of a plugin of the profile."""
        try:
            return self._settings[plugin]
        except KeyError:
            raise NotFound(f"no settings of plugin {plugin!r} in profile {self.profile.name!r}") from None

    async def intercept(self, request: Any) -> Any | None:
        """The first answer to an outgoing request that a plugin gives, or None."""
        for name, ask in each(self.manager, "mix_http_intercept"):
            with foreign(self._failed("mix_http_intercept failed", name)):
                answer = ask(request=request)
                if hasattr(answer, "__await__"):
                    answer = await answer
            if answer is not None:
                return answer
        return None

    async def call_agent(self, state: State, name: str, params: Any) -> Any:
        """Run another agent under the calling run's budget, with its own grants."""
        agents = state.get(Agents)
        if agents is None:
            raise NotFound(f"no agent {name!r}: this run was started alone, without other agents")
        target = await agents.resolve(state, name)
        params = await fitted(target.check, params)
        state.budget.spend("depth")
        try:
            result = await self.run(
                target.program, target.entry, params,
                env=target.env or state.env, grants=target.grants, limits=target.limits,
                budget=state.budget, agents=agents, place=target.place, apps=target.apps,
                answer=target.answer,
            )  # fmt: skip
        finally:
            state.budget.release("depth")
        return result.value

    @property
    def databases(self) -> Databases:
        """The databases of apps, in the storage that the profile names.

        Raises:
            StorageError: it names none.
        """
        if self._databases is None:
            path = self.storage
            if path is None:
                raise StorageError(
                    f'expected a storage in profile {self.profile.name!r}, found none; name one with storage = "…", '
                    "and its plugin in plugins"
                )
            with self._lock:
                if self._databases is None:
                    self._databases = Databases(lambda: self._make("storage", path))
        return self._databases

    @property
    def sql(self) -> SqlEngine:
        """What runs SQL over records, of the first plugin of the profile that offers it.

        Raises:
            NotFound: none does.
            StorageError: it cannot be made.
        """
        if self._sql is None:
            if not self._sql_engines:
                raise NotFound(
                    f"expected a plugin that runs SQL in profile {self.profile.name!r}, found none; name duckdb in its "
                    "plugins"
                )
            with self._lock:
                if self._sql is None:
                    self._sql = self._make("engine for SQL", next(iter(self._sql_engines.values())))
        return self._sql

    @property
    def files(self) -> AppFiles:
        """The files of apps, in the file system that the profile names.

        Raises:
            FileError: it names none.
        """
        if self._files is None:
            path = self.filesystem
            if path is None:
                raise FileError(
                    f"expected a file system in profile {self.profile.name!r}, found none; name one with "
                    'filesystem = "async", and its plugin, files, in plugins'
                )
            with self._lock:
                if self._files is None:
                    self._files = AppFiles(lambda: self._make("filesystem", path))
        return self._files

    def _make(self, kind: str, path: str) -> Any:
        """An instance of what a plugin offers, made from the plugin's settings if it has some."""
        plugin = self._offered_by[path]
        try:
            settings = self._settings.get(plugin)
            cls = load_object(path)
            with foreign(self._failed(f"{path!r} failed", plugin)):
                return cls(settings) if settings is not None else cls()
        except MixError as exc:
            raise StorageError(f"the {kind} {path!r} cannot be made: {exc}") from exc

    def _failed(self, what: str, plugin: str) -> Callable[[str], MixError]:
        """Makes the error that names the plugin, for `foreign`."""
        return lambda reason: PluginError(f"{what}: {reason}", plugin)

    def _of_engine(self, choice: Choice, what: str) -> Callable[[str], MixError]:
        """The same for the plugin that offers the engine."""
        return self._failed(f"the engine {choice.engine!r} {what}", self._offered_by[choice.path])

    def _make_engine(self, choice: Choice) -> WasmEngine:
        settings = self._settings.get(choice.engine)
        cls = load_object(choice.path)
        engine: WasmEngine = cls(settings) if settings is not None else cls()
        return engine

    def keep_keys(self, home: Path) -> None:
        """Let `keyring` be that of the workspaces in `home`, and see that it fits what is stored there.

        Raises:
            KeyRingError: it does not, or cannot be used.
        """
        self._keys = self._keys.of(home)
        self._keys.check()

    @property
    def keys(self) -> Keys:
        """Where the key ring comes from."""
        return self._keys

    @property
    def keyring(self) -> KeyRing:
        """What seals and signs for this server. Raises `KeyRingError` where there is no master key that fits."""
        return self._keys.ring()

    def share_bus(self, directory: Path) -> None:
        """Let `bus` be one with all processes that name the same directory. Starts nothing: it may be called before a
        fork, and before the first run."""
        from mixkit.shared_bus import SharedBus

        self.bus = self._shared_bus = SharedBus(directory)

    # -- code ---------------------------------------------------------------------------------

    def prepare(self) -> None:
        """Do what the first run of a process would wait for: import the event loop, load the engine.

        Starts no thread and compiles nothing, so that a server may call it before it forks.
        """
        import asyncio  # noqa: F401

        self.engines.prepare()

    @property
    def memory_in_use(self) -> int:
        """Bytes of the linear memories of all guests in this process, those that wait for their next run included."""
        return sum(engine.memory_in_use for engine in self.engines.made())

    def compile(self, code: bytes) -> Compiled:
        """Compile a Wasm module, guest or not, or find it compiled, with the first engine that takes it.

        Raises:
            EngineError: it is not valid, or none takes it.
            ProfileError: the profile has no engine.
        """
        engine, decision = self.engines.compile(code)
        return Compiled(engine, decision.module)

    def load(self, code: Code, name: str = "") -> Program:
        """Compile code, or find it compiled.

        Args:
            code: a program (answered as it is), the bytes of a Wasm guest, or the path of one.
            name: for messages; the file's name by default.

        Raises:
            NotFound: no such file.
            EngineError, GuestError: not a Wasm module, or no guest of mixkit; names the imports that it cannot have.
        """
        if isinstance(code, Program):
            return code
        if isinstance(code, str | Path):
            name = name or Path(code).name
            try:
                code = Path(code).read_bytes()
            except OSError as exc:
                raise NotFound(f"cannot read {str(name)!r}: {exc.strerror}") from None
        compiled = self.compile(code)
        module = compiled.module
        with self._lock:
            program = self._programs.get(module.hash)
            if program is not None:
                self._programs.move_to_end(module.hash)
                return program
        own: KernelSettings = self._settings["kernel"]
        made = Program(
            compiled.engine, module, name, self._snapshots, self.profile.name, own.idle_instances, self.idle
        )
        dropped: list[Program] = []
        with self._lock:
            program = self._programs.setdefault(module.hash, made)
            while len(self._programs) > own.programs:
                dropped.append(self._programs.popitem(last=False)[1])
        for old in dropped:
            old.close()
        return program

    def check_code(self, entry: str, code: Code) -> None:
        """Refuse code that could never run here under that entry, before it is installed. Errors as those of `load`.

        Raises:
            NotFound: it has no such entry.
            GrantError: it asks for an option that no plugin enforces, or with a value that it cannot have.
        """
        program = self.load(code, entry)
        program.entry(entry)
        if program.manifest.grants is not None:
            self.ffis.check_grants(program.manifest.grants)

    # -- running ------------------------------------------------------------------------------

    def run_sync(
        self,
        code: Code,
        entry: str,
        params: Any = None,
        *,
        trace: Callable[[RunState], None] | None = None,
        **options: Unpack[RunOptions],
    ) -> RunResult:
        """Run an entry on this thread and wait for its result. Arguments and errors as those of `run`.

        `trace` is called with each state that the run enters.
        """
        limits = self._limits(options)
        budget = Budget(limits)
        if isinstance(code, Program):
            program = code
        else:
            try:
                program = in_own_thread(self.load, code).result(budget.remaining())
            except TimeoutError:
                self._not_loaded(entry, budget)
        job = self._job(program, entry, params, limits, budget, options)
        run = Run(job.state, self.ffis, self._portal.spawn, trace)
        return drive(run, job.steps(run))

    async def run(
        self,
        code: Code,
        entry: str,
        params: Any = None,
        *,
        budget: Budget | None = None,
        spent: float = 0.0,
        **options: Unpack[RunOptions],
    ) -> RunResult:
        """Run an entry of some code and wait for its result. Cancelling the task stops the guest.

        Args:
            code: as `load` takes it.
            entry: name of the entry.
            params: a Value, or a `Packed` one, checked against the entry's declared parameters.
            budget: that of the calling run, for nested runs.
            spent: seconds of `wall_time` that are used up already, by loading the code.
            options: environment, limits, grants …: see `RunOptions`.

        Raises:
            NotFound: no such entry.
            Mismatch: the parameters are not of the declared types.
            RunError: the run panicked; its `__cause__` says why (`LimitExceeded`, `GuestError`, `AnswerError` …).
            CancelledRun: it was stopped from outside.
        """
        import asyncio

        loop = asyncio.get_running_loop()
        limits = self._limits(options, budget)
        if budget is None:
            own = Budget(limits, time.monotonic() + limits.wall_time - spent)
            own.pauses = options.get("pauses")
        else:
            own = budget
        if isinstance(code, Program):
            program = code
        else:
            loading = asyncio.wrap_future(in_own_thread(self.load, code), loop=loop)
            try:
                program = await asyncio.wait_for(loading, own.remaining())
            except TimeoutError:
                self._not_loaded(entry, own)
        if is_much(params):
            # Checking and encoding what is large is not for the event loop.
            job = await asyncio.to_thread(self._job, program, entry, params, limits, own, options)
        else:
            job = self._job(program, entry, params, limits, own, options)
        if budget is not None:
            job.hold()
        # The caller of a nested one waits, and this one works for it.
        pauses = budget.pauses if budget is not None else None
        if pauses is not None:
            pauses(False)
        try:
            if program.suspends:
                run = Run(job.state, self.ffis, loop.create_task)
                return await drive_async(run, job.steps(run), self._threads, self._slice)
            run = Run(job.state, self.ffis, partial(Spawned, loop))
            return await self._run_in_thread(job, run, nested=budget is not None)
        finally:
            if pauses is not None:
                pauses(True)

    async def _run_in_thread(self, job: Job, run: Run, *, nested: bool) -> RunResult:
        """For engines that cannot suspend a guest: it holds a thread, one of its own if another run waits for it."""
        import asyncio

        future: concurrent.futures.Future[RunResult] = concurrent.futures.Future()
        work = partial(fulfil, future, drive, run, job.steps(run))
        if nested:
            threading.Thread(target=work, name="mixkit-nested", daemon=True).start()
        else:
            self._threads.submit(work)
        done = asyncio.wrap_future(future)
        try:
            return await asyncio.shield(done)
        except asyncio.CancelledError:
            run.stop(CancelledRun("the caller went away"))
            if not future.cancel():
                # The guest stops within milliseconds; its instance must be back before we leave.
                while not done.done():
                    with contextlib.suppress(asyncio.CancelledError):
                        await asyncio.wait([done])
                if not done.cancelled():
                    done.exception()
            raise

    def _limits(self, options: RunOptions, caller: Budget | None = None) -> Limits:
        """Those of a run; of a nested one they are no more than those of the run that calls it.

        Raises:
            TypeError: an option that no run has; told before anything is loaded.
        """
        for name in options:
            if name not in _RUN_OPTIONS:
                raise TypeError(f"a run has no option {name!r}{meant(name, _RUN_OPTIONS)}")
        most = self.limits if caller is None else caller.limits
        wanted = options.get("limits")
        return most if wanted is None else most.narrowed(wanted)

    @staticmethod
    def _not_loaded(entry: str, budget: Budget) -> NoReturn:
        """The run ends, which waited for its code; that may be there for the next one."""
        exc = budget.exceeded("wall_time", "the code was still being loaded")
        raise RunError(str(exc), agent=entry, panic_code=exc.code) from exc

    def _job(
        self, program: Program, entry: str, params: Any, limits: Limits, budget: Budget, options: RunOptions
    ) -> Job:
        target = program.entry(entry)
        words = b""
        if type(params) is Packed:
            if program.takes(entry, params.words):
                words, params = params.words, None
            else:
                # A value takes many times the memory of its words.
                budget.check_size("params_size", len(params.words))
                budget.check_values(params.words)
                params = params.value()
        if not words:
            params = program.check_params(entry, params)
        state = State(
            env=options.get("env") or NO_ENV,
            budget=budget,
            grants=self._grants(program, options.get("grants")),
            services=self,
            run_id=options.get("run_id"),
            code=program.name or entry,
            place=options.get("place"),
        )
        agents = options.get("agents")
        if agents is not None:
            state.put(agents)
        apps = options.get("apps")
        if apps is not None:
            state.put(apps)
        words = words or codec.encode(params, token=state.token_to_handle)
        state.budget.check_size("params_size", len(words))
        state.budget.check_values(words)
        return Job(
            self, program, target, words, state, limits, options.get("answer"), options.get("as_json", False)
        )

    def _grants(self, program: Program, granted: Grants | None) -> Grants:
        """What a run of the program may call: what it requests, of that what is granted."""
        requested = program.manifest.grants
        if granted is None:
            granted = requested or CORE
        elif requested is not None:
            granted = granted & requested
        if granted is not CORE:
            self.ffis.check_grant_options(granted.option_keys())
        return granted

    def static_env(self, env: Env) -> bytes:
        """Codec words of the part of an environment that init sees; remembered as long as the environment lives."""
        env = env.base or env
        key = id(env)
        known = self._env_words.get(key)
        if known is not None and known[0]() is env:
            return known[1]
        words = codec.encode(env.static().to_value())
        # Nothing of a request may outlive it: what is remembered of an environment goes with it.
        self._env_words[key] = (weakref.ref(env, lambda gone: self._forget_env(key, gone)), words)
        return words

    def _forget_env(self, key: int, gone: weakref.ref[Env]) -> None:
        # Another environment may have the number by now.
        known = self._env_words.get(key)
        if known is not None and known[0] is gone:
            del self._env_words[key]

    def open_state(self, state: State) -> None:
        """Let every plugin put its resources on a run's state."""
        if self.has_open:
            for _ in call_each(self.manager, "mix_state_open", state=state):
                pass

    def close_state(self, state: State) -> None:
        """Let every plugin clean up, then close what the state holds. Nothing that fails here hides the result."""
        if self.has_close:
            for plugin, close in each(self.manager, "mix_state_close"):
                try:
                    close(state=state)
                except BaseException as exc:
                    if is_ours(exc):
                        raise
                    _log.exception("mix_state_close of plugin %s failed, run %s", plugin, state.run_id)
        for failure in state.close():
            _log.error("closing a resource of run %s failed", state.run_id, exc_info=failure)

    # -- the end ------------------------------------------------------------------------------

    def close(self) -> None:
        """Stop threads and free instances. Idempotent; runs that are under way are waited for."""
        if self._closed:
            return
        self._closed = True
        self._threads.close()
        self._portal.close()
        if self._shared_bus is not None:
            self._shared_bus.stop()
        if self._databases is not None:
            self._databases.close()
        for program in self._programs.values():
            program.close()
        self._programs.clear()
        self._snapshots.clear()

    def __enter__(self) -> Kernel:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.close()
