"""What somebody meant who writes Mix as another language is written: hints for what does not belong where it stands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from mix_lang.lexer import Token

__all__ = ["meant"]

_WORDS: Final = {
    "and": "write &&",
    "or": "write ||",
    "is": "compare with ==",
    "then": "write if (c) a else b",
    "elif": "write else if",
    "elsif": "write else if",
    "mod": "write % for the rest as a float, or number.modInt(a, b)",
    "end": "a module ends with 'module end'",
    "function": "functions and values are written def name = …",
}
_WORDS.update(dict.fromkeys(("func", "fun", "fn", "const", "val", "class", "export"), _WORDS["function"]))
_OPERATORS: Final = {
    "->": "functions stand in parentheses: (x -> …)",
    "'": 'strings stand in "',
    "#": "comments begin with //",
}


def meant(tokens: Sequence[Token], at: int, expected: str) -> str:
    """What to write, where that is certain; "" elsewhere.

    Args:
        at: the token that does not belong there.
        expected: what the message says that may stand there.
    """
    token = tokens[at]
    before = _text(tokens, at - 1)
    if before == "?":
        first = _text(tokens, at - 2)
        return "write withDefault(b, a)" if first == "?" else "write if (c) a else b"
    if before == "++":
        return "there is no ++ that counts: write i = i + 1"
    if before == ":" and _text(tokens, at - 2) == "default":
        return "write case _: for all others"
    if token.kind == "op":
        return _operator(tokens, at, before, expected)
    if token.kind == "name":
        if token.value == "from" and _is_import(tokens, at):
            return "write import array, or import a = array"
        return _WORDS.get(token.value, "")
    return ""


def _operator(tokens: Sequence[Token], at: int, before: str, expected: str) -> str:
    op = str(tokens[at].value)
    if op == "=" and _text(tokens, at + 1) == ">":
        return "functions are written (x -> …)"
    if op == "=" and before in ("+", "-", "*", "/", "%"):
        return f"write x = x {before} …"
    if op == "=" and expected == "',' or '}'":
        return "a key has a colon: {a: 1}"
    if op == "=":
        return "compare with ==" if "operator" in expected else ""
    if op == ">" and before == "<":
        return "write !="
    if op == ".." and before in ("{", "[", ",") and _text(tokens, at + 1) == ".":
        return "arrays and maps are joined with +"
    if op == "," and _is_import(tokens, at):
        return "each module has an import of its own"
    return _OPERATORS.get(op, "")


def _text(tokens: Sequence[Token], at: int) -> str:
    """The operator or word there; "" for anything else."""
    if not 0 <= at < len(tokens) or tokens[at].kind not in ("op", "name", "keyword"):
        return ""
    return str(tokens[at].value)


def _is_import(tokens: Sequence[Token], at: int) -> bool:
    """Whether the line begins with `import`."""
    while at > 0 and not tokens[at].first:
        at -= 1
    return _text(tokens, at) == "import"
