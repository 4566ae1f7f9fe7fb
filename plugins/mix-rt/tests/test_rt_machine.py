"""Code of Mix in the kernel's loop, on an engine: entries, FFIs, panics with places, limits, stops, many that wait."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from mix_rt.instance import wasm
from mix_rt.machine import CodeMachine
from mix_rt.qcode import Assembly, Code

from mixkit import codec
from mixkit.contracts import WasmEngine
from mixkit.errors import CancelledRun, GuestError, LimitExceeded, NotFound
from mixkit.ffi import FFIGroup, FFITable
from mixkit.limits import MIB, Limits
from mixkit.state import State
from mixkit.vm.drive import drive, drive_async
from mixkit.vm.loop import Run
from mixkit.vm.portal import Portal
from mixkit.vm.threads import Threads


def table() -> FFITable:
    group = FFIGroup("test")

    @group.register("$double")
    def double(x: int) -> int:
        return 2 * x

    @group.register("$same", quick=True)
    def same(x: int) -> int:
        return x

    @group.register("$later")
    async def later(x: int) -> int:
        await asyncio.sleep(0.01)
        return x + 1

    return FFITable([group])


def program() -> Code:
    assembly = Assembly()
    assembly.ffi("$double", 1)
    assembly.ffi("$later", 1)
    assembly.ffi("$same", 1)
    ffis = assembly.function("ffis", params=1)
    ffis.emit("ffi", 0, 0, "$double")
    for _ in range(40):
        ffis.emit("ffi", 0, 0, "$same")
    ffis.emit("ffi", 0, 0, "$later")
    ffis.emit("return", 0)
    fails = assembly.function("fails", params=1)
    window = fails.window(1)
    fails.source("app.mix", 3, 5)
    fails.emit("move", window + 2, 0)
    fails.emit("call_func", 0, window, "inner")
    fails.emit("return", 0)
    inner = assembly.function("inner", params=1)
    inner.source("app.mix", 7, 9)
    inner.emit("add", 0, 0, 0)
    inner.emit("return", 0)
    for name, instruction in (("endless", "nop"), ("bomb", "add")):
        f = assembly.function(name, params=1)
        again = f.label()
        f.place(again)
        f.emit(instruction, *((0, 0, 0) if instruction == "add" else ()))
        f.emit("jump", again)
        assembly.exports[name] = name
    deep = assembly.function("deep", params=1)
    window = deep.window(1)
    deep.emit("move", window + 2, 0)
    deep.emit("call_func", 0, window, "deep")
    deep.emit("return", 0)
    for name in ("ffis", "fails", "deep"):
        assembly.exports[name] = name
    return assembly.code()


@pytest.fixture(scope="module")
def engine() -> WasmEngine:
    engine: WasmEngine = pytest.importorskip("mix_wasmtime.engine").WasmtimeEngine()
    return engine


@pytest.fixture
def make(engine: WasmEngine) -> Iterator[Callable[[], CodeMachine]]:
    """Makes machines with the program loaded."""
    module, code, instances = engine.compile(wasm()), program(), []

    def one() -> CodeMachine:
        instances.append(engine.instantiate(module, Limits(memory=16 * MIB), {}))
        machine = CodeMachine(instances[-1], code)
        machine.load(code.to_bytes())
        return machine

    yield one
    for instance in instances:
        instance.close()


@pytest.fixture
def portal() -> Iterator[Portal]:
    portal = Portal()
    yield portal
    portal.close()


@pytest.fixture(params=["by the loop", "in the step"])
def enter(
    make: Callable[[], CodeMachine], portal: Portal, request: pytest.FixtureRequest
) -> Callable[[str, Any], Any]:
    """Runs an entry of a new machine to its end; quick FFIs are answered in one of two places."""

    def run(entry: str, params: Any) -> Any:
        one, machine = Run(State(), table(), portal.spawn), make()
        if request.param == "in the step":
            machine.host = one
        return codec.decode(drive(one, one.steps(machine, entry, codec.encode(params))))

    return run


def test_ffis_are_answered_by_the_loop(enter: Callable[[str, Any], Any]) -> None:
    assert enter("ffis", 20) == 41


def test_an_unknown_entry_is_named(enter: Callable[[str, Any], Any]) -> None:
    with pytest.raises(NotFound, match="no entry 'ffi'; it has bomb, deep, endless, fails, ffis"):
        enter("ffi", 20)


def test_a_panic_has_the_places_of_its_calls(enter: Callable[[str, Any], Any]) -> None:
    with pytest.raises(GuestError, match=r"\+: expected two numbers") as raised:
        enter("fails", True)
    assert raised.value.backtrace == ["inner (app.mix:7:9)", "fails (app.mix:3:5)"]


def test_limits_are_named(enter: Callable[[str, Any], Any]) -> None:
    with pytest.raises(LimitExceeded, match="memory"):
        enter("bomb", "0123456789")
    with pytest.raises(LimitExceeded, match="stack"):
        enter("deep", 1)


def test_an_endless_loop_is_stopped(make: Callable[[], CodeMachine], portal: Portal) -> None:
    run = Run(State(), table(), portal.spawn)
    threading.Timer(0.05, run.stop, [CancelledRun("enough")]).start()
    with pytest.raises(CancelledRun, match="enough"):
        drive(run, run.steps(make(), "endless", codec.encode(1)))


def test_many_runs_wait_on_one_loop(make: Callable[[], CodeMachine]) -> None:
    async def main() -> list[Any]:
        loop = asyncio.get_running_loop()
        threads = Threads(1, "test")
        try:
            runs = [Run(State(), table(), loop.create_task) for _ in range(20)]
            steps = [run.steps(make(), "ffis", codec.encode(index)) for index, run in enumerate(runs)]
            driven = (drive_async(run, step, threads, 0.005) for run, step in zip(runs, steps, strict=True))
            return [codec.decode(words) for words in await asyncio.gather(*driven)]
        finally:
            threads.close()

    assert asyncio.run(main()) == [2 * index + 1 for index in range(20)]


def test_an_ffi_in_init_is_refused(engine: WasmEngine) -> None:
    assembly = Assembly()
    assembly.ffi("$double", 1)
    start = assembly.function("start")
    start.emit("int", start.register(), 1)
    start.emit("ffi", 0, 0, "$double")
    start.emit("return", 0)
    assembly.init = "start"
    code = assembly.code()
    instance = engine.instantiate(engine.compile(wasm()), Limits(), {})
    with pytest.raises(GuestError, match="while the program initialises"):
        CodeMachine(instance, code).load(code.to_bytes())
    instance.close()
