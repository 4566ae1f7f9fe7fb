"""Generated modules do on wasm2c what they do on Wasmtime; `tests/fuzz/fuzz_wasm2c.py` makes more of them."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

FUZZ = Path(__file__).parents[3] / "tests" / "fuzz" / "fuzz_wasm2c.py"


@pytest.fixture(scope="module")
def fuzz() -> ModuleType:
    spec = importlib.util.spec_from_file_location("fuzz_wasm2c", FUZZ)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("optimize", [True, False])
def test_both_engines_give_the_same_results_traps_and_memory(fuzz: ModuleType, optimize: bool) -> None:
    assert fuzz.compare(fuzz.pair(optimize), 20 + optimize) == 160


def test_a_difference_is_found(fuzz: ModuleType) -> None:
    """The comparison sees what a wrong instruction in one of many functions does."""
    engine = fuzz.pair()[0]
    code = fuzz.assembled(20)
    expected = fuzz.behaviour(engine, code)
    assert fuzz.behaviour(engine, code) == expected
    spoiled = code.replace(b"\x41\x03\x0b", b"\x41\x04\x0b", 1)
    assert spoiled != code
    assert fuzz.behaviour(engine, spoiled) != expected
