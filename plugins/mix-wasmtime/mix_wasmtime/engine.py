"""The engine: compiles with Wasmtime, keeps what it compiled, and makes instances."""

from __future__ import annotations

import hashlib
import struct
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from mix_wasmtime import _native
from mix_wasmtime.settings import WasmtimeSettings
from mixkit import contracts, distributions
from mixkit.contracts import FuncType, HostFunction, HostImports
from mixkit.disk_cache import DiskCache, default_directory
from mixkit.errors import EngineError, LimitExceeded
from mixkit.limits import Limits
from mixkit.vm import wasm
from mixkit.vm.frozen import Snapshot, load_snapshot
from mixkit.vm.wasm_bulk import split
from mixkit.vm.wasm_data import joined
from mixkit.vm.wasm_state import is_restorable

if TYPE_CHECKING:
    from mix_wasmtime.backend import Backend, Compiled

__all__ = ["Instance", "Module", "WasmtimeEngine"]

MAX_MEMORIES: Final = 16
"""Memories a module may define: each reserves 4 GiB of address space, whatever its size."""

_SHARED: Final = 4 << 20
"""Bytes of a snapshot from which on instances share its pages until they write to them."""
_TRAITS: Final = struct.Struct("<?i")
_LETTERS: Final = {"i32": "i", "i64": "I", "f32": "f", "f64": "d"}
_VALKINDS: Final = {"i32": 0, "i64": 1, "f32": 2, "f64": 3, "v128": 4}
_COMPILERS: Final = 4
"""Processes that compile at a time."""
_LINKED: Final = 8
"""Combinations of stack size and imports that a module keeps."""


class Traits(NamedTuple):
    """What is kept in a file beside the machine code, because it takes time to find out."""

    restorable: bool
    """Whether a snapshot has all of the state."""
    shift: int
    """Bytes that the functions stand further back in what was compiled than in the module."""


