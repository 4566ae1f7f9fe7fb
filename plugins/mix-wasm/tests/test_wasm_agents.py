"""Agents that load modules, whole: the guest in C, the kernel, the engine; and what stops them."""

from __future__ import annotations

import asyncio
import json
import subprocess
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import wasmtime
from mix_db.storages import Mixquery
from mix_wasm.build import build

from mixkit.databases import Apps, Databases
from mixkit.errors import CancelledRun, LimitExceeded, RunError
from mixkit.grants import ALL, Grants
from mixkit.kernel import Kernel
from mixkit.limits import Limits
from mixkit.package import Package, WorkspaceStore
from mixkit.package.build import build as build_package
from mixkit.storage import Place
from mixkit.value import error, ok

pytest.importorskip("ziglang")
Run = Callable[..., subprocess.CompletedProcess[str]]

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


@pytest.fixture
def folder(loads: bytes, tmp_path: Path) -> Path:
    """The folder of a package with a module that is no agent."""
    code = tmp_path / "code" / "sums"
    (code / "lib").mkdir(parents=True)
    (code / "loads.wasm").write_bytes(loads)
    (code / "lib" / "adder.wasm").write_bytes(MODULE)
    manifest = {
        "format": 3,
        "name": "sums",
        "version": "1.0",
        "kind": "app",
        "apps": {"sums": {"agents": {"load": {"code": "code/sums/loads.wasm"}}}},
        "grants": {"ffis": ["$wasm_*"], "options": {"wasm.modules": ["package"]}},
    }
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    return tmp_path


ASKED = json.dumps({"code": "lib/adder.wasm", "function": "add", "args": [2, 3]})


def test_an_agent_loads_from_its_package(mixkit_cli: Run, folder: Path) -> None:
    environment = {"MIXKIT_PROFILE": "wasi"}
    done = mixkit_cli("run", str(folder), "load", ASKED, env=environment)
    assert "5" in done.stdout, done.stderr
    done = mixkit_cli("run", str(folder), "load", ASKED.replace("adder.wasm", "x"), env=environment)
    assert (
        "no file 'lib/x' among the code of the package; there are: lib/adder.wasm, loads.wasm" in done.stderr
    )


def test_an_installed_agent_loads_from_its_package_until_it_is_installed_anew(
    wasm_kernel: Kernel, folder: Path, tmp_path: Path
) -> None:
    databases = Databases(Mixquery)
    workspace = WorkspaceStore(tmp_path / "store", databases).create("main")
    workspace.install(Package.open(build_package(folder)))
    app = workspace.app("sums")

    def run_load(name: str) -> Any:
        apps = Apps(workspace.place, partial(workspace.file, app.place, app.generation))
        params = {"code": name, "function": "add", "args": [2, 3]}
        return wasm_kernel.run_sync(app.code("load"), "load", params, grants=app.grants, apps=apps).value

    assert run_load("lib/adder.wasm") == [ok(5)]
    for name in (
        "adder.wasm",
        "../sums/lib/adder.wasm",
        "code/sums/lib/adder.wasm",
        "lib",
        "",
    ):
        with pytest.raises(
            RunError, match=r"no file .* among the code of the package; there are: lib/adder\.wasm"
        ):
            run_load(name)
    with pytest.raises(RunError, match="from bytes is not granted"):
        wasm_kernel.run_sync(app.code("load"), "load", {"code": MODULE, "function": "add"}, grants=app.grants)
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest | {"version": "1.1"}))
    workspace.install(Package.open(build_package(folder)))
    with pytest.raises(RunError, match="app 'sums' was installed anew since this run began; start it again"):
        run_load("lib/adder.wasm")
    workspace.delete_app("sums")
    with pytest.raises(RunError, match="no app 'sums'"):
        run_load("lib/adder.wasm")
    app.close()
    databases.close()


def test_an_agent_loads_one_of_its_files(wasm_kernel: Kernel, loads: bytes, tmp_path: Path) -> None:
    place = Place("main", "sums", tmp_path)
    files = wasm_kernel.files.open(place)
    asyncio.run(files.put("/lib/adder.wasm", MODULE))
    asyncio.run(files.put("/lib/large.wasm", b"x" * 100_001))

    def run_load(path: str, **options: Any) -> Any:
        params = {"code": path, "function": "add", "args": [2, 3]}
        return wasm_kernel.run_sync(loads, "load", params, **{"grants": ALL, "place": place, **options}).value

    assert run_load("/lib/adder.wasm") == [ok(5)]
    assert run_load("/lib/adder.wasm", grants=Grants(["*"], {"wasm.modules": ["files"]})) == [ok(5)]
    for path, message in {
        "/lib/large.wasm": "more than 100000 bytes",
        "/lib/none.wasm": "no file",
        "/lib/../lib/adder.wasm": r"'\.\.' is not followed",
        "/lib": "no file",
        "/": "expected a name",
    }.items():
        with pytest.raises(RunError, match=message):
            run_load(path)
    with pytest.raises(RunError, match="this run was started without an app"):
        run_load("/lib/adder.wasm", place=None)
    reads: dict[str, Any] = {"files.read": ["/other", "/lib"]}
    assert run_load("/lib/adder.wasm", grants=Grants(["*"], reads)) == [ok(5)]
    with pytest.raises(RunError, match=r"outside of the folders that files\.read grants"):
        run_load("/lib/adder.wasm", grants=Grants(["*"], reads) & Grants(["*"], {"files.read": ["/li"]}))
    with pytest.raises(RunError, match="from files is not granted"):
        run_load("/lib/adder.wasm", grants=Grants(["*"], {"wasm.modules": ["package", "bytes"]}))


def test_a_run_without_a_package_has_no_files(wasm_kernel: Kernel, loads: bytes) -> None:
    with pytest.raises(
        RunError, match=r"no file 'adder\.wasm' of a package: this run was started without one"
    ):
        run(wasm_kernel, loads, "load", {"code": "adder.wasm", "function": "add"})


def test_without_the_grant_there_is_nothing_to_load_with(wasm_kernel: Kernel, loads: bytes) -> None:
    with pytest.raises(RunError, match=r"\$wasm_load is not granted"):
        run(wasm_kernel, loads, "bomb", {"code": MODULE}, grants=Grants(["$core_*"]))
    with pytest.raises(RunError, match=r"from bytes is not granted"):
        run(wasm_kernel, loads, "bomb", {"code": MODULE}, grants=Grants(["*"], {"wasm.modules": []}))
