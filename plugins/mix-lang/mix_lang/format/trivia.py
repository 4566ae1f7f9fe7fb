"""What stands between tokens: comments, empty lines, `#line` and its like; and which token they belong to.

A comment behind something in a line belongs to that, any other one to what follows it. Commas and semicolons come and
go with the layout, so that comments belong to their neighbours instead.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from mix_lang.lexer import Token

__all__ = ["Comment", "Trivia", "trivia_of"]

_PIECE: Final = re.compile(
    r"(?P<newline>\r\n|\n|\r)|(?P<line>//[^\r\n]*)|(?P<block>/\*(?:[^*]|\*(?!/))*\*/)|(?P<directive>\#[^\r\n]*)"
)
_SEPARATORS: Final = (",", ";")


class Comment(NamedTuple):
    """A comment, or `#line` and its like (`left`: they stand in the first column)."""

    text: str
    blank: bool
    """Whether an empty line is before it."""
    inline: bool
    """Whether what follows stands in its line."""
    left: bool


class Trivia(NamedTuple):
    """What belongs to tokens, by their indices; most have nothing.

    `before`, `behind`: comments. `blank`: tokens with an empty line before them, behind their comments. `first`: tokens
    that are on another line than the one before.
    """

    before: dict[int, list[Comment]]
    behind: dict[int, list[str]]
    blank: set[int]
    first: set[int]


def trivia_of(text: str, tokens: list[Token]) -> Trivia:
    """What stands between the tokens of a text."""
    found = Trivia({}, {}, set(), set())
    end = 0
    moved: list[Comment] = []
    blank = False
    owner = -1
    for index, token in enumerate(tokens):
        start = token.span.start
        comments: list[Comment] = []
        if start - end > 1 or token.first or (start > end and text[end] in "\r\n/"):
            between = text[end:start]
            if not between.isspace() or "\n" in between or "\r" in between:
                comments, last = _read(between, found, -1 if moved else owner, index)
                blank = blank or last
        end = token.span.end
        if moved:
            comments, moved = moved + comments, []
        if token.kind == "op" and token.value in _SEPARATORS:
            moved = comments
            if index in found.first:
                found.first.discard(index)
            continue
        if comments:
            found.before[index] = comments
        if blank:
            found.blank.add(index)
        blank = False
        owner = index
    return found


def _read(between: str, found: Trivia, owner: int, index: int) -> tuple[list[Comment], bool]:
    """The comments between two tokens that belong to the second; whether an empty line is before that."""
    comments: list[Comment] = []
    pieces = [(match.lastgroup, match.group()) for match in _PIECE.finditer(between)]
    ends = [at for at, (kind, _) in enumerate(pieces) if kind in ("newline", "line")]
    lines = 0
    here = owner >= 0
    for at, (kind, piece) in enumerate(pieces):
        if kind == "newline":
            lines += 1
            here = False
            continue
        inline = kind == "block" and not (ends and ends[-1] > at)
        text = piece.rstrip()
        if here and not inline:
            found.behind.setdefault(owner, []).append(text)
        else:
            comments.append(Comment(text, lines > 1, inline, kind == "directive"))
        lines = 0
    if lines or (comments and not comments[-1].inline):
        found.first.add(index)
    return comments, lines > 1
