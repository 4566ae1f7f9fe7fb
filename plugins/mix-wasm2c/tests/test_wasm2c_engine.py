"""The wasm2c engine against the contract."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import wasmtime
from mix_wasm2c.engine import Wasm2cEngine
from mix_wasm2c.settings import Wasm2cSettings

from mixkit.contracts import WasmEngine
from mixkit.testing.engine_host_suite import EngineHostSuite
from mixkit.testing.engine_memory_suite import EngineMemorySuite
from mixkit.testing.engine_state_suite import EngineStateSuite
from mixkit.testing.engine_suite import EngineFixtures, EngineSuite
from mixkit.testing.engine_suspend_suite import EngineBlockingSuite


class Wasm2c(EngineFixtures):
    @pytest.fixture
    def engine(self, kept: Path) -> WasmEngine:
        return Wasm2cEngine(Wasm2cSettings(trust_all=True, cache_dir=str(kept), optimize=False))

    @pytest.fixture
    def wat2wasm(self) -> Callable[[str], bytearray]:
        return wasmtime.wat2wasm


class TestWasm2c(Wasm2c, EngineSuite):
    pass


class TestWasm2cHost(Wasm2c, EngineHostSuite):
    pass


class TestWasm2cMemory(Wasm2c, EngineMemorySuite):
    pass


class TestWasm2cBlocks(Wasm2c, EngineBlockingSuite):
    pass


class TestWasm2cState(Wasm2c, EngineStateSuite):
    pass
