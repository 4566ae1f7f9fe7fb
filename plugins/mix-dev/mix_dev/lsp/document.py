"""A text that is open in an editor, and its positions in the units that the editor counts in."""

from __future__ import annotations

import bisect
import re
from typing import Any, Final

from mix_lang.source import Span

__all__ = ["ENCODINGS", "Document", "Text"]

ENCODINGS: Final = ("utf-8", "utf-32", "utf-16")
"""What positions are counted in, the best first: bytes, characters, or what all editors know."""
_LINE: Final = re.compile(r"\r\n|\n|\r")


class Text:
    """A text with positions: lines from 0, and units from 0 in them."""

    def __init__(self, text: str, encoding: str = "utf-16") -> None:
        self.text = text
        self._encoding = encoding
        self._starts = [0, *(match.end() for match in _LINE.finditer(text))]

    def offset(self, position: dict[str, Any]) -> int:
        """The character at a position; the nearest one if there is none."""
        line = max(int(position["line"]), 0)
        if line >= len(self._starts):
            return len(self.text)
        start = self._starts[line]
        end = self._starts[line + 1] if line + 1 < len(self._starts) else len(self.text)
        within = self.text[start:end].rstrip("\r\n")
        units = max(int(position["character"]), 0)
        if self._encoding == "utf-32" or within.isascii():
            return start + min(units, len(within))
        for index, character in enumerate(within):
            if units <= 0:
                return start + index
            units -= self._units(character)
        return start + len(within)

    def position(self, offset: int) -> dict[str, int]:
        """The position of a character."""
        line = bisect.bisect_right(self._starts, offset) - 1
        before = self.text[self._starts[line] : offset]
        if self._encoding == "utf-32" or before.isascii():
            return {"line": line, "character": len(before)}
        return {"line": line, "character": sum(map(self._units, before))}

    def _units(self, character: str) -> int:
        if self._encoding == "utf-8":
            return len(character.encode("utf-8", "surrogatepass"))
        return 2 if self._encoding == "utf-16" and ord(character) > 0xFFFF else 1

    def range(self, span: Span) -> dict[str, dict[str, int]]:
        """Where something stands."""
        return {"start": self.position(span.start), "end": self.position(max(span.start, span.end))}


class Document(Text):
    """One that changes.

    Attributes:
        uri: as the editor names it.
        version: of the text, as the editor counts.
    """

    def __init__(self, uri: str, version: int, text: str, encoding: str) -> None:
        super().__init__(text, encoding)
        self.uri, self.version = uri, version

    def change(self, version: int, changes: list[dict[str, Any]]) -> None:
        """Do what was done in the editor: parts replaced, one after the other, or all of it."""
        for change in changes:
            text = change["text"]
            where = change.get("range")
            if where is not None:
                start, end = self.offset(where["start"]), self.offset(where["end"])
                text = self.text[:start] + text + self.text[max(start, end) :]
            self.__init__(self.uri, version, text, self._encoding)  # type: ignore[misc]
        self.version = version
