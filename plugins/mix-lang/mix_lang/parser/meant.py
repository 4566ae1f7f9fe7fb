"""What somebody meant who writes Mix as another language is written: hints for what does not belong where it stands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from mix_lang.elsewhere import DEFINING, LEADING, WORDS
from mix_lang.lexer import Token

__all__ = ["leading", "meant"]

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
    if "condition" in expected:
        return "a condition stands in parentheses: (x > 1)"
    if expected == "'(' behind 'for'":
        return "write for (let x in a[]) { … }"
    if before == ":" and token.first and expected == "a type":
        return "a body stands behind = or in braces: def f(x) = x + 1, def f(x) { … }"
    if token.kind == "op":
        return _operator(tokens, at, before, expected)
    if token.kind == "string" and _is_import(tokens, at):
        return f"the name of a module stands alone: import {token.value}"
    if token.kind == "keyword":
        return _keyword(str(token.value), expected)
    if token.kind == "name" and token.value in DEFINING and "definition" in expected:
        return (
            "a definition is written def name = …, or def name(x) { … }; others see it unless it is private"
        )
    return WORDS.get(token.value, "") if token.kind == "name" else ""


def leading(tokens: Sequence[Token], at: int) -> int | None:
    """The word of another language that is why the token does not belong there, if one is: right before it, or before
    a colon, as in `default:`."""
    before = at - 2 if _text(tokens, at - 1) == ":" else at - 1
    if before < 0 or tokens[before].kind != "name":
        return None
    if tokens[before].value in LEADING:
        return before
    prefix = tokens[at].kind == "string" and tokens[before].span.end == tokens[at].span.start
    return before if prefix else None


def _keyword(word: str, expected: str) -> str:
    if word == "for" and "']'" in expected:
        return "write array.map((x -> …), a)"
    if word == "in" and "operator" in expected:
        return "array.contains(x, a) says whether x is in a"
    return "write if (c) a else b" if word == "if" and "operator" in expected else ""


def _operator(tokens: Sequence[Token], at: int, before: str, expected: str) -> str:
    op = str(tokens[at].value)
    if op == "=" and _text(tokens, at + 1) == ">":
        return "functions are written (x -> …)"
    if op == "=" and before in ("+", "-", "*", "/", "%"):
        return f"write x = x {before} …"
    if op == "=" and expected == "',' or '}'":
        return "a key has a colon: {a: 1}"
    if op == "=" and expected == "',' or ')'":
        return "arguments have no names: f(1, 2)"
    if op == "=":
        return "compare with ==" if "operator" in expected and "definition" not in expected else ""
    if op == "*" and before == "*":
        return "write number.pow(a, b)"
    if op == "-" and expected == "',' or '}'":
        return 'a key that is no name is a string: {"my-key": 1}'
    if op == "[" and _text(tokens, at + 1) == "]":
        return "the type of an array is array(number)"
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
