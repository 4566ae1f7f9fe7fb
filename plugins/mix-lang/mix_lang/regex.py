"""What is wrong with a regular expression, before it runs: as `mixrt/regex.c` reads it, with its words."""

from __future__ import annotations

from typing import Final

__all__ = ["wrong"]

_STEPS: Final = 3000
_RANGES: Final = 3000
_NODES: Final = 4000
_NESTING: Final = 100
_COUNT: Final = 1000
_GROUPS: Final = 63
_ROW: Final = 4
_HEX: Final = frozenset("0123456789abcdefABCDEF")
_NAMED: Final = {"d": 1, "s": 2, "w": 4, "D": 2, "S": 3, "W": 5}
"""Names of classes to the number of their ranges."""


class _Wrong(Exception):
    pass


def wrong(pattern: str) -> tuple[int, str] | None:
    """Where it is wrong, in characters, and what is; None if nothing is."""
    reader = _Reader(pattern)
    try:
        reader.read()
    except _Wrong as exc:
        return reader.at, str(exc)
    return None


class _Reader:
    """Reads a pattern; each method answers how many steps the program has of what it has read."""

    def __init__(self, text: str) -> None:
        self.text, self.at = text, 0
        self._nodes, self._ranges, self._groups, self._nesting = 1, 0, 0, 0

    def read(self) -> None:
        if self.text[:3] in ("(?i", "(?m"):
            self.at = 2
            while self._peek() in ("i", "m"):
                self.at += 1
            if not self._take(")"):
                raise _Wrong("expected ) after the flags")
        steps = self._choice()
        if self.at < len(self.text):
            raise _Wrong("a ) without its (")
        if steps + 1 > _STEPS:
            raise _Wrong("the pattern is too long")

    def _peek(self) -> str:
        return self.text[self.at : self.at + 1]

    def _take(self, wanted: str) -> bool:
        found = self._peek() == wanted
        self.at += found
        return found

    def _character(self) -> int:
        self.at += 1
        return ord(self.text[self.at - 1])

    def _node(self) -> None:
        if self._nodes == _NODES:
            raise _Wrong("the pattern is too long")
        self._nodes += 1

    def _add_ranges(self, count: int) -> None:
        self._ranges += count
        if self._ranges > _RANGES:
            raise _Wrong("the pattern is too long")

    def _choice(self) -> int:
        self._node()
        parts = [self._sequence()]
        while self._take("|"):
            parts.append(self._sequence())
        # A split and a jump for each but the last.
        return sum(parts) + 2 * (len(parts) - 1)

    def _sequence(self) -> int:
        self._node()
        steps = 0
        while self._peek() not in ("", "|", ")"):
            if self._peek() == "{":
                self.at += 1
                self._node()
                steps += 1
            else:
                steps += self._repeat()
        return steps

    def _repeat(self) -> int:
        steps = self._atom()
        row = 0
        while True:
            start = self.at
            least, most = 0, -1
            if self._take("+"):
                least = 1
            elif self._take("?"):
                most = 1
            elif self._take("{"):
                count = self._number()
                if count is None:
                    # A brace that counts nothing means itself.
                    self.at = start
                    return steps
                least = most = count
                if self._take(","):
                    other = self._number()
                    most = -1 if other is None else other
                if not self._take("}"):
                    raise _Wrong("a count that does not end")
                if least > _COUNT or most > _COUNT:
                    raise _Wrong("a count above 1000")
                if -1 < most < least:
                    raise _Wrong("a count whose end is below its start")
            elif not self._take("*"):
                return steps
            if row == _ROW:
                raise _Wrong("too many repetitions in a row")
            row += 1
            self._take("?")
            self._node()
            steps = self._repeated(steps, least, most)

    @staticmethod
    def _repeated(steps: int, least: int, most: int) -> int:
        if most == -1:
            return steps * least + 1 if least else steps + 2
        return steps * least + (steps + 1) * (most - least)

    def _number(self) -> int | None:
        start, number = self.at, 0
        while self._peek() in tuple("0123456789") and number <= _COUNT:
            number = number * 10 + int(self._peek())
            self.at += 1
        return number if self.at > start else None

    def _atom(self) -> int:
        found = self._peek()
        if found == "(":
            self.at += 1
            return self._group()
        if found in ("*", "+", "?"):
            raise _Wrong("a repetition of nothing")
        self.at += 1
        if found == "[":
            self._class()
        elif found == "\\":
            name = self._peek()
            if name in _NAMED:
                self.at += 1
                self._add_ranges(_NAMED[name])
            elif name in ("b", "B"):
                self.at += 1
            else:
                self._escape()
        self._node()
        return 1

    def _group(self) -> int:
        numbered = True
        if self._take("?"):
            if not self._take(":"):
                raise _Wrong("expected (?: here; flags stand at the start")
            numbered = False
        elif self._groups == _GROUPS:
            raise _Wrong("too many groups")
        self._groups += numbered
        if self._nesting == _NESTING:
            raise _Wrong("groups that are nested too deep")
        self._node()
        self._nesting += 1
        steps = self._choice()
        self._nesting -= 1
        if not self._take(")"):
            raise _Wrong("a group that does not end")
        return steps + 2 * numbered

    def _escape(self) -> int:
        name = self._peek()
        if not name:
            raise _Wrong("a backslash at the end")
        if name in tuple("ntrfv0"):
            self.at += 1
            return ord("\n\t\r\f\v\0"["ntrfv0".index(name)])
        if name == "x":
            self.at += 1
            braces = self._take("{")
            digits = ""
            while len(digits) < (6 if braces else 2) and self._peek() in _HEX:
                digits += self._peek()
                self.at += 1
            enough = len(digits) >= (1 if braces else 2)
            if not enough or (braces and not self._take("}")) or int(digits, 16) > 0x10FFFF:
                raise _Wrong("expected hexadecimal digits of a character")
            return int(digits, 16)
        if name.isascii() and name.isalpha():
            raise _Wrong("an escape that is not known")
        return self._character()

    def _class(self) -> None:
        self._take("^")
        first = True
        while self._peek() and (first or self._peek() != "]"):
            first = False
            if self._take("\\"):
                if self._peek() in _NAMED:
                    self._add_ranges(_NAMED[self._peek()])
                    self.at += 1
                    continue
                start = self._escape()
            else:
                start = self._character()
            end = start
            if self._peek() == "-" and self.text[self.at + 1 : self.at + 2] not in ("", "]"):
                self.at += 1
                end = self._escape() if self._take("\\") else self._character()
            if end < start:
                raise _Wrong("a range whose end is before its start")
            self._add_ranges(1)
        if not self._take("]"):
            raise _Wrong("a class that does not end")
