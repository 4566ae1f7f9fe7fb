"""A host of its own for guests: the guest interface as written, over plain wasmtime, so that the library for
guests is tested against the interface and not against the kernel. The kernel runs the examples."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
import wasmtime
from mix_wasm.build import build

from mixkit import Kernel, codec
from mixkit.grants import ALL, Grants
from mixkit.limits import Budget, Limits
from mixkit.state import State
from mixkit.value import Token

GUESTS = Path(__file__).parent / "guests"
MOST_RANDOM = 1 << 20


class GuestPanic(Exception):
    """The guest called `mix.panic`."""


class Guest:
    """One instance of a guest.

    Attributes:
        ffis: name to function of the decoded arguments; what answers a bytearray answers those raw words.
        logs: (level, text) of each log line.
    """

    def __init__(self, module: wasmtime.Module, engine: wasmtime.Engine) -> None:
        self.ffis: dict[str, Callable[..., Any]] = {}
        self.logs: list[tuple[int, str]] = []
        self._answer = b""
        self._store = wasmtime.Store(engine)
        linker = wasmtime.Linker(engine)
        i32, f64 = wasmtime.ValType.i32(), wasmtime.ValType.f64()
        for name, params, results, function in (
            ("ffi", [i32] * 4, [i32], self._ffi),
            ("take", [i32], [], self._take),
            ("log", [i32] * 3, [], self._log),
            ("panic", [i32] * 2, [], self._panic),
            ("now", [], [f64], time.time),
            ("random", [i32] * 2, [], self._random),
        ):
            linker.define_func("mix", name, wasmtime.FuncType(params, results), function)
        self._exports = linker.instantiate(self._store, module).exports(self._store)
        self._memory: Any = self._exports["memory"]
        self.export("_initialize")

    @property
    def pages(self) -> int:
        """Size of the memory."""
        return int(self._memory.size(self._store))

    def export(self, name: str, *args: int) -> Any:
        function: Any = self._exports[name]
        return function(self._store, *args)

    def write(self, ptr: int, data: bytes) -> None:
        self._memory.write(self._store, data, ptr & 0xFFFFFFFF)

    def read(self, ptr: int, size: int) -> bytes:
        ptr, size = ptr & 0xFFFFFFFF, size & 0xFFFFFFFF
        return bytes(self._memory.read(self._store, ptr, ptr + size))

    def push(self, data: bytes) -> tuple[int, int]:
        """Data in memory from `mix_alloc`."""
        ptr = self.export("mix_alloc", len(data))
        self.write(ptr, data)
        return ptr, len(data)

    def call_words(self, entry: str, words: bytes) -> bytes:
        """`mix_call` with codec words, answering codec words."""
        answer = self.export("mix_call", *self.push(entry.encode()), *self.push(words))
        return self.read(answer >> 32, answer)

    def call(self, entry: str, params: Any = None) -> Any:
        """`mix_call` with a value, answering a value. What is not canonical does not come through."""
        return codec.decode(self.call_words(entry, codec.encode(params)), token=Token)

    def _ffi(self, name: int, name_size: int, args: int, size: int) -> int:
        function = self.ffis[self.read(name, name_size).decode()]
        decoded: Any = codec.decode(self.read(args, size), token=Token)
        answer = function(*decoded)
        self._answer = bytes(answer) if isinstance(answer, bytearray) else codec.encode(answer)
        return len(self._answer)

    def _take(self, ptr: int) -> None:
        self.write(ptr, self._answer)

    def _log(self, level: int, ptr: int, size: int) -> None:
        self.logs.append((level, self.read(ptr, size).decode()))

    def _random(self, ptr: int, size: int) -> None:
        assert 0 <= size <= MOST_RANDOM
        self.write(ptr, b"\7" * size)

    def _panic(self, ptr: int, size: int) -> None:
        raise GuestPanic(self.read(ptr, size).decode())


@pytest.fixture(scope="session")
def panic() -> type[GuestPanic]:
    """What a guest's panic raises."""
    return GuestPanic


