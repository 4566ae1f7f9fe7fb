"""What only shows in whole processes: forks, memory over many cycles, imports; and Wasmtime's own particulars."""

from __future__ import annotations

import gc
import importlib
import os
import subprocess
import sys
import threading
import weakref
from pathlib import Path

import mix_wasmtime
import pytest
import wasmtime
from mix_wasmtime.engine import Instance, WasmtimeEngine
from mix_wasmtime.settings import WasmtimeSettings

from mixkit.contracts import FuncType, HostFunction, WasmEngine
from mixkit.errors import EngineError, GuestError, LimitExceeded
from mixkit.limits import Limits

WORK = bytes(
    wasmtime.wat2wasm("""(module
  (import "m" "f" (func $f (param i32) (result i32))) (memory (export "memory") 2)
  (func (export "work") (param i32) (result i32)
    (i32.store (i32.const 70000) (local.get 0)) (call $f (i32.load (i32.const 70000))))
  (func (export "loop") (loop (br 0))))""")
)
IMPORTS = {("m", "f"): HostFunction(FuncType(("i32",), ("i32",)), lambda _, number: number + 1)}


def engine() -> WasmtimeEngine:
    return WasmtimeEngine(WasmtimeSettings(cache_dir="off"))


def cycle(on: WasmtimeEngine, number: int) -> None:
    instance = on.instantiate(on.compile(WORK), Limits(), IMPORTS)
    assert instance.call("work", number) == number + 1
    instance.close()


