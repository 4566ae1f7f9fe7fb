"""Cases of the conformance suite of Mix, with sanitizers: all is moved after each allocation, or one fails."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest
from mix_rt.errors import QCodeError
from mix_rt.vm import Virtual

SUITE = Path(__file__).parents[3] / "tests" / "test_mix.py"


@pytest.fixture(scope="module")
def suite() -> Any:
    """The module of the suite, whose cases these are."""
    pytest.importorskip("mix_lang")
    pytest.importorskip("mix_wasmtime")
    spec = importlib.util.spec_from_file_location("suite_of_mix", SUITE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("mode", ["moved", "failing"])
def test_cases(suite: Any, native: Callable[[], Virtual], mode: str) -> None:
    random = Random(seed := Random().randrange(2**32))

    def make(initialised: Virtual | None = None) -> tuple[Virtual, Virtual]:
        if initialised is not None:
            # There are no snapshots of a process: it goes on itself.
            return initialised, initialised
        virtual = native()
        if mode == "moved":
            virtual.test(stress=True)
        else:
            number = random.randrange(1, 300)
            virtual.test(fail_from=number, fail_until=number + 1)
        return virtual, virtual

    for path in random.sample(suite.CASES, 12):
        case = suite.read_case(path)
        checked = suite.check(case.sources)
        if checked.failed:
            continue
        agent = checked.unit_of(path.name)
        assert agent is not None
        code = suite.generate(checked.program, agent.name)
        try:
            suite.run_case(case, suite.Machine(code, agent.name, make))
        except QCodeError as exc:
            # While code is loaded nothing is garbage, so there is nothing to be done.
            assert mode == "failing" and str(exc) == "out of memory", (path, f"seed {seed}")
        except AssertionError as exc:
            raise AssertionError(f"{path}, seed {seed}") from exc
