"""Random programs in Mix, for tests that compare two ways to run them. They end, and most parts have a value."""

from __future__ import annotations

import random
import re
from typing import Final

__all__ = ["program"]

_CONSTANTS: Final = (
    "0", "1", "-1", "2", "7", "2.5", "-0.5", "1e21", "9223372036854775807", '""', '"a"', '"Ab"', '"é"', "null", "true",
    "false", "undefined", "[]", "[1, 2, 3]", '["a", "b"]', "{}", "{a: 1}", '{a: "x", b: [1]}', "some(1)",
    'error("e")', "red",
)  # fmt: skip
_OPERATORS: Final = (
    "+", "+", "-", "*", "/", "%", "==", "!=", "<", "<=", ">", ">=", "===", "!==", "&&", "||", "==:ci", "<:ci",
)  # fmt: skip
_COMPARED: Final = frozenset(_OPERATORS[6:14]) | {"==:ci", "<:ci"}
_PATTERNS: Final = (
    "0", "1", '"a"', "null", "true", "_", "x", "[]", "[x]", "[x, y]", "[x, ~multiple y]", "[~optional x, y]", "{a: x}",
    "{a: x, b?: y}", "global.some(x)", "global.error(x)", "self.red", "self.rgb([x, _])", "type(number)",
    "type(string)", "type(array(number))", "type({a: number})", "v @ type(map)", "x < 5", "x >= 1 && x < 3",
    "1 || 2", "undefined",
)  # fmt: skip
_FUNCTIONS: Final = (
    ("array.map", 1), ("array.filter", 1), ("array.exists", 1), ("array.flatMap", 1), ("array.indexedMap", 2),
)  # fmt: skip


