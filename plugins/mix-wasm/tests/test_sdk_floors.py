"""The files of the library stand on each other in one order, which its README says."""

from __future__ import annotations

import re

from mix_wasm.compiler import sdk

_COMMENT = re.compile(r"/\*.*?\*/|\"(?:\\.|[^\"\\\n])*\"", re.DOTALL)
_DEFINED = re.compile(r"^(?!static|typedef)[\w(\"][^;={}#]*?\b\*?(mix_\w+)\([^;{}]*\)\s*\{", re.MULTILINE)
_USED = re.compile(r"\b(mix_\w+)\(")


def test_each_file_calls_only_those_below_it() -> None:
    floors = re.findall(r"^\| `(\w+\.c)` \|", (sdk() / "README.md").read_text("utf-8"), re.MULTILINE)
    assert sorted(floors) == sorted(path.name for path in sdk().glob("*.c"))
    sources = {name: _COMMENT.sub("", (sdk() / name).read_text("utf-8")) for name in floors}
    home = {function: name for name, text in sources.items() for function in _DEFINED.findall(text)}
    assert len(home) > 60
    calls = {
        (name, home[function])
        for name, text in sources.items()
        for function in _USED.findall(text)
        if function in home and home[function] != name
    }
    assert len(calls) > 10
    wrong = [(caller, called) for caller, called in calls if floors.index(called) < floors.index(caller)]
    assert wrong == []
