"""What a plugin must provide to be an engine or a compiler; storages are in `mixkit.storage`, file systems in
`mixkit.filesystem`.

Protocols: a plugin's class need not derive from them. `mixkit.testing` has the suite that each must pass.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal, Protocol, TypeAlias, runtime_checkable

import msgspec

from mixkit.limits import Limits, Purse

__all__ = [
    "DONE",
    "GAVE_WAY",
    "LATER",
    "WAITS",
    "Call",
    "Check",
    "Compiled",
    "Compiler",
    "FuncType",
    "HostFunction",
    "HostImports",
    "Instance",
    "Interpreter",
    "Module",
    "Snapshot",
    "WasmEngine",
]

ValType: TypeAlias = Literal["i32", "i64", "f32", "f64", "v128", "funcref", "exnref"]


class FuncType(msgspec.Struct, frozen=True):
    """Signature of a core-Wasm function."""

    params: tuple[ValType, ...]
    results: tuple[ValType, ...]

    def __str__(self) -> str:
        return f"({', '.join(self.params)}) -> ({', '.join(self.results)})"


class HostFunction(msgspec.Struct, frozen=True):
    """A function that a guest may import, answered by Python.

    `call(instance, *args)` gets the calling instance and the arguments: i32 and i64 as *signed* ints as Wasm
    has them, f32/f64 as floats. It answers None, or one number for the only result (any int is taken modulo
    2^32 / 2^64). An exception that it raises is kept on the instance, makes the guest trap, and is raised by
    the `Instance.call` that is under way, as that same exception object.

    In an instance that suspends it may answer `LATER` to a call that was begun: the guest waits until `Call.resume`.
    """

    type: FuncType
    call: Callable[..., Any]


class Later(enum.Enum):
    """The type of `LATER`."""

    LATER = "later"


LATER: Final = Later.LATER
"""What a host function answers when its answer comes later, by `Call.resume`."""

DONE: Final = 0
"""A step of a call: the guest has answered, see `Call.result`."""
WAITS: Final = 1
"""A step of a call: the guest waits in a host function that answered `LATER`."""
GAVE_WAY: Final = 2
"""A step of a call: the guest computes, and was asked to give way."""


HostImports: TypeAlias = Mapping[tuple[str, str], HostFunction]
"""(module, name) to function."""


class Module(Protocol):
    """Compiled code, usable from any thread and for any number of instances."""

    @property
    def hash(self) -> str:
        """SHA-256 of the code that it was compiled from, in hex."""
        ...

    @property
    def imports(self) -> Mapping[tuple[str, str], FuncType | str]:
        """What the code imports: functions with their type, else the name of the kind (`"memory"` …)."""
        ...

    @property
    def exports(self) -> Mapping[str, FuncType | str]:
        """What the code exports, in the same form; never what an engine added for itself."""
        ...

    def custom_sections(self, name: str) -> Sequence[bytes]:
        """Contents of the custom sections of that name, in order."""
        ...


class Snapshot(Protocol):
    """Frozen state of an instance: the used part of its memories, and its globals."""

    @property
    def size(self) -> int:
        """Bytes that it occupies, for bounded caches."""
        ...

    def to_bytes(self) -> bytes:
        """A form that `Module`'s engine reads back with `load_snapshot`, in this process or another."""
        ...


class Call(Protocol):
    """A call of a guest that was begun, on a stack of its own: left where the guest waits or gives way, and gone on
    with later.

    Any thread may go on with it, one at a time. Without a reference left it is dropped. Until it is over the instance
    is used by it alone: other calls of it, and what reads or changes its state as a whole, raise `EngineError`; its
    memory may be read and written.
    """

    @property
    def result(self) -> Any:
        """What `Instance.call` or `call_bytes` would have answered. `EngineError` before it is `DONE`."""
        ...

    def step(self) -> int:
        """Go on until there is something to say: `DONE`, `WAITS` or `GAVE_WAY`.

        Raises:
            EngineError: the call is over, or waits and has no answer yet.
            Exception: what `Instance.call` would have raised; the call is over then.
        """
        ...

    def resume(self, value: int | float | None, /) -> None:
        """The answer of the host function in which the guest waits; `step` goes on with it.

        Raises:
            TypeError: no answer of the function's type; the guest waits on.
            EngineError: it does not wait.
        """
        ...

    def fail(self, error: BaseException, /) -> None:
        """The same with what that host function raises."""
        ...

    def drop(self) -> None:
        """Leave the call half done, which finishes the instance. Idempotent; nothing after the end of the call."""
        ...


