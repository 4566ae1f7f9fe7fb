"""Agents that load modules, whole: the guest in C, the kernel, the engine; and what stops them."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest
import wasmtime
from mix_wasm.build import build

from mixkit.errors import CancelledRun, LimitExceeded, RunError
from mixkit.grants import ALL, Grants
from mixkit.kernel import Kernel
from mixkit.limits import Limits
from mixkit.value import error, ok

pytest.importorskip("ziglang")

MODULE = bytes(
    wasmtime.wat2wasm("""(module (memory (export "memory") 16)
      (func (export "add") (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1)))
      (func (export "spin") (loop $again (br $again)))
      (func (export "fail") (unreachable)))""")
)
PROGRAM = bytes(
    wasmtime.wat2wasm("""(module
      (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
      (memory (export "memory") 1) (func (export "_start") (call $exit (i32.const 7))))""")
)


@pytest.fixture(scope="session")
def loads(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    out = tmp_path_factory.mktemp("loads") / "loads.wasm"
    return build(Path(__file__).parent / "guests" / "loads.c", out).read_bytes()


def run(kernel: Kernel, code: bytes, entry: str, params: dict[str, Any], **limits: Any) -> Any:
    grants = limits.pop("grants", ALL)
    return kernel.run_sync(code, entry, params, grants=grants, limits=Limits(**limits)).value


def test_an_agent_calls_a_module(wasm_kernel: Kernel, loads: bytes) -> None:
    params = {"code": MODULE, "function": "add", "args": [2, 3], "times": 3}
    assert run(wasm_kernel, loads, "load", params) == [ok(5)] * 3
    assert run(wasm_kernel, loads, "wasi", {"code": PROGRAM, "options": {}}) == ok(
        {"exit_code": 7, "stdout": b"", "stderr": b""}
    )


def test_an_agent_goes_on_after_a_module_has_failed(wasm_kernel: Kernel, loads: bytes) -> None:
    first, second = run(wasm_kernel, loads, "load", {"code": MODULE, "function": "fail", "times": 2})
    assert "unreachable" in first.arg
    assert second == error("the module was shut down or has failed; load it again")
    params = {"code": MODULE, "function": "spin", "timeout": 30}
    assert "took more than 30 ms" in run(wasm_kernel, loads, "load", params)[0].arg


def test_the_deadline_of_the_run_ends_its_modules(wasm_kernel: Kernel, loads: bytes) -> None:
    began = time.monotonic()
    with pytest.raises(RunError) as caught:
        run(wasm_kernel, loads, "load", {"code": MODULE, "function": "spin"}, wall_time=0.5)
    assert isinstance(caught.value.__cause__, LimitExceeded)
    assert caught.value.__cause__.limit == "wall_time"
    assert time.monotonic() - began < 10


async def test_a_caller_that_goes_away_ends_them_too(wasm_kernel: Kernel, loads: bytes) -> None:
    program = wasm_kernel.load(loads)
    task = asyncio.create_task(
        wasm_kernel.run(program, "load", {"code": MODULE, "function": "spin"}, grants=ALL)
    )
    await asyncio.sleep(0.3)
    task.cancel()
    began = time.monotonic()
    with pytest.raises((asyncio.CancelledError, CancelledRun)):
        await task
    assert time.monotonic() - began < 10


def test_load_bombs_run_out_of_what_the_run_has(wasm_kernel: Kernel, loads: bytes) -> None:
    """The modules have a megabyte each, and the agent itself some."""
    said = run(wasm_kernel, loads, "bomb", {"code": MODULE, "times": 100}, memory=6 << 20)
    assert said.startswith("the module cannot be started: limit memory of 6291456 bytes exceeded")
    said = run(wasm_kernel, loads, "bomb", {"code": MODULE, "times": 100})
    assert said.startswith("this run has loaded 8 modules; the setting wasm.loads")
    with pytest.raises(RunError, match="limit handles of 5"):
        run(wasm_kernel, loads, "bomb", {"code": MODULE, "times": 100}, handles=5)
    assert run(wasm_kernel, loads, "bomb", {"code": MODULE, "times": 8}) == 8


def test_a_loaded_agent_cannot_load(wasm_kernel: Kernel, loads: bytes) -> None:
    params = {"code": loads, "function": "bomb", "args": {"code": MODULE, "times": 1}}
    (answer,) = run(wasm_kernel, loads, "load", params)
    assert "$wasm_load was called by a loaded module, which can call no FFIs" in answer.arg


def test_without_the_grant_there_is_nothing_to_load_with(wasm_kernel: Kernel, loads: bytes) -> None:
    with pytest.raises(RunError, match=r"\$wasm_load is not granted"):
        run(wasm_kernel, loads, "bomb", {"code": MODULE}, grants=Grants(["$core_*"]))
    with pytest.raises(RunError, match=r"from bytes is not granted"):
        run(wasm_kernel, loads, "bomb", {"code": MODULE}, grants=Grants(["*"], {"wasm.modules": []}))
