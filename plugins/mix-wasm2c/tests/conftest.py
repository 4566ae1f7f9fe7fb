"""What tests of the engine share: one that keeps what it compiled, and a reason to skip them all."""

from __future__ import annotations

from pathlib import Path

import pytest
from mix_wasm2c.engine import Wasm2cEngine
from mix_wasm2c.settings import Wasm2cSettings
from mix_wasm2c.toolchain import Toolchain

from mixkit.errors import EngineError


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Without a C compiler nothing here can run."""
    try:
        Toolchain(Wasm2cSettings())
    except EngineError as exc:
        pytest.skip(str(exc))


@pytest.fixture(scope="session")
def kept(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache from one session to the next: a C compiler takes a fifth of a second for the smallest module."""
    cache = getattr(pytestconfig, "cache", None)
    return tmp_path_factory.mktemp("wasm2c") if cache is None else Path(cache.mkdir("wasm2c"))


@pytest.fixture
def engine(kept: Path) -> Wasm2cEngine:
    """Runs everything."""
    return Wasm2cEngine(Wasm2cSettings(trust_all=True, cache_dir=str(kept), optimize=False))
