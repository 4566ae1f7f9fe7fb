"""The Wasmtime engine against the contract."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import wasmtime
from mix_wasmtime.engine import WasmtimeEngine
from mix_wasmtime.settings import WasmtimeSettings

from mixkit.contracts import WasmEngine
from mixkit.errors import EngineError, GuestError
from mixkit.limits import Limits
from mixkit.testing.engine_host_suite import EngineHostSuite
from mixkit.testing.engine_memory_suite import EngineMemorySuite
from mixkit.testing.engine_state_suite import EngineStateSuite
from mixkit.testing.engine_suite import EngineFixtures, EngineSuite
from mixkit.testing.engine_suspend_suite import EngineBlockingSuite, EngineSuspendSuite


class Wasmtime(EngineFixtures):
    @pytest.fixture
    def engine(self, tmp_path: Path) -> WasmEngine:
        return WasmtimeEngine(WasmtimeSettings(cache_dir=str(tmp_path / "cache")))

    @pytest.fixture
    def wat2wasm(self) -> Callable[[str], bytearray]:
        return wasmtime.wat2wasm


class TestWasmtime(Wasmtime, EngineSuite):
    pass


class TestWasmtimeHost(Wasmtime, EngineHostSuite):
    pass


class TestWasmtimeMemory(Wasmtime, EngineMemorySuite):
    pass


class TestWasmtimeState(Wasmtime, EngineStateSuite):
    pass


class OnFibers(Wasmtime):
    @pytest.fixture
    def suspends(self) -> bool:
        return True


class TestWasmtimeOnFibers(OnFibers, EngineSuite):
    pass


class TestWasmtimeHostOnFibers(OnFibers, EngineHostSuite):
    pass


class TestWasmtimeMemoryOnFibers(OnFibers, EngineMemorySuite):
    pass


class TestWasmtimeStateOnFibers(OnFibers, EngineStateSuite):
    pass


class TestWasmtimeSuspends(Wasmtime, EngineSuspendSuite):
    pass


class TestWasmtimeBlocks(Wasmtime, EngineBlockingSuite):
    pass


class TestWasmtimeWithoutFibers(Wasmtime, EngineBlockingSuite):
    @pytest.fixture
    def engine(self, tmp_path: Path) -> WasmEngine:
        return WasmtimeEngine(WasmtimeSettings(cache_dir=str(tmp_path / "cache"), fibers=False))


def test_a_probe_that_fails_is_logged_and_switches_fibers_off(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    engine = WasmtimeEngine(WasmtimeSettings(cache_dir="off"))
    monkeypatch.setattr("mix_wasmtime.probe.WAITS", 7)
    assert not engine.suspends
    assert "expected 7, found 1" in caplog.text
    with pytest.raises(EngineError, match="probe"):
        engine.instantiate(engine.compile(bytes(wasmtime.wat2wasm("(module)"))), Limits(), {}, suspends=True)


@pytest.mark.parametrize("told", [(), ("memory",), ("memory", "memory", "memory")])
def test_memories_that_nobody_expects_are_an_error(
    monkeypatch: pytest.MonkeyPatch, told: tuple[str, ...]
) -> None:
    """Wasmtime may make memories that the module does not declare, or fewer: whose they are is not guessed."""
    engine = WasmtimeEngine(WasmtimeSettings(cache_dir="off"))
    module = engine.compile(bytes(wasmtime.wat2wasm('(module (memory (export "memory") 1) (memory 2))')))
    monkeypatch.setattr(module, "_exposed", replace(module._exposed, memories=told))
    for _ in range(3):
        with pytest.raises(SystemError, match=f"expected {len(told)} memories, Wasmtime made 2"):
            engine.instantiate(module, Limits(), {})
    gc.collect()


def test_globals_are_found_in_steps_that_grow_with_their_number() -> None:
    """As many as there may be cost a few times what a tenth of them cost, not a hundred times."""
    engine = WasmtimeEngine(WasmtimeSettings(cache_dir="off"))

    def seconds(count: int) -> float:
        body = "".join(f"(global (mut i64) (i64.const {number}))" for number in range(count))
        module = engine.compile(bytes(wasmtime.wat2wasm(f"(module {body})")))
        times = []
        for _ in range(5):
            begin = time.thread_time()
            instance = engine.instantiate(module, Limits(), {})
            snapshot = instance.freeze()
            assert snapshot is not None
            assert snapshot.size == 16 * count
            assert instance.reset(snapshot)
            times.append(time.thread_time() - begin)
            instance.close()
        return min(times)

    assert seconds(10_000) < 40 * seconds(1_000)


@pytest.mark.parametrize("start", ["", "(start $nothing)"])
@pytest.mark.parametrize("exported", [True, False])
def test_frames_name_the_place_in_the_file(start: str, exported: bool) -> None:
    export = '(export "memory")' if exported else ""
    code = bytes(
        wasmtime.wat2wasm(
            f"(module (memory {export} 1) (global (mut i32) (i32.const 0)) (func $nothing) {start}"
            '(func $boom (export "boom") (i32.store (i32.const 0) (i32.const 7)) unreachable))'
        )
    )
    engine = WasmtimeEngine(WasmtimeSettings(cache_dir="off"))
    with pytest.raises(GuestError) as caught:
        engine.instantiate(engine.compile(code), Limits(), {}).call("boom")
    offset = int(caught.value.backtrace[0].rpartition("0x")[2], 16)
    # What is there: unreachable, end; and what is before, the end of a store.
    assert code[offset - 2 : offset + 2] == b"\x02\x00\x00\x0b"


def test_names_in_a_backtrace_are_those_of_the_source() -> None:
    text = """(module (func $_ZN4core9panicking5panic17h5f9e7f04b716cae8E (unreachable))
      (func $_ZN3net6Socket4readEPcm (export "go") (call 0)))"""
    engine = WasmtimeEngine(WasmtimeSettings(cache_dir="off"))
    with pytest.raises(GuestError, match="in core::panicking::panic at") as caught:
        engine.instantiate(engine.compile(bytes(wasmtime.wat2wasm(text))), Limits(), {}).call("go")
    assert [frame.split(" at ")[0] for frame in caught.value.backtrace] == [
        "core::panicking::panic",
        "net::Socket::read",
    ]