def in_child(work: object) -> int:
    """Exit status of a forked child that does the work; 0 is good."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            work()  # type: ignore[operator]
            status = 0
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def interrupted(instance: Instance) -> bool:
    timer = threading.Timer(0.02, instance.interrupt)
    timer.start()
    try:
        instance.call("loop")
    except GuestError as exc:
        return exc.trap == "interrupt"
    finally:
        timer.join()
    return False


def test_everything_works_on_both_sides_of_a_fork() -> None:
    shared = engine()
    kept = shared.instantiate(shared.compile(WORK), Limits(), IMPORTS)
    kept.call("work", 1)

    def work() -> None:
        assert kept.call("work", 5) == 6
        cycle(shared, 6)
        other = bytes(wasmtime.wat2wasm('(module (func (export "f") (result i32) i32.const 3))'))
        assert shared.instantiate(shared.compile(other), Limits(), {}).call("f") == 3
        assert interrupted(shared.instantiate(shared.compile(WORK), Limits(), IMPORTS))

    for _ in range(3):
        assert in_child(work) == 0
    work()


def test_an_engine_made_before_a_fork_compiles_after_it() -> None:
    shared = engine()
    assert in_child(lambda: cycle(shared, 1)) == 0
    cycle(shared, 2)


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


def mapped() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGESIZE")


def test_cycles_leave_no_memory_and_no_address_space() -> None:
    shared = engine()
    for number in range(300):
        cycle(shared, number)
    gc.collect()
    before, space = resident(), mapped()
    for number in range(4000):
        cycle(shared, number)
    gc.collect()
    assert resident() - before < 4 << 20
    assert mapped() - space < 1 << 30, "one memory reserves 4 GiB"


def test_failures_leave_no_memory() -> None:
    shared = engine()
    module = shared.compile(
        bytes(
            wasmtime.wat2wasm(
                '(module (import "m" "f" (func $f)) (memory 2) (func (export "g") call $f)'
                ' (func $r (export "r") call $r) (func (export "u") unreachable))'
            )
        )
    )

    def raising(instance: Instance) -> None:
        raise ValueError("no")

    imports = {("m", "f"): HostFunction(FuncType((), ()), raising)}

    def fail() -> None:
        for name in ("g", "r", "u"):
            with pytest.raises((ValueError, LimitExceeded, GuestError)):
                shared.instantiate(module, Limits(), imports).call(name)
        with pytest.raises(LimitExceeded):
            shared.instantiate(module, Limits(memory=65536), imports)

    for _ in range(100):
        fail()
    gc.collect()
    before = resident()
    for _ in range(1000):
        fail()
    gc.collect()
    assert resident() - before < 4 << 20


def test_instances_in_reference_cycles_are_collected() -> None:
    shared = engine()

    class Owner:
        instance: Instance

    owner = Owner()
    owner.instance = shared.instantiate(shared.compile(WORK), Limits(), IMPORTS)
    owner.instance.owner = owner
    gone = weakref.ref(owner)
    del owner
    gc.collect()
    assert gone() is None


def test_host_functions_of_past_runs_are_let_go() -> None:
    shared = engine()
    module = shared.compile(WORK)
    seen = []
    for _ in range(40):

        def host(instance: Instance, number: int) -> int:
            return number

        seen.append(weakref.ref(host))
        imports = {("m", "f"): HostFunction(FuncType(("i32",), ("i32",)), host)}
        shared.instantiate(module, Limits(), imports).close()
        del host, imports
    gc.collect()
    assert sum(ref() is not None for ref in seen) <= 8


def test_stack_sizes_share_compiled_code() -> None:
    shared = engine()
    module = shared.compile(WORK)
    for stack in (16 * 1024, 100_000, Limits().stack, 4 << 20):
        assert shared.instantiate(module, Limits(stack=stack), IMPORTS).call("work", 1) == 2
    assert sorted(shared._backends) == [(size, False) for size in (16 * 1024, 65536, Limits().stack, 4 << 20)]


def test_too_many_memories_are_refused() -> None:
    with pytest.raises(EngineError, match="17 memories"):
        engine().compile(bytes(wasmtime.wat2wasm("(module" + "(memory 0)" * 17 + ")")))


def test_compiling_in_threads_compiles_once() -> None:
    shared = engine()
    modules: list[object] = []
    threads = [threading.Thread(target=lambda: modules.append(shared.compile(WORK))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(modules) == 8
    assert len(set(map(id, modules))) == 1


def test_loading_the_plugin_imports_nothing_heavy() -> None:
    probe = (
        "import sys, mix_wasmtime; mix_wasmtime.mix_engines(); mix_wasmtime.mix_settings();"
        "print(sorted({'wasmtime', 'msgspec', 'mix_wasmtime._native'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_hooks_name_what_exists() -> None:
    for path in (*mix_wasmtime.mix_engines().values(), mix_wasmtime.mix_settings()):
        module, name = path.split(":")
        assert isinstance(getattr(importlib.import_module(module), name), type)
    assert isinstance(WasmtimeEngine(), WasmEngine)


def test_the_engine_imports_wasmtime_with_the_first_compile() -> None:
    probe = (
        "import sys; from mix_wasmtime.engine import WasmtimeEngine; WasmtimeEngine().version;"
        "print('wasmtime' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_another_major_version_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    import mix_wasmtime.backend

    assert mix_wasmtime.backend.check_version().startswith("50.")
    monkeypatch.setattr("mixkit.distributions.version", lambda _: "51.0.0")
    with pytest.raises(EngineError, match=r"needs wasmtime 50\.x, found 51"):
        mix_wasmtime.backend.check_version()


def test_the_doctor_finds_it_well_and_finds_a_bad_directory(tmp_path: Path) -> None:
    class Kernel:
        def __init__(self, directory: str) -> None:
            self.directory = directory

        def settings(self, plugin: str) -> WasmtimeSettings:
            assert plugin == "wasmtime"
            return WasmtimeSettings(cache_dir=self.directory)

    assert [check.level for check in mix_wasmtime.mix_doctor(Kernel(str(tmp_path / "c")))] == ["ok", "ok"]
    assert [check.level for check in mix_wasmtime.mix_doctor(Kernel("off"))] == ["ok", "ok"]
    tmp_path.chmod(0o777)
    bad = mix_wasmtime.mix_doctor(Kernel(str(tmp_path)))
    assert [check.level for check in bad] == ["ok", "warning"]
    assert "cache_dir" in bad[1].remedy