class Instance(Protocol):
    """One instance with its own memories, tables and globals; used by one thread at a time.

    One that was made with `suspends=True` has `begin`, `begin_bytes` and `give_way`, which the others refuse; its host
    functions may not call it.

    Only `interrupt` may be called from another thread. After the guest failed in a call (`GuestError`,
    `LimitExceeded`, an exception of a host function), after `interrupt`, and when a reset is refused, the
    instance is finished: close it. A wrong name or argument (`EngineError`) harms nothing.
    """

    owner: Any
    """Whatever the creator hangs on it, for its host functions. `reset` and `close` set it to None."""

    @property
    def memory_refused(self) -> bool:
        """Whether memory was refused to the guest since the outermost call began."""
        ...

    @property
    def memory_limit(self) -> int:
        """Bytes that its memories may have together: the limit `memory`."""
        ...

    @property
    def exports(self) -> Mapping[str, FuncType | str]: ...

    def start(self) -> None:
        """Run the module's start function, once; nothing if there is none. Raises like `call`.

        Calls and `freeze` do it first by themselves. It is not part of `instantiate`, so that guest code only
        ever runs where `interrupt` reaches it.
        """
        ...

    def call(self, name: str, /, *args: int | float) -> int | float | None:
        """Call an exported function. Its first call also runs `start`.

        Raises:
            EngineError: no such function, or arguments that do not fit.
            GuestError: the guest trapped; `.trap` names the kind, `.backtrace` the frames.
            LimitExceeded: `stack` is used up; or the guest trapped after `memory` was refused to it.
            Exception: whatever a host function raised.
        """
        ...

    def call_bytes(self, name: str, /, *buffers: bytes, alloc: str = "mix_alloc") -> bytes:
        """The fat call: copy each buffer into memory obtained from `alloc(size) -> ptr`, call
        `name(ptr, len, ptr, len, …) -> i64`, read the answer as `ptr << 32 | len` and copy those bytes out.

        A pointer or length outside memory, from `alloc` or from the answer, is a `GuestError`. Answers longer
        than `max_result` given to `instantiate` raise `LimitExceeded("result_size")`.
        """
        ...

    def begin(self, name: str, /, *args: int | float) -> Call:
        """Begin what `call` does, without a step yet. `EngineError` as there, or when a call is under way."""
        ...

    def begin_bytes(self, name: str, /, *buffers: bytes, alloc: str = "mix_alloc") -> Call:
        """Begin what `call_bytes` does, without a step yet."""
        ...

    def give_way(self) -> None:
        """Make a step that is under way end soon with `GAVE_WAY`, unless the guest ends or waits before. Callable from
        any thread at any time; if nothing runs, the next step gives way at once or soon."""
        ...

    def read(self, ptr: int, size: int, /) -> bytes:
        """Bytes from `memory` (both arguments taken as unsigned 32-bit). `GuestError` if out of bounds."""
        ...

    def write(self, ptr: int, data: bytes, /) -> None:
        """Bytes into `memory`. `GuestError` if out of bounds; nothing is written then."""
        ...

    def memory(self) -> memoryview:
        """Zero-copy view of the exported `memory` at its present size. Keeps the instance's memory alive."""
        ...

    def grow(self, pages: int, /) -> int:
        """Grow `memory` by pages of 64 KiB, answering the old size in pages. `LimitExceeded` if refused."""
        ...

    def charge(self, purse: Purse | None) -> None:
        """Take all that its memories have, now and when they grow, from the purse of a run, until `charge(None)` or
        `close` gives it back. A growth for which the purse has too little is refused like one beyond `memory`, and
        noted there. Several instances take from one purse, in several threads.

        Raises:
            LimitExceeded: it has too little for what the memories have now; nothing is taken.
        """
        ...

    def footprint(self) -> tuple[int, int]:
        """Bytes that its memories have now, and mappings of the process that it takes, about."""
        ...

    def interrupt(self) -> None:
        """Make running guest code trap with `GuestError(trap="interrupt")` soon (well within 50 ms). Callable
        from any thread at any time; if nothing runs, the next `call` traps."""
        ...

    def freeze(self) -> Snapshot | None:
        """The present state, or None when the module has code that can change state which no engine restores
        (writes to tables, dropped segments, references in globals): then run from a fresh instance each time.
        """
        ...

    def reset(self, snapshot: Snapshot | None = None) -> bool:
        """Make everything that code can read equal to the snapshot, or to the state right after instantiation
        (start function not yet run). False, and finished, when that is not possible: `freeze` would answer
        None, or its memory has become larger than the snapshot's.

        A memory that is smaller than the snapshot's is grown first.

        Raises:
            EngineError: the snapshot is of another module.
            LimitExceeded: the snapshot's memories are larger than the instance may have.
        """
        ...

    def close(self) -> None:
        """Free everything. Idempotent."""
        ...


