"""Names of C++ functions: the part of the Itanium ABI's scheme that says which function it is."""

from __future__ import annotations

from typing import Final

__all__ = ["CppName"]

_DEEPEST: Final = 40
_STD: Final = {
    "t": "std", "a": "std::allocator", "b": "std::basic_string", "s": "std::string",
    "i": "std::istream", "o": "std::ostream", "d": "std::iostream",
}  # fmt: skip
_OPERATORS: Final = {
    "nw": "new", "na": "new[]", "dl": "delete", "da": "delete[]", "ps": "+", "ng": "-", "ad": "&", "de": "*",
    "co": "~", "pl": "+", "mi": "-", "ml": "*", "dv": "/", "rm": "%", "an": "&", "or": "|", "eo": "^",
    "aS": "=", "pL": "+=", "mI": "-=", "mL": "*=", "dV": "/=", "rM": "%=", "aN": "&=", "oR": "|=", "eO": "^=",
    "ls": "<<", "rs": ">>", "lS": "<<=", "rS": ">>=", "eq": "==", "ne": "!=", "lt": "<", "gt": ">",
    "le": "<=", "ge": ">=", "ss": "<=>", "nt": "!", "aa": "&&", "oo": "||", "pp": "++", "mm": "--", "cm": ",",
    "pm": "->*", "pt": "->", "cl": "()", "ix": "[]", "qu": "?",
}  # fmt: skip


class CppName:
    """A name without its `_Z`.

    What refers back to an earlier part inside of types is stepped over and not put in, so that the work is linear.
    IndexError and ValueError say that it is not understood.
    """

    def __init__(self, mangled: str) -> None:
        self._left = mangled
        self._at = 0
        self._depth = 0

    def text(self) -> str:
        """The qualified name, with `<…>` for template arguments; what follows are the parameters."""
        return self._name()

    def _peek(self, size: int = 1) -> str:
        return self._left[self._at : self._at + size]

    def _take(self, size: int = 1) -> str:
        text = self._peek(size)
        if len(text) < size:
            raise ValueError("it ends early")
        self._at += size
        return text

    def _skip(self, expected: str) -> bool:
        if not self._left.startswith(expected, self._at):
            return False
        self._at += len(expected)
        return True

    def _digits(self) -> str:
        begin = self._at
        while self._peek() in "0123456789" and self._peek():
            self._at += 1
        return self._left[begin : self._at]

    def _deeper(self) -> None:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise ValueError("it is nested too deeply")

    def _name(self) -> str:
        self._deeper()
        if self._skip("N"):
            text = self._nested()
        elif self._skip("Z"):
            text = self._local()
        else:
            text = f"std::{self._part('')}" if self._skip("St") else self._part("")
            if self._skip("I"):
                self._arguments()
                text += "<…>"
        self._depth -= 1
        return text

    def _nested(self) -> str:
        while self._peek() in ("r", "V", "K", "R", "O"):
            self._take()
        parts: list[str] = []
        while not self._skip("E"):
            if self._skip("I"):
                self._arguments()
                parts[-1] += "<…>"
            else:
                parts.append(self._part(parts[-1] if parts else ""))
        return "::".join(parts)

    def _local(self) -> str:
        """An entity inside of a function."""
        outer = self._name()
        while not self._skip("E"):
            self._type()
        if self._skip("s"):
            return outer
        if self._skip("d"):
            self._digits()
            self._skip("_")
        return f"{outer}::{self._name()}"

    def _part(self, before: str) -> str:
        self._skip("L")  # internal linkage
        following = self._peek()
        if following.isdigit():
            text = self._take(int(self._digits()))
            text = "(anonymous)" if text.startswith("_GLOBAL__N") else text
        elif following == "S":
            self._take()
            text = _STD[self._take()] if self._peek() in _STD else self._back()
        elif following == "C" and before:
            self._take(2)
            text = before.removesuffix("<…>")
        elif following == "D" and before:
            self._take(2)
            text = f"~{before.removesuffix('<…>')}"
        elif self._skip("Ul"):
            while not self._skip("E"):
                self._type()
            text = "{lambda}"
            self._digits()
            self._take()
        elif self._skip("Ut"):
            text = "{unnamed}"
            self._digits()
            self._take()
        elif self._skip("cv"):
            self._type()
            text = "operator (cast)"
        elif self._skip("li"):
            text = f'operator""{self._take(int(self._digits()))}'
        elif (operator := _OPERATORS.get(self._peek(2))) is not None:
            self._take(2)
            text = f"operator{' ' if operator[0].isalpha() else ''}{operator}"
        else:
            raise ValueError(f"unknown at {self._at}")
        while self._skip("B"):
            self._take(int(self._digits()))
        return text

    def _back(self) -> str:
        while self._peek().isdigit() or self._peek().isupper():
            self._take()
        if not self._skip("_"):
            raise ValueError("a reference without an end")
        return "…"

    def _arguments(self) -> None:
        self._deeper()
        while not self._skip("E"):
            if self._skip("L"):
                self._literal()
            elif self._skip("J"):
                self._arguments()
            else:
                self._type()
        self._depth -= 1

    def _literal(self) -> None:
        if self._skip("_Z"):
            self._name()
            while self._peek() and self._peek() != "E":
                self._type()
        else:
            self._type()
            while self._peek().isalnum() and self._peek() != "E":
                self._take()
        if not self._skip("E"):
            raise ValueError("a literal without an end")

    def _type(self) -> None:
        self._deeper()
        while self._peek() and self._peek() in "PROKVrCG":
            self._take()
        following = self._peek()
        if following == "D" and self._peek(2) in ("Dp", "Dt", "DT"):
            if self._take(2) != "Dp":
                raise ValueError("an expression")
            self._type()
        elif following == "D":
            self._take(2)
        elif following == "T":
            self._take()
            self._digits()
            if not self._skip("_"):
                raise ValueError("a parameter without an end")
        elif self._skip("F"):
            while not self._skip("E"):
                self._type()
        elif self._skip("A"):
            self._digits()
            if not self._skip("_"):
                raise ValueError("an array without a size")
            self._type()
        elif self._skip("M"):
            self._type()
            self._type()
        elif following and following in "vwbcahstijlmxynofdegz":
            self._take()
        else:
            self._name()
        if self._skip("I"):
            self._arguments()
        self._depth -= 1
