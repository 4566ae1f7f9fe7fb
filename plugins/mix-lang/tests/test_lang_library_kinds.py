"""What each function of the library makes of nothing, one, many, undefined, null, wrong kinds, and of very much.

The rows are in `kinds/MODULE.rows`, one file a module, and a row is one line (a line that is indented goes on with the
one before it; `#` begins a comment):

    KIND EXPRESSION => EXPRESSION       what it gives; `undefined` if it gives that. 3 is not 3.0.
    KIND EXPRESSION ! MESSAGE           the error that it raises.

KIND is one of empty, one, many, undefined, null, wrong, large. `{abs sqrt}` in a row makes a row of each word, for
which `@` stands at its end: `wrong number.{abs sqrt}(p.text) ! number_@: expected a number as number, found string`.

Expressions see every module of the library, and these, whose kinds the compiler does not know: `u` (undefined), and
`p.int p.float p.text p.bool p.array p.map p.binary p.case p.null`: 5, 2.5, "text", true, [1], {a: 1}, two bytes,
some(1), null. Rows of the kind `large` see `p.large` too, the numbers from 0 to 99,999, and `p.long`, a text of
100,000 characters; they run on the machine alone, all others on the evaluator as well.

The twins of modules, as `dataArray`, have the rows of these, with their own name.

To add a module, write its file. All of its functions must be in it, each called at the start of a row: those that take
arguments with a row of each of the kinds undefined, null and wrong, and all with one that gives something. Modules that
`mix_lang.arguments` lists look at the kinds of their arguments by themselves, from the types in the heads of functions.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from mix_lang import library, syntax
from mix_lang.compile import check
from mix_lang.diagnostic import Report
from mix_lang.evaluator.run import Agent
from mix_lang.parser import parse
from mix_lang.program import arity_of
from mix_lang.source import Source

from mixkit.kernel import Kernel
from mixkit.value import Case

TABLES = {
    path.stem: path.read_text(encoding="utf-8") for path in (Path(__file__).parent / "kinds").glob("*.rows")
}
TABLES |= {name: library.twin(name, TABLES[of]) for name, of in library.TWINS.items() if of in TABLES}
KINDS = {"empty", "one", "many", "undefined", "null", "wrong", "large"}
PARAMS: dict[str, Any] = {
    "int": 5, "float": 2.5, "text": "text", "bool": True, "array": [1], "map": {"a": 1}, "binary": b"\x00\xff",
    "case": Case("some", 1), "null": None,
}  # fmt: skip
AT_ONCE = 40
"""Rows of one function of a program."""


class Row(NamedTuple):
    line: int
    kind: str
    expression: str
    expected: str
    raises: bool

    @property
    def called(self) -> str:
        return re.split(r"[^\w.]", self.expression, maxsplit=1)[0]


def _rows(table: str) -> list[Row]:
    lines: list[tuple[int, str]] = []
    for number, line in enumerate(table.split("\n"), 1):
        if line.startswith(" ") and lines:
            lines[-1] = (lines[-1][0], f"{lines[-1][1]} {line.strip()}")
        elif line and not line.startswith("#"):
            lines.append((number, line))
    return [row for number, line in lines for row in _row(number, line)]


def _row(number: int, line: str) -> Iterator[Row]:
    found = re.fullmatch(r"(\w+) (.*?) (=>|!) (.*)", line)
    assert found is not None, f"line {number}: expected KIND EXPRESSION => EXPRESSION, found {line!r}"
    kind, expression, mark, expected = found.groups()
    assert kind in KINDS, f"line {number}: expected one of {sorted(KINDS)}, found {kind!r}"
    words = re.search(r"\.\{([\w ]+)\}", expression)
    if words is None:
        yield Row(number, kind, expression, expected, mark == "!")
        return
    for word in words.group(1).split():
        called = expression.replace(words.group(), f".{word}", 1)
        yield Row(number, kind, called, expected.replace("@", word), mark == "!")


def _program(rows: list[Row]) -> str:
    """An agent that answers of each row what it gives and what it should: a list of one element, or of none."""
    modules = [
        name
        for name in library.sources()
        if any(f"{name}." in f"{row.expression} {row.expected}" for row in rows)
    ]
    lines = [
        "module rows(p: data)",
        *(f"import {name}" for name in modules),
        "def u = p.nothing",
        "def shown(f) = let x = f(); if (x?) [x] else []",
    ]
    for start in range(0, len(rows), AT_ONCE):
        pairs = [
            f"[try shown((() -> {row.expression})), "
            + ("[]]" if row.raises else f"shown((() -> {row.expected}))]")
            for row in rows[start : start + AT_ONCE]
        ]
        lines.append(f"def rows{start}() = [\n" + ",\n".join(pairs) + "]")
    sums = " + ".join(f"rows{start}()" for start in range(0, len(rows), AT_ONCE))
    return "\n".join([*lines, f"cell output = {sums}", "module end\n"])


def _compare(rows: list[Row], found: list[Any], where: str) -> list[str]:
    wrong = []
    for row, (came, wanted) in zip(rows, found, strict=True):
        expected = Case("error", row.expected) if row.raises else Case("ok", wanted)
        if came != expected or _kinds(came) != _kinds(expected):
            wrong.append(
                f"line {row.line} {where}: {row.expression}\n  expected {expected}\n  found    {came}"
            )
    return wrong


def _kinds(value: Any) -> Any:
    """The kinds of all that is in a value: 3 == 3.0, but they are not the same."""
    if type(value) is list:
        return [_kinds(item) for item in value]
    if type(value) is dict:
        return {key: _kinds(item) for key, item in value.items()}
    return (value.name, _kinds(value.arg)) if type(value) is Case else type(value)


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    profile = tmp_path_factory.mktemp("profile") / "mix.toml"
    profile.write_text('plugins = ["wasmtime", "rt", "lang"]\nengines = ["wasmtime"]\n')
    with Kernel(profile, environ={}) as kernel:
        yield kernel


@pytest.mark.parametrize("name", sorted(TABLES))
def test_rows(name: str, kernel: Kernel, tmp_path: Path) -> None:
    rows = _rows(TABLES[name])
    large = {"large": list(range(100_000)), "long": "long text " * 10_000}
    agent = tmp_path / "rows.mix"
    agent.write_text(_program(rows))
    wrong = _compare(
        rows, kernel.run_sync(kernel.load(agent), "rows", PARAMS | large).value, "on the machine"
    )
    rows = [row for row in rows if row.kind != "large"]
    checked = check({"rows.mix": _program(rows)})
    assert not checked.failed, checked.diagnostics
    wrong += _compare(rows, Agent(checked.program, "rows", PARAMS).output(), "on the evaluator")
    assert not wrong, "\n".join(wrong)


def _functions(name: str) -> Iterator[tuple[str, bool]]:
    """The public functions and values of a module, and whether they take arguments; without those of the host."""
    text = library.sources()[name]
    source = Source(f"{name}.mix", text)
    (module,) = parse(source, name, Report(source))
    for item in module.items:
        if isinstance(item, syntax.Def) and not item.private and item.name != "_" and item.body is not None:
            yield item.name, bool(item.params) or arity_of(item.type if item.params is None else None) > 0
        elif isinstance(item, syntax.Foreign) and not item.private and item.ffi.startswith("%"):
            yield item.name, arity_of(item.type) > 0


@pytest.mark.parametrize("name", sorted(TABLES))
def test_rows_of_every_function(name: str) -> None:
    rows = _rows(TABLES[name])
    for function, takes in _functions(name):
        mine = [row for row in rows if row.called == f"{name}.{function}"]
        assert any(not row.raises and row.expected != "undefined" for row in mine), (
            f"{function}: nothing that it gives"
        )
        missing = {"undefined", "null", "wrong"} - {row.kind for row in mine}
        assert not takes or not missing, f"{function}: no rows of the kinds {sorted(missing)}"
