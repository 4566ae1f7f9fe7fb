"""What the brackets say, found out before parsing in one pass over the tokens.

How deep each token stands in brackets, so that the parser can go on behind an error; and where a lambda begins, so
that it need not look ahead for the arrow.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from mix_lang.lexer import Token
from mix_lang.source import Source

__all__ = ["CLOSERS", "Structure", "structure"]

CLOSERS: Final = {"(": ")", "[": "]", "{": "}"}
_ENDS: Final = frozenset(CLOSERS.values())
_STARTERS: Final = frozenset(
    [
        "def",
        "cell",
        "import",
        "module",
        "declare",
        "foreign",
        "alias",
        "initializer",
        "private",
        "static",
        "live",
    ]
)
_RESETS: Final = frozenset((",", ";", "|", "=", ":"))


@dataclass(frozen=True, slots=True)
class Structure:
    """`depth[i]`: brackets that are open before token i. `lambdas`: indices at which a lambda's patterns begin.
    `items`: indices at which a definition begins, whatever brackets are open."""

    depth: list[int]
    lambdas: frozenset[int]
    items: frozenset[int]


def _looks_like_item(tokens: list[Token], at: int) -> bool:
    token = tokens[at]
    if token.kind != "keyword" or not token.first:
        return False
    behind = tokens[min(at + 1, len(tokens) - 1)]
    if token.value == "var":
        return bool(behind.value == "cell")
    return token.value in _STARTERS and behind.kind in ("name", "keyword")


def structure(tokens: list[Token], source: Source) -> Structure:
    """Read the brackets. One that is never closed is closed where the next definition begins: at the start of a line,
    and no further to the right than the definition before."""
    depth: list[int] = []
    lambdas: set[int] = set()
    items: set[int] = set()
    column = 0
    # An open bracket, and where its present item begins.
    stack: list[list[int | str]] = []
    for at, token in enumerate(tokens):
        if _looks_like_item(tokens, at):
            here = source.place(token.span.start)[2]
            if not stack or here <= column:
                column = here
                items.add(at)
                stack.clear()
        depth.append(len(stack))
        if token.kind != "op":
            continue
        value = token.value
        if value in CLOSERS:
            stack.append([value, at + 1])
        elif value in _ENDS:
            while stack and CLOSERS[str(stack.pop()[0])] != value:
                pass
        elif not stack:
            continue
        elif value == "->":
            lambdas.add(int(stack[-1][1]))
            stack[-1][1] = at + 1
        elif value in _RESETS:
            stack[-1][1] = at + 1
    return Structure(depth, frozenset(lambdas), frozenset(items))