@runtime_checkable
class WasmEngine(Protocol):
    """A way to run core Wasm. Made without arguments or from its plugin's settings; cheap until used: no
    compilation and no thread before the first `compile`, so that a process may fork after loading."""

    name: str

    @property
    def version(self) -> str:
        """Changes whenever compiled code or snapshots of the engine are not understood any more."""
        ...

    @property
    def memory_in_use(self) -> int:
        """Bytes of the linear memories of all instances that engines of its kind have in this process."""
        ...

    def prepare(self) -> None:
        """Import and load what the first `compile` would, and compile nothing: a server calls it at its start."""
        ...

    def compile(self, code: bytes) -> Module:
        """Compile, or load from the cache on disk by (hash, engine, version). `EngineError` if invalid."""
        ...

    @property
    def suspends(self) -> bool:
        """Whether it makes instances that suspend. Asked when one is wanted; may try it with a guest of its own."""
        ...

    def instantiate(
        self,
        module: Module,
        limits: Limits,
        imports: HostImports,
        *,
        max_result: int | None = None,
        suspends: bool = False,
    ) -> Instance:
        """A fresh instance under limits `memory`, `table`, `stack`. No guest code runs yet.

        With `suspends` it is one whose calls can be left half done; `EngineError` where `WasmEngine.suspends` is False.

        Raises:
            EngineError: an import is missing or has another type.
            LimitExceeded: the module starts with more `memory` or `table` than the limits allow.
            GuestError: an active data or element segment lies outside its memory or table.
        """
        ...

    def load_snapshot(self, data: bytes) -> Snapshot:
        """What `Snapshot.to_bytes` wrote. `EngineError` if it is damaged or of another engine version."""
        ...


class Compiled(msgspec.Struct, frozen=True):
    """A module, and the engine that compiled it, which alone can run it."""

    engine: WasmEngine
    module: Module


@runtime_checkable
class Compiler(Protocol):
    """Turns sources of one language into code that the kernel runs."""

    name: str
    suffixes: tuple[str, ...]
    """How the names of its files end."""
    target: str
    """How the name of a file with the code ends."""

    def compile(self, sources: Mapping[str, str]) -> bytes:
        """The code of the first of the sources, and of the others that it needs.

        Args:
            sources: names of files to their text, which may be read when it is asked for; perhaps more than are needed.
                A compiler that reads files itself takes `mixkit.sources.Sources` alone, which texts that somebody has
                sent never are, and refuses all others.

        Raises:
            MixError: with everything that is wrong, as people read it. It may have `diagnostics`, of which each
                answers by `record()` what is wrong as JSON can hold it.
        """
        ...


@runtime_checkable
class Interpreter(Protocol):
    """Runs code of a kind of its own, in instances of a Wasm module of its own that imports nothing."""

    name: str
    magic: bytes
    """What code of its kind begins with."""

    def module(self) -> bytes:
        """The Wasm module."""
        ...

    def read(self, code: bytes) -> Any:
        """The code in the form that `manifest` and `machine` want. `MixError` if it is malformed."""
        ...

    def places(self, code: Any, frame: str) -> list[str]:
        """A frame of a backtrace, as a run of this code or of the same code without symbols answered it, with its place
        in the source: one frame, several where calls were written out, none of what no source says. `MixError` if it is
        of other code."""
        ...

    def manifest(self, code: Any) -> Mapping[str, Any]:
        """What callers see of it: what a guest of Wasm has in its section `mix.manifest`."""
        ...

    def machine(self, instance: Instance, code: Any) -> Any:
        """A machine of `mixkit.vm.machine` on an instance, with the attributes `instance` and `healthy`, and
        `load(data)`, which loads the bytes of the code into a fresh instance and runs its init, and `leave()`. Where
        the instance was given the state after `load`, under the same `memory` limit, it is entered at once."""
        ...


class Check(msgspec.Struct, frozen=True):
    """One finding of `mixkit doctor`. `remedy` says what to do unless `level` is `"ok"`."""

    name: str
    level: Literal["ok", "warning", "error"]
    message: str
    remedy: str = ""