class Module:
    """Compiled code, and what is known about it. Made by `WasmtimeEngine.compile`."""

    def __init__(self, code: bytes, hash: str, engine: WasmtimeEngine) -> None:
        self.hash = hash
        self._engine = engine
        self._lock = threading.Lock()
        self._linked: OrderedDict[tuple[int, bool, tuple[int, ...]], _native.Linked] = OrderedDict()
        read = wasm.read(code)
        if len(read.memories) > MAX_MEMORIES:
            raise EngineError(
                f"the module has {len(read.memories)} memories, expected at most {MAX_MEMORIES}"
            )
        self.imports = read.imports
        self.exports = read.exports
        self._customs = read.customs
        self._exposed = wasm.expose(read)
        self._own = read.function_count
        self._memories = read.memories
        self._throws = read.has_tags
        self._tables = [table.minimum for table in read.tables]
        self._memory = read.exported.get("memory", ("", -1))
        self._compiled, self._traits = engine._compile(read, hash)

    def custom_sections(self, name: str) -> Sequence[bytes]:
        """Contents of the custom sections of that name, in order."""
        return [content for found, content in self._customs if found == name]

    def link(self, stack: int, imports: HostImports, *, suspends: bool = False) -> _native.Linked:
        """The module joined to those host functions, on the engine for that stack size."""
        functions = []
        for key, expected in self.imports.items():
            function = imports.get(key)
            if function is None or function.type != expected:
                raise _unlinkable(key, expected, function, imports)
            functions.append(function)
        # Host functions are told apart by identity; a Linked keeps its own alive, so no id is used twice.
        key_of = (stack, suspends, tuple(map(id, functions)))
        with self._lock:
            linked = self._linked.get(key_of)
            if linked is None:
                linked = self._linked[key_of] = self._link(stack, functions, suspends)
                if len(self._linked) > _LINKED:
                    self._linked.popitem(last=False)
            else:
                self._linked.move_to_end(key_of)
        return linked

    def _link(self, stack: int, functions: list[HostFunction], suspends: bool) -> _native.Linked:
        compiled = self._compiled.on(self._engine._backend(stack, self._throws))
        kind, memory = self._memory
        return _native.Linked(
            owners=(compiled, functions),
            engine=compiled.engine_pointer,
            module=compiled.pointer,
            hosts=tuple(
                (module, name, *_signature(function.type), function.call)
                for (module, name), function in zip(self.imports, functions, strict=True)
            ),
            functions=tuple(
                (name, *_signature(what)) for name, what in self.exports.items() if isinstance(what, FuncType)
            ),
            variables=tuple(
                (_VALKINDS[kind], name) for name, kind in self._exposed.globals if kind in _VALKINDS
            ),
            memories=self._exposed.memories,
            memory=memory if kind == "memory" else -1,
            start=self._exposed.start,
            restorable=self._traits.restorable,
            heaps=int(self._throws),
            stack=stack,
            shift=self._traits.shift,
            own=self._own,
            suspends=suspends,
        )

    def table_share(self, limit: int) -> int:
        """Elements that each table may have, so that all together stay within the limit.

        Wasmtime limits each table alone. What the large ones leave is shared equally among the others, so a
        single table gets everything.
        """
        rest = limit
        largest_first = sorted(self._tables, reverse=True)
        for index, minimum in enumerate(largest_first):
            share = rest // (len(largest_first) - index)
            if minimum <= share:
                return share
            rest -= minimum
        # Every table has its minimum, and none may grow.
        return 0

    def check_fits(self, limits: Limits) -> None:
        """Refuse limits that the module's start already exceeds."""
        pages = sum(memory.minimum for memory in self._memories)
        if pages * wasm.PAGE > limits.memory:
            raise LimitExceeded(
                "memory", limits.memory, "bytes", f"the guest starts with {pages * wasm.PAGE}"
            )
        elements = sum(self._tables)
        if elements > limits.table:
            raise LimitExceeded("table", limits.table, "elements", f"the guest starts with {elements}")


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
        return None if state is None else _shared(Snapshot(self._module.hash, self._version, state))

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
        return self.set_state(snapshot.state, snapshot.image)