class _Writer:
    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.defs: list[tuple[str, int]] = []

    def pick(self, options: tuple[str, ...] | list[str]) -> str:
        return self.chance.choice(options)

    def expression(self, names: list[str], depth: int) -> str:
        """An expression in parentheses, or one that needs none."""
        if depth <= 0 or self.chance.random() < 0.15:
            return self.pick([self.pick(_CONSTANTS), *names]) if names else self.pick(_CONSTANTS)
        rule = self.chance.choice(
            (self._binary, self._binary, self._if, self._let, self._access, self._array, self._map, self._with,
             self._lambda_call, self._library, self._call, self._match, self._try, self._do, self._present,
             self._stream, self._pipe, self._partial, self._changed)
        )  # fmt: skip
        return rule(names, depth - 1)

    def _binary(self, names: list[str], depth: int) -> str:
        op = self.pick(_OPERATORS)
        left, right = self.expression(names, depth), self.expression(names, depth)
        prefix = self.pick(("", "", "", "not ", "-")) if op not in _COMPARED else ""
        inner = f"{left} {op} {right}"
        return f"({prefix}({inner}))" if prefix else f"({inner})"

    def _if(self, names: list[str], depth: int) -> str:
        parts = [self.expression(names, depth) for _ in range(3)]
        return f"(if ({parts[0]}) {parts[1]} else {parts[2]})"

    def _let(self, names: list[str], depth: int) -> str:
        name = self.pick(("p", "q"))
        return f"(let {name} = {self.expression(names, depth)}; {self.expression([*names, name], depth)})"

    def _access(self, names: list[str], depth: int) -> str:
        step = self.pick(
            (".a", ".b", "[0]", "[1]", "[-1]", '.("a")', "[#0 of 2]", f"[{self.expression(names, 0)}]")
        )
        return f"{self._simple(names, depth)}{step}"

    def _simple(self, names: list[str], depth: int) -> str:
        return f"({self.expression(names, depth)})"

    def _array(self, names: list[str], depth: int) -> str:
        items = [self.expression(names, depth) for _ in range(self.chance.randrange(4))]
        return f"[{', '.join(items)}]"

    def _map(self, names: list[str], depth: int) -> str:
        keys = self.chance.sample(["a", "b", '"c d"', '("k" + 1)'], self.chance.randrange(4))
        return "{" + ", ".join(f"{key}: {self.expression(names, depth)}" for key in keys) + "}"

    def _with(self, names: list[str], depth: int) -> str:
        step = self.pick((".a", "[0]", '.("z")', ".b[0]"))
        return f"({self.expression(names, depth)} with {step} = {self.expression(names, depth)})"

    def _lambda_call(self, names: list[str], depth: int) -> str:
        return f"(w -> {self.expression([*names, 'w'], depth)})({self.expression(names, depth)})"

    def _library(self, names: list[str], depth: int) -> str:
        name, count = self.chance.choice(_FUNCTIONS)
        params = ["e", "i"][:count]
        head = params[0] if count == 1 else f"({', '.join(params)})"
        body = self.expression([*names, *params], depth)
        return f"{name}({head} -> {body}, {self.expression(names, depth)})"

    def _call(self, names: list[str], depth: int) -> str:
        if not self.defs:
            return self._binary(names, depth)
        name, count = self.chance.choice(self.defs)
        args = [self.expression(names, depth) for _ in range(count)]
        return f"{name}({', '.join(args)})"

    def _partial(self, names: list[str], depth: int) -> str:
        wide = [(name, count) for name, count in self.defs if count > 1]
        if not wide:
            return self._array(names, depth)
        name, count = self.chance.choice(wide)
        args = [self.expression(names, depth) for _ in range(count)]
        return f"{name}({args[0]})({', '.join(args[1:])})"

    def _match(self, names: list[str], depth: int) -> str:
        clauses = []
        for _ in range(self.chance.randrange(1, 4)):
            pattern = self.pick(_PATTERNS)
            bound = sorted(set(re.findall(r"\b[xy]\b", pattern)))
            guard = f" when {self.expression([*names, *bound], 1)}" if self.chance.random() < 0.2 else ""
            clauses.append(f"{pattern}{guard} -> {self.expression([*names, *bound], depth)}")
        clauses.append(f"_ -> {self.expression(names, depth)}")
        return f"({self.expression(names, depth)} |> ({' | '.join(clauses)}))"

    def _try(self, names: list[str], depth: int) -> str:
        return f"(try {self._simple(names, depth)})"

    def _do(self, names: list[str], depth: int) -> str:
        array = self.expression(names, depth)
        step = self.expression([*names, "n", "k"], depth)
        return (
            f"do {{ var n = 0; for (let k in ({array} |> (z @ type(array) -> z | _ -> [1, 2]))[]) "
            f"{{ if (k === 1) {{ n = {step} |> (undefined -> 0 | o -> o) }} else {{ n = [n] }} }} return n }}"
        )

    def _changed(self, names: list[str], depth: int) -> str:
        """Elements of two variables that may have the same array are assigned to."""
        value = f"({self.expression([*names, 'v', 'w', 'k'], depth)} |> (undefined -> 0 | o -> o))"
        choices = (
            f"v[k] = {value}", "w[k] = k", "w = v", "v = w", "v = v + [k]", "w[k] = [v, k]", "v[1] = w",
            "let u = v; v[0] = [u]", "v[0] = do { v[1] = k; return v }",
        )  # fmt: skip
        steps = "; ".join(self.pick(choices) for _ in range(self.chance.randrange(2, 6)))
        return (
            f"do {{ var v = [0, 1, 2]; var w = v; for (let k in [0, 2, 1][]) {{ {steps} }} return [v, w] }}"
        )

    def _present(self, names: list[str], depth: int) -> str:
        return f"({self._access(names, depth)}?)"

    def _stream(self, names: list[str], depth: int) -> str:
        low, high = self.chance.randrange(-1, 3), self.chance.randrange(-1, 4)
        array = self.expression(names, depth)
        return f"stream.toArray([{array} |> (undefined -> 0 | o -> o), 1, 2][{low}..{high}] ++ 5)"

    def _pipe(self, names: list[str], depth: int) -> str:
        return f"({self.expression(names, depth)} |> (w -> {self.expression([*names, 'w'], depth)}))"


def program(seed: int) -> str:
    """The source of an agent whose output is an array of what its parts gave or raised."""
    writer = _Writer(seed)
    lines = ["import array", "import stream", "case red", "case rgb([data, data])"]
    for index in range(4):
        count = writer.chance.randrange(1, 4)
        params = ["a", "b", "c"][:count]
        body = writer.expression(params, 3)
        lines.append(f"def f{index}({', '.join(params)}) = {body}")
        writer.defs.append((f"f{index}", count))
    parts = [f"  try ({writer.expression(['p'], 4)})" for _ in range(6)]
    return (
        f"module random_{seed}(p: data)\n" + "\n".join(lines) + "\ncell output = [\n" + ",\n".join(parts)
        + "\n]\nmodule end\n"
    )  # fmt: skip