@pytest.fixture(scope="session")
def make_guest(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Guest]:
    """A new instance of the guest with that name in `guests/`; each is built once."""
    engine = wasmtime.Engine()
    modules: dict[str, wasmtime.Module] = {}

    def make(name: str) -> Guest:
        if name not in modules:
            out = tmp_path_factory.mktemp("guests") / f"{name}.wasm"
            modules[name] = wasmtime.Module(engine, build(GUESTS / f"{name}.c", out).read_bytes())
        return Guest(modules[name], engine)

    return make


class Agent:
    """A run that calls `$wasm_*` as a guest would, in its own thread."""

    def __init__(self, kernel: Kernel, grants: Grants, limits: Limits) -> None:
        self.state = State(grants=grants, budget=Budget(limits), services=kernel, code="tester")
        self._kernel = kernel

    def call(self, name: str, *args: Any) -> Any:
        """The answer's value."""
        words = codec.encode(list(args), token=self.state.token_to_handle)
        ffi, answer = self._kernel.ffis.dispatch(self.state, f"$wasm_{name}".encode(), words)
        if ffi.is_async:
            answer = asyncio.run(answer)
        return codec.decode(answer, token=self.state.token_from_handle)

    def ok(self, name: str, *args: Any) -> Any:
        """What a call answers that has to succeed."""
        answer = self.call(name, *args)
        assert answer.name == "ok", answer.arg
        return answer.arg

    def refused(self, name: str, *args: Any) -> str:
        """The message of a call that has to answer an error."""
        answer = self.call(name, *args)
        assert answer.name == "error", answer
        message: str = answer.arg
        return message

    def load(self, text: str, *options: Any) -> Token:
        """Load a module from its text, and answer the handle."""
        token: Token = self.ok("load", bytes(wasmtime.wat2wasm(text)), *options)["module"]
        return token

    def program(self, text: str) -> Token:
        """Load a WASI program from its text, and answer the handle."""
        token: Token = self.ok("wasi_load", bytes(wasmtime.wat2wasm(text)))["module"]
        return token

    @contextmanager
    def once_running(self, action: Callable[[], object]) -> Iterator[None]:
        """Within it, `action()` is called from another thread as soon as a module runs."""

        def wait() -> None:
            while not self.state.budget.spent("depth"):
                time.sleep(0.002)
            time.sleep(0.02)
            action()

        waiting = threading.Thread(target=wait, daemon=True)
        waiting.start()
        yield
        waiting.join()

    def close(self) -> None:
        assert self.state.close() == []
        left = self.state.budget.purse[0]
        assert left == self.state.budget.limits.memory, "every byte of memory came back"


@pytest.fixture(scope="session")
def wasm_kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    """A kernel with small limits and the plugin."""
    profile = tmp_path_factory.mktemp("wasm") / "wasm.toml"
    profile.write_text(
        'plugins = ["wasmtime", "wasm", "files"]\nengines = ["wasmtime"]\nfilesystem = "std"\n'
        "[limits]\nwall_time = 20\nmemory = 67_108_864\n"
        "[settings.wasm]\noutput_bytes = 10_000\nloads = 8\nmodule_bytes = 100_000\n"
    )
    with Kernel(profile, environ={}) as kernel:
        yield kernel


@pytest.fixture
def agent(wasm_kernel: Kernel) -> Iterator[Callable[..., Agent]]:
    """Makes runs: `agent(grants, wall_time=…)`; they are closed after the test, and must have given all back."""
    made: list[Agent] = []

    def make(grants: Grants = ALL, **limits: Any) -> Agent:
        made.append(Agent(wasm_kernel, grants, msgspec.structs.replace(wasm_kernel.limits, **limits)))
        return made[-1]

    yield make
    for run in made:
        run.close()
