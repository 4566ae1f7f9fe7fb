"""Words of other languages, and what is written for them here."""

from __future__ import annotations

from typing import Final

__all__ = ["DEFINING", "LEADING", "TYPES", "WORDS"]

_FUNCTION: Final = "functions are written (x -> …)"
_QUERY: Final = "records are asked for with db.filter((r -> …), db.all()), see: mixkit doc db"
_LOOP: Final = "a loop ends when its condition is false, or with return from the def around it"
_WAITS: Final = "leave it out: what takes time is waited for, others run meanwhile"

LEADING: Final[dict[str, str]] = {
    "lambda": _FUNCTION, "function": _FUNCTION, "func": _FUNCTION, "fun": _FUNCTION, "fn": _FUNCTION,
    "new": "there are no classes: write a map, {a: 1}, or call a function that makes one",
    "typeof": "x |> type(number) checks of what type a value is",
    "NOT": "write not",
    "raise": "write fail(…)", "throw": "write fail(…)",
    "await": _WAITS, "async": _WAITS, "yield": "the module stream makes streams",
    "elif": "write else if", "elsif": "write else if", "elseif": "write else if",
    "default": "write case _: for all others",
    **dict.fromkeys(("const", "val"), "write let x = … among statements, and def x = … in a module"),
    "SELECT": _QUERY, "select": _QUERY, "FROM": _QUERY, "WHERE": _QUERY,
}  # fmt: skip
"""Those that begin something, so that what is wrong is what stands behind them."""

WORDS: Final[dict[str, str]] = LEADING | {
    "and": "write &&", "AND": "write &&", "or": "write ||", "OR": "write ||",
    "is": "compare with ==", "IS": "compare with ==", "LIKE": "string.contains(part, s) looks for a part",
    "IN": "array.contains(x, a) says whether x is in a", "then": "write if (c) a else b",
    "of": "write for (let x in a[]) { … }",
    "mod": "write % for the rest as a float, or number.modInt(a, b)", "end": "a module ends with 'module end'",
    "from": "write import array, or import a = array",
    "break": _LOOP, "continue": "put what follows into if (…) { … }", "pass": "leave it out: { } is a block of nothing",
    "nil": "write null", "None": "write null", "NULL": "write null", "Null": "write null",
    "True": "write true", "TRUE": "write true", "False": "write false", "FALSE": "write false",
    "print": "debug(x) writes to the log", "console": "debug(x) writes to the log",
    "println": "debug(x) writes to the log", "printf": "debug(x) writes to the log",
    "len": "write array.length(a), string.length(s) or map.length(m)",
    "str": 'write "" + x for the text of a number', "this": "write self.name",
    "self": "write self.name for a member of this module",
    "Math": "import number, and write number.sqrt(x)",
}  # fmt: skip
"""All of them."""

DEFINING: Final = frozenset(("const", "function", "func", "fun", "fn", "val", "class", "export", "public"))
"""Those that begin a definition, with its name behind them."""

TYPES: Final[dict[str, str]] = {
    **dict.fromkeys(("int", "integer", "float", "double", "long", "decimal"), "number"),
    **dict.fromkeys(("str", "text", "varchar", "char"), "string"),
    **dict.fromkeys(("boolean",), "bool"), **dict.fromkeys(("list", "tuple"), "array(…)"),
    **dict.fromkeys(("dict", "object", "record"), "map(…), or {a: number} where the keys are known"),
    **dict.fromkeys(("void", "unit", "none", "nil"), "null"),
}  # fmt: skip
"""Types of other languages, and those of this one."""