class WasmtimeEngine:
    """Runs core Wasm with Wasmtime. Cheap until the first `compile`; safe for threads and for forks."""

    name = "wasmtime"

    def __init__(self, settings: WasmtimeSettings | None = None) -> None:
        self.settings = settings or WasmtimeSettings()
        self._lock = threading.Lock()
        self._modules: OrderedDict[str, Module] = OrderedDict()
        self._building: dict[str, threading.Lock] = {}
        self._backends: dict[tuple[int, bool], Backend] = {}
        self._compilers = threading.Semaphore(_COMPILERS)
        self._version = ""
        self._suspends: bool | None = None
        directory = self.settings.cache_dir
        self.cache = (
            None
            if directory == "off"
            else DiskCache(
                Path(directory) if directory else default_directory("wasmtime"),
                self.settings.cache_bytes,
                ".cwasm",
            )
        )

    @property
    def version(self) -> str:
        """Version of Wasmtime and of what the engine keeps in files."""
        if not self._version:
            self._version = f"wasmtime-{distributions.version('wasmtime')}-5"
        return self._version

    @property
    def memory_in_use(self) -> int:
        """Bytes of the linear memories of all instances in this process."""
        return _native.memory_in_use()

    def prepare(self) -> None:
        """Load Wasmtime. Starts no thread and compiles nothing, so that a process may still fork."""
        self._backend(_stack_step(Limits().stack), exceptions=False)

    def compile(self, code: bytes) -> Module:
        """Compile, or take from memory or from the disk.

        Raises:
            EngineError: malformed, invalid, of a proposal that is switched off, or too much to compile.
        """
        digest = hashlib.sha256(code).hexdigest()
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

    @property
    def suspends(self) -> bool:
        """Whether instances can be made whose calls are left while they wait: tried once, with a guest that does."""
        if self._suspends is None:
            from mix_wasmtime.probe import suspends

            self._suspends = self.settings.fibers and suspends(self)
        return self._suspends

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
        if suspends and (self._suspends is False or not self.settings.fibers):
            raise EngineError(
                "guests cannot be suspended here: fibers are switched off, or the probe of them failed"
            )
        module.check_fits(limits)
        linked = module.link(_stack_step(limits.stack), imports, suspends=suspends)
        instance = Instance(
            linked,
            memory=limits.memory,
            table=module.table_share(limits.table),
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
        return _shared(load_snapshot(data, self.version))

    def _backend(self, stack: int, exceptions: bool) -> Backend:
        with self._lock:
            backend = self._backends.get((stack, exceptions))
            if backend is None:
                from mix_wasmtime.backend import Backend

                backend = Backend(stack, exceptions=exceptions, optimize=self.settings.optimize)
                self._backends[stack, exceptions] = backend
            return backend

    def _compile(self, module: wasm.WasmModule, digest: str) -> tuple[Compiled, Traits]:
        from mix_wasmtime.backend import CONFIG, Compiled

        backend = self._backend(_stack_step(Limits().stack), module.has_tags)
        parts = (digest, self.name, self.version, CONFIG, self.settings.optimize)
        key = hashlib.sha256(repr(parts).encode()).hexdigest()
        # In a file: what is known about the module, then the compiled code.
        if self.cache is not None and (kept := self.cache.get(key)):
            try:
                return Compiled.load(backend, kept[_TRAITS.size :]), Traits(*_TRAITS.unpack_from(kept))
            except (EngineError, struct.error):
                # Compiled for another processor, say.
                self.cache.discard(key)
        exposed = wasm.expose(module, {**joined(module), **split(module)})
        compiled = self._make(backend, module, exposed.code)
        # After compilation, because it presumes valid code.
        traits = Traits(is_restorable(module), exposed.shift)
        if self.cache is not None:
            self.cache.put(key, _TRAITS.pack(*traits) + compiled.serialize())
        return compiled, traits

    def _make(self, backend: Backend, module: wasm.WasmModule, code: bytes) -> Compiled:
        from mix_wasmtime.backend import Compiled
        from mix_wasmtime.compilation import compile_apart, is_small

        if self.settings.compile_time == 0 or is_small(module):
            return Compiled.compile(backend, code)
        # A few at a time: each may take all the memory that the settings allow.
        with self._compilers:
            return Compiled.load(
                backend, compile_apart(code, backend.stack, backend.exceptions, self.settings)
            )


def _shared(snapshot: Snapshot) -> Snapshot:
    """The snapshot, made ready now: to write an image takes as long as to restore one by copying."""
    if snapshot.size >= _SHARED:
        snapshot.image = _native.Image(snapshot.state)
        # Those of the image too.
        snapshot.size *= 2
    return snapshot


def _stack_step(stack: int) -> int:
    """The largest power of two that is not above. Each stack size needs an engine of its own in Wasmtime."""
    return 1 << (stack.bit_length() - 1)


def _signature(function: FuncType) -> tuple[str, str]:
    params = "".join(_LETTERS.get(kind, "?") for kind in function.params)
    return params, "".join(_LETTERS.get(kind, "?") for kind in function.results)


def _unlinkable(
    key: tuple[str, str], expected: FuncType | str, found: HostFunction | None, imports: HostImports
) -> EngineError:
    name = ".".join(key)
    if not isinstance(expected, FuncType):
        return EngineError(f"the guest imports the {expected} {name}; only functions can be imported")
    if found is None:
        offered = ", ".join(sorted(".".join(other) for other in imports)) or "nothing"
        return EngineError(f"the guest imports {name} {expected}, which is not offered; there is: {offered}")
    return EngineError(f"the guest imports {name} as {expected}, the host offers {found.type}")
