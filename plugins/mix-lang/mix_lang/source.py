"""The text of a module, and where in it something stands.

Inside of the compiler a place is a `Span`: two offsets in characters. Only a diagnostic or a debug symbol turns it into
file, line and column, because only here `#line`, `#push` and `#pop` count.

A text is read in passages, of a definition or a few each. The spans in a passage count from a number of its own,
`FIRST` or more, which no other passage has; so its tree stays as it is wherever the passage moves in the text. The
source knows where its passages are. Offsets below `FIRST` are those of the text itself.
"""

from __future__ import annotations

import bisect
import re
from dataclasses import dataclass, field
from typing import Final, NamedTuple, TypeAlias

__all__ = ["FIRST", "Location", "Origin", "Shift", "Source", "Span"]

FIRST: Final = 1 << 40
"""The lowest offset that is one in a passage."""


class Span(NamedTuple):
    """From the first character to behind the last."""

    start: int
    end: int

    def to(self, other: Span) -> Span:
        """From the start of this to the end of the other."""
        return Span(self.start, max(self.end, other.end))


class Location(NamedTuple):
    """A place as people read it: lines and columns count from 1, columns in characters; the end is behind the last."""

    file: str
    start_line: int
    start_col: int
    end_line: int
    end_col: int

    def __str__(self) -> str:
        return f"{self.file}:{self.start_line}:{self.start_col}"


class Shift(NamedTuple):
    """From the line `physical` on (from 1), lines are those of `file` from `line` on."""

    physical: int
    file: str
    line: int


Origin: TypeAlias = tuple[str | int, int, int]
"""File, line and column; or a passage, as the number from which its spans count, the line in it from 0, and the column.
Passages begin where a line does."""

_LINE: Final = re.compile(r"\r\n|\n|\r")


@dataclass(slots=True)
class Source:
    """A text and the name of its file. The lexer adds what `#line` and its like shift."""

    file: str
    text: str
    shifts: list[Shift] = field(default_factory=list)
    _starts: list[int] = field(default_factory=list)
    _passages: list[int] = field(default_factory=list)
    _offsets: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        # Some editors write a mark of the encoding, which is no character of the text.
        self.text = self.text.removeprefix("\ufeff")
        self._starts = [0, *(match.end() for match in _LINE.finditer(self.text))]

    def lay(self, passage: int, offset: int) -> None:
        """Say where a passage begins in the text, whose spans count from that number."""
        at = bisect.bisect(self._passages, passage)
        self._passages.insert(at, passage)
        self._offsets.insert(at, offset)

    @property
    def passages(self) -> dict[int, int]:
        """The lines before each passage."""
        return {
            passage: self.line_of(offset) - 1
            for passage, offset in zip(self._passages, self._offsets, strict=True)
        }

    def offset(self, at: int) -> int:
        """Where in the text an offset is, which may be one in a passage."""
        if at < FIRST:
            return at
        index = bisect.bisect(self._passages, at) - 1
        return at - self._passages[index] + self._offsets[index]

    def span(self, span: Span) -> Span:
        """The same in the text."""
        return Span(self.offset(span.start), self.offset(span.end))

    def origin(self, at: int) -> Origin:
        """Where a character stands, in words that stay true when its passage moves."""
        if at < FIRST:
            return self.place(at)
        passage = self._passages[bisect.bisect(self._passages, at) - 1]
        _, line, column = self.place(at)
        return passage, line - self.line_of(self.offset(passage)), column

    def line_of(self, offset: int) -> int:
        """The physical line, from 1, in which a character stands."""
        return bisect.bisect_right(self._starts, offset)

    def line_text(self, line: int) -> str:
        """A physical line without its end; empty if there is none."""
        if not 1 <= line <= len(self._starts):
            return ""
        end = self._starts[line] if line < len(self._starts) else len(self.text)
        return self.text[self._starts[line - 1] : end].rstrip("\r\n")

    def place(self, offset: int) -> tuple[str, int, int]:
        """File, line and column of a character, as `#line` shifts them."""
        offset = self.offset(offset)
        line = self.line_of(offset)
        column = offset - self._starts[line - 1] + 1
        index = bisect.bisect_right(self.shifts, line, key=lambda shift: shift.physical)
        if not index:
            return self.file, line, column
        shift = self.shifts[index - 1]
        return shift.file, shift.line + line - shift.physical, column

    def location(self, span: Span) -> Location:
        """The place of a span; its end is never before its start."""
        file, line, column = self.place(span.start)
        _, end_line, end_column = self.place(max(span.start, span.end))
        return Location(file, line, column, max(line, end_line), end_column)
