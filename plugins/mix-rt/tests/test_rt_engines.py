"""The module in each engine that is installed: the same results as natively."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

import pytest
from mix_rt.instance import virtual, wasm
from mix_rt.qcode import Assembly
from mix_rt.testing import SLICE, execute, finish
from mix_rt.vm import Virtual

from mixkit import codec
from mixkit.contracts import WasmEngine
from mixkit.limits import Limits
from mixkit.value import equal

VECTORS = json.loads((Path(__file__).parents[3] / "tests" / "vectors" / "codec.json").read_text())


@pytest.fixture(scope="module", params=["wasmtime", "wasm2c"])
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> WasmEngine:
    """Both engines; the one that needs a C compiler is left out where there is none."""
    if request.param == "wasmtime":
        return cast(WasmEngine, pytest.importorskip("mix_wasmtime.engine").WasmtimeEngine())
    module = pytest.importorskip("mix_wasm2c.engine")
    settings = pytest.importorskip("mix_wasm2c.settings")
    cache = getattr(request.config, "cache", None)
    kept = tmp_path_factory.mktemp("wasm2c") if cache is None else cache.mkdir("wasm2c")
    return cast(
        WasmEngine,
        module.Wasm2cEngine(settings.Wasm2cSettings(trust_all=True, cache_dir=str(kept), optimize=False)),
    )


@pytest.fixture
def make(engine: WasmEngine) -> Iterator[Callable[[], Virtual]]:
    """Makes machines in instances of their own."""
    module = engine.compile(wasm())
    instances = []

    def one() -> Virtual:
        instances.append(engine.instantiate(module, Limits(), {}))
        return virtual(instances[-1])

    yield one
    for instance in instances:
        instance.close()


def test_the_module_imports_nothing(engine: WasmEngine) -> None:
    module = engine.compile(wasm())
    assert not module.imports and set(module.exports) >= {"memory", "mix_alloc", "mix_step"}


def test_the_codec(make: Callable[[], Virtual]) -> None:
    machine = make()
    for vector in VECTORS["valid"]:
        words = bytes.fromhex(vector["hex"])
        assert machine.echo(words) == words, vector["name"]


def test_a_frozen_machine_goes_on(engine: WasmEngine) -> None:
    """After init a machine is frozen; an instance that is reset to that state enters it as often as one likes."""
    assembly = Assembly()
    index = assembly.new_global()
    start = assembly.function("start")
    start.emit("load", start.register(), [40])
    start.emit("set_global", 0, index)
    start.emit("return", 0)
    main = assembly.function("main", params=1)
    main.emit("global", main.register(), index)
    main.emit("push", 1, 0)
    main.emit("set_global", 1, index)
    main.emit("return", 1)
    assembly.init, assembly.exports["main"] = "start", "main"
    code = assembly.code()
    instance = engine.instantiate(engine.compile(wasm()), Limits(), {})
    machine = virtual(instance)
    machine.load(code.to_bytes())
    finish(machine, machine.init(SLICE))
    machine.collect()
    frozen = instance.freeze()
    assert frozen is not None
    for number in (1, 2):
        assert finish(machine, machine.enter(code.exports["main"], codec.encode([number]), SLICE)) == [
            40,
            number,
        ]
        assert instance.reset(frozen)
    instance.close()


def test_results_are_those_of_the_native_machine(
    make: Callable[[], Virtual], native: Callable[[], Virtual]
) -> None:
    def program() -> Assembly:
        assembly = Assembly()
        main = assembly.function("main", params=2)
        for name in ("add", "sub", "mul", "div", "rem", "eq", "lt", "le"):
            main.emit(name, main.register(), 0, 1)
        text = main.register()
        main.emit("load", text, "= ")
        main.emit("add", text, text, 4)
        main.emit("array", 2, 2, 9)
        main.emit("return", 2)
        assembly.exports["main"] = "main"
        return assembly

    for left, right in ((1, 3), (0.1, 0.2), (2**62, 2**62), (-7, 2.5), (1e300, 1e-5), (float("inf"), 1)):
        found = execute(make(), program(), "main", left, right)
        assert equal(found, execute(native(), program(), "main", left, right))
