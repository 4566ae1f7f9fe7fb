"""Names of Rust functions in the scheme `v0` (RFC 2603)."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["RustName"]

_DEEPEST: Final = 40
_MOST_STEPS: Final = 300
"""References back may stand in what they refer to: without a bound a short name could have a text of any length."""
_BASIC: Final = {
    "a": "i8", "b": "bool", "c": "char", "d": "f64", "e": "str", "f": "f32", "h": "u8", "i": "isize", "j": "usize",
    "l": "i32", "m": "u32", "n": "i128", "o": "u128", "p": "_", "s": "i16", "t": "u16", "u": "()", "v": "...",
    "x": "i64", "y": "u64", "z": "!",
}  # fmt: skip
_DIGITS: Final = re.compile("[0-9]+")
_BASE62: Final = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


class RustName:
    """A name without its `_R`. IndexError and ValueError say that it is not understood."""

    def __init__(self, mangled: str) -> None:
        self._left = mangled
        self._at = 0
        self._depth = 0
        self._steps = 0

    def text(self) -> str:
        """The path, with `<…>` for generic arguments."""
        return self._path()

    def _take(self) -> str:
        self._at += 1
        return self._left[self._at - 1]

    def _skip(self, expected: str) -> bool:
        if not self._left.startswith(expected, self._at):
            return False
        self._at += len(expected)
        return True

    def _deeper(self) -> None:
        self._depth += 1
        self._steps += 1
        if self._depth > _DEEPEST or self._steps > _MOST_STEPS:
            raise ValueError("it is nested too deeply")

    def _number(self) -> int:
        """In base 62, closed by `_`; `_` alone is 0 and everything else one more than it says."""
        value = 0
        if self._skip("_"):
            return 0
        while not self._skip("_"):
            value = value * 62 + _BASE62.index(self._take())
        return value + 1

    def _identifier(self) -> str:
        if self._skip("s"):  # what tells it from others of the same name
            self._number()
        coded = self._skip("u")
        # A nought stands alone: a digit behind it begins another name.
        size = 0
        if not self._skip("0"):
            digits = _DIGITS.match(self._left, self._at)
            if digits is None:
                raise ValueError("a name without a length")
            self._at = digits.end()
            size = int(digits[0])
        self._skip("_")
        text = self._left[self._at : self._at + size]
        self._at += size
        if len(text) < size:
            raise ValueError("it ends early")
        if coded:
            before, mark, after = text.rpartition("_")
            text = (f"{before}-{after}" if mark else after).encode().decode("punycode")
        return text

    def _back(self) -> int:
        """Go to what a reference names; answers where to come back to."""
        start = self._at - 1
        target = self._number()
        if target >= start:
            raise ValueError("a reference to what comes later")
        here, self._at = self._at, target
        return here

    def _path(self) -> str:
        self._deeper()
        match self._take():
            case "C":
                text = self._identifier()
            case "N":
                space = self._take()
                outer = self._path()
                text = self._identifier()
                if space.isupper():
                    text = "{closure}" if space == "C" else f"{{{text or space}}}"
                text = f"{outer}::{text}" if text else outer
            case "M":
                self._implementation()
                text = f"<{self._type()}>"
            case "X":
                self._implementation()
                text = f"<{self._type()} as {self._path()}>"
            case "Y":
                text = f"<{self._type()} as {self._path()}>"
            case "I":
                text = f"{self._path()}<…>"
                while not self._skip("E"):
                    self._argument()
            case "B":
                here = self._back()
                text = self._path()
                self._at = here
            case other:
                raise ValueError(f"unknown path {other}")
        self._depth -= 1
        return text

    def _implementation(self) -> None:
        if self._skip("s"):
            self._number()
        self._path()

    def _argument(self) -> None:
        if self._skip("L"):
            self._number()
        elif self._skip("K"):
            self._constant()
        else:
            self._type()

    def _constant(self) -> None:
        self._deeper()
        if self._skip("B"):
            here = self._back()
            self._constant()
            self._at = here
        elif not self._skip("p"):
            self._type()
            while not self._skip("_"):
                self._take()
        self._depth -= 1

    def _type(self) -> str:
        self._deeper()
        kind = self._take()
        if kind in _BASIC:
            text = _BASIC[kind]
        elif kind in "RQ":
            if self._skip("L"):
                self._number()
            text = f"&{'mut ' if kind == 'Q' else ''}{self._type()}"
        elif kind in "PO":
            text = f"*{'const' if kind == 'P' else 'mut'} {self._type()}"
        elif kind == "S":
            text = f"[{self._type()}]"
        elif kind == "A":
            text = f"[{self._type()}; _]"
            self._constant()
        elif kind == "T":
            items = []
            while not self._skip("E"):
                items.append(self._type())
            text = f"({', '.join(items)})"
        elif kind == "F":
            text = self._function()
        elif kind == "D":
            text = self._dynamic()
        elif kind == "B":
            here = self._back()
            text = self._type()
            self._at = here
        else:
            self._at -= 1
            text = self._path()
        self._depth -= 1
        return text

    def _function(self) -> str:
        if self._skip("G"):
            self._number()
        self._skip("U")
        if self._skip("K") and not self._skip("C"):
            self._identifier()
        while not self._skip("E"):
            self._type()
        self._type()
        return "fn(…)"

    def _dynamic(self) -> str:
        if self._skip("G"):
            self._number()
        traits = []
        while not self._skip("E"):
            traits.append(self._path())
            while self._skip("p"):
                self._identifier()
                self._type()
        if not self._skip("L"):
            raise ValueError("a trait object without a lifetime")
        self._number()
        return f"dyn {' + '.join(traits)}"
