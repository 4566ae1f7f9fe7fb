"""Whatever built-in a foreign definition may name is one that the machine has, with as many arguments."""

from __future__ import annotations

from pathlib import Path

import pytest
from mix_lang.builtins import NAMES, NUMBERED, params_of
from mix_lang.compiler import build
from mix_lang.errors import CompileError

from mixkit.kernel import Kernel


def test_each_is_there(tmp_path: Path) -> None:
    foreign, calls = [], []
    for number, name in enumerate(f"{name} 0" if name in NUMBERED else name for name in NAMES):
        takes = params_of(f"%{name}")
        assert takes is not None
        foreign.append(f'foreign def f{number} : {"data -> " * takes}data = "%{name}"\n')
        calls.append(f"() -> f{number}" + (f"({', '.join(['1'] * takes)})" if takes else ""))
    agent = tmp_path / "each.mix"
    agent.write_text(f"import array\n{''.join(foreign)}cell output = array.length([{', '.join(calls)}])\n")
    profile = tmp_path / "mix.toml"
    profile.write_text('plugins = ["wasmtime", "rt", "lang"]\nengines = ["wasmtime"]\n')
    with Kernel(profile, environ={}) as kernel:
        assert kernel.run_sync(kernel.load(agent), "each", {}).value == len(NAMES)


@pytest.mark.parametrize("more", [-1, 1])
@pytest.mark.parametrize("name", ["string_sub", "length", "set_slot 0", "wake"])
def test_another_number_of_arguments(name: str, more: int) -> None:
    takes = params_of(f"%{name}")
    assert takes is not None
    of = "data -> " * (takes + more) + "data"
    with pytest.raises(CompileError) as caught:
        build({"a.mix": f'foreign def f : {of} = "%{name}"\ncell output = 1'})
    (item,) = caught.value.diagnostics
    assert item.code == "M0323" and item.location.start_col == 17


@pytest.mark.parametrize(
    "name", ["", " ", "nope", "slot", "slot x", "slot ²", "slots -1", "slots 65536", "length 1"]
)
def test_no_built_in(name: str) -> None:
    with pytest.raises(CompileError) as caught:
        build({"a.mix": f'foreign def f : data -> data = "%{name}"\ncell output = f(1)'})
    (item,) = caught.value.diagnostics
    assert item.code == "M0323" and item.location.start_col == 32
