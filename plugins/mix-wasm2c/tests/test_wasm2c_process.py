"""What the engine does to the process that it runs in: address space, files, threads, forks; and what it keeps."""

from __future__ import annotations

import gc
import os
import threading
from pathlib import Path

import pytest
import wasmtime
from mix_wasm2c.engine import Wasm2cEngine
from mix_wasm2c.settings import Wasm2cSettings
from mix_wasm2c.toolchain import Toolchain

from mixkit.contracts import FuncType, HostFunction, Instance
from mixkit.errors import EngineError, GuestError, LimitExceeded
from mixkit.limits import Limits
from mixkit.testing.descriptors import descriptors


def wat(text: str) -> bytes:
    return bytes(wasmtime.wat2wasm(f"(module {text})"))


def mapped() -> int:
    """Bytes of address space that the process has."""
    return int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGESIZE")


def test_address_space_is_given_back(engine: Wasm2cEngine) -> None:
    module = engine.compile(wat('(memory (export "memory") 1) (table 10 funcref) (func (export "f"))'))

    def cycle() -> None:
        instance = engine.instantiate(module, Limits(), {})
        instance.call("f")
        instance.close()

    for _ in range(100):
        cycle()
    before = mapped()
    for _ in range(20_000):
        cycle()
    assert mapped() - before < 64 << 20


def test_libraries_are_unloaded_and_their_files_closed(kept: Path) -> None:
    def loaded() -> tuple[int, int]:
        return len(descriptors("memfd:mix-wasm2c")), Path("/proc/self/maps").read_text().count(
            "memfd:mix-wasm2c"
        )

    engine = Wasm2cEngine(Wasm2cSettings(trust_all=True, cache_dir=str(kept), optimize=False, modules=2))
    # Those of other tests may not have gone yet.
    gc.collect()
    begin = loaded()
    for number in range(6):
        text = f'(func (export "f") (result i32) (i32.const {number}))'
        assert engine.instantiate(engine.compile(wat(text)), Limits(), {}).call("f") == number
    files, _ = loaded()
    assert files == begin[0] + 2
    engine._modules.clear()
    assert loaded() == begin


def test_a_library_lives_as_long_as_an_instance_of_it(kept: Path) -> None:
    settings = Wasm2cSettings(trust_all=True, cache_dir=str(kept), optimize=False, modules=1)
    engine = Wasm2cEngine(settings)
    instance = engine.instantiate(
        engine.compile(wat('(func (export "f") (result i32) (i32.const 5))')), Limits(), {}
    )
    engine.compile(wat('(func (export "f") (result i32) (i32.const 6))'))
    assert instance.call("f") == 5


def test_what_was_compiled_is_kept_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Wasm2cSettings(trust_all=True, cache_dir=str(tmp_path / "cache"), optimize=False)
    code = wat('(table 1 funcref) (func (export "f") (result i32) (i32.const 5))')
    first = Wasm2cEngine(settings).compile(code)
    (file,) = (tmp_path / "cache").iterdir()
    with monkeypatch.context() as patched:
        patched.setattr(Toolchain, "build", lambda *_: pytest.fail("compiled again"))
        engine = Wasm2cEngine(settings)
        again = engine.compile(code)
        assert engine.instantiate(again, Limits(), {}).call("f") == 5
        assert again._restorable == first._restorable
        # Another compiler makes another library.
        patched.setattr(Toolchain, "identity", "another")
        with pytest.raises(pytest.fail.Exception):
            Wasm2cEngine(settings).compile(code)
    # A file that is whole and no library.
    engine = Wasm2cEngine(settings)
    assert engine.cache is not None
    engine.cache.put(file.stem, b"\1no library")
    assert engine.instantiate(engine.compile(code), Limits(), {}).call("f") == 5


def test_a_backtrace_names_functions_as_their_author_did(engine: Wasm2cEngine) -> None:
    text = """(func $_ZN4core9panicking5panic17h5f9e7f04b716cae8E (unreachable))
      (func $_ZN3net6Socket4readEPcm (export "go") (call 0))
      (func $deep (export "deep") (param i32)
        (if (local.get 0) (then (call $deep (i32.sub (local.get 0) (i32.const 1)))) (else (unreachable))))"""
    module = engine.compile(wat(text))
    with pytest.raises(GuestError, match=r"in core::panicking::panic$") as caught:
        engine.instantiate(module, Limits(), {}).call("go")
    assert list(caught.value.backtrace) == ["core::panicking::panic", "net::Socket::read"]
    with pytest.raises(GuestError) as caught:
        engine.instantiate(module, Limits(), {}).call("deep", 100)
    assert caught.value.backtrace[-1] == "… 69 more"


NESTED = """(import "m" "f" (func $f (param i32) (result i32))) (func (export "boom") (unreachable))
  (func (export "g") (param i32) (result i32) (i32.add (call $f (local.get 0)) (i32.const 1)))"""


def test_guests_that_call_guests_keep_their_ways_out_apart(engine: Wasm2cEngine) -> None:
    def host(instance: Instance, depth: int) -> int:
        if depth == 0:
            return 100
        inner = engine.instantiate(module, Limits(), imports)
        if depth % 2:
            with pytest.raises(GuestError):
                engine.instantiate(module, Limits(), imports).call("boom")
        return int(inner.call("g", depth - 1) or 0)

    imports = {("m", "f"): HostFunction(FuncType(("i32",), ("i32",)), host)}
    module = engine.compile(wat(NESTED))
    assert engine.instantiate(module, Limits(), imports).call("g", 5) == 106


def test_a_guest_goes_on_in_a_forked_process(engine: Wasm2cEngine) -> None:
    instance = engine.instantiate(
        engine.compile(
            wat('(memory (export "memory") 1) (func (export "f") (result i32) (i32.load (i32.const 0)))')
        ),
        Limits(),
        {},
    )
    instance.write(0, b"\7\0\0\0")
    child = os.fork()
    if child == 0:
        os._exit(int(instance.call("f") or 0))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


def test_a_thread_with_little_stack_is_refused_before_the_guest_runs(engine: Wasm2cEngine) -> None:
    instance = engine.instantiate(engine.compile(wat('(func (export "f"))')), Limits(stack=1 << 20), {})
    errors: list[BaseException] = []

    def run() -> None:
        try:
            instance.call("f")
        except LimitExceeded as exc:
            errors.append(exc)

    before = threading.stack_size(512 * 1024)
    try:
        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
    finally:
        threading.stack_size(before)
    assert "threading.stack_size" in str(errors[0])


@pytest.mark.parametrize("body", ["(call $big)", "(call_indirect (i32.const 0))"])
def test_a_deep_stack_of_large_frames_ends_within_the_limit(engine: Wasm2cEngine, body: str) -> None:
    loads = "".join(f"(local.set {i} (i64.load (i32.const {8 * i})))" for i in range(200))
    stores = "".join(f"(i64.store (i32.const {16 * i}) (local.get {i}))" for i in range(200))
    text = (
        "(memory 1) (table 1 funcref) (elem (i32.const 0) $big)"
        f' (func $big (export "f") (local {"i64 " * 200}) {loads} {body} {stores})'
    )
    with pytest.raises(LimitExceeded, match="stack"):
        engine.instantiate(engine.compile(wat(text)), Limits(stack=4 << 20), {}).call("f")


def test_without_a_compiler_nothing_is_compiled(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(EngineError, match=r"no C compiler \(cc, gcc, clang\): install one, or pip install"):
        Toolchain(Wasm2cSettings())
