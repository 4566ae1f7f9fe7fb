"""The Wasmtime engine against the contract."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import wasmtime
from mix_wasmtime.engine import WasmtimeEngine
from mix_wasmtime.settings import WasmtimeSettings

from mixkit.contracts import WasmEngine
from mixkit.testing.engine_host_suite import EngineHostSuite
from mixkit.testing.engine_state_suite import EngineStateSuite
from mixkit.testing.engine_suite import EngineFixtures, EngineSuite


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


class TestWasmtimeState(Wasmtime, EngineStateSuite):
    pass
