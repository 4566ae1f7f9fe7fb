"""The parser's place in the tokens: looking, taking, and going on behind an error."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

from mix_lang import syntax as s
from mix_lang.diagnostic import Report
from mix_lang.elsewhere import LEADING
from mix_lang.lexer import Token
from mix_lang.parser.meant import leading, meant
from mix_lang.parser.structure import CLOSERS, structure
from mix_lang.source import Span

__all__ = ["MAX_CHAIN", "MAX_NESTING", "Cursor", "Fault"]

T = TypeVar("T")

MAX_NESTING: Final = 64
"""Brackets, lambdas, blocks and types within each other."""
MAX_CHAIN: Final = 200
"""Accesses, calls and pipes behind each other: each stands around what is before it."""


class Fault(Exception):
    """A syntax error on its way to where the parser goes on."""

    def __init__(self, code: str, span: Span, message: str, hint: str = "", **params: Any) -> None:
        super().__init__(message)
        self.code, self.span, self.message, self.hint, self.params = code, span, message, hint, params


class Cursor:
    """Base of the parser's parts; each rule starts at its first token and leaves the cursor behind its last."""

    def __init__(self, tokens: list[Token], report: Report) -> None:
        self._tokens, self._report = tokens, report
        self._structure = structure(tokens, report.source)
        self._at = 0
        self._end = len(tokens) - 1
        self._nesting = 0

    # Looking

    @property
    def _token(self) -> Token:
        return self._tokens[self._at]

    @property
    def _at_item(self) -> bool:
        """Whether a definition begins here, whatever brackets are open."""
        return self._at in self._structure.items

    def _ahead(self, count: int) -> Token:
        return self._tokens[min(self._at + count, len(self._tokens) - 1)]

    def _sees(self, *values: str) -> bool:
        """Whether the token is one of these operators or keywords."""
        token = self._tokens[self._at]
        return token.value in values and token.kind in ("op", "keyword")

    def _sees_word(self, word: str) -> bool:
        token = self._token
        return token.kind in ("name", "keyword") and token.value == word

    # Taking

    def _next(self) -> Token:
        token = self._tokens[self._at]
        if token.kind != "eof":
            self._at += 1
        return token

    def _take(self, *values: str) -> bool:
        if self._sees(*values):
            self._at += 1
            return True
        return False

    def _expect(self, value: str, what: str = "") -> Token:
        if self._sees(value):
            return self._next()
        raise self._fault(what or f"'{value}'")

    def _name(self, what: str) -> Token:
        """A name; keywords are none."""
        if self._token.kind == "name":
            return self._next()
        if self._token.kind == "keyword" and not self._token.first and not self._at_item:
            raise self._fault(
                what, hint=f"'{self._token.value}' is a word of the language: take another name"
            )
        raise self._fault(what)

    def _key(self, what: str) -> Token:
        """A name where keywords are names, too."""
        if self._token.kind in ("name", "keyword"):
            return self._next()
        raise self._fault(what)

    def _since(self, start: Span) -> Span:
        """From there to the last token that was taken."""
        return Span(start.start, max(start.end, self._tokens[max(self._at - 1, 0)].span.end))

    def _close(self, opener: Token, instead: str = "") -> Token:
        """The closing bracket of `opener`."""
        closer = CLOSERS[opener.value]
        if self._sees(closer):
            return self._next()
        token = self._token
        if token.kind in ("eof", "end") or self._at_item or self._sees(*CLOSERS.values()):
            raise Fault(
                "M0202", opener.span, f"this '{opener.value}' is never closed",
                f"expected '{closer}' before {self._found(token)} in line {self._line(token)}",
                expected=closer,
            )  # fmt: skip
        raise self._fault(instead or f"',' or '{closer}'")

    def _listed(self, opener: Token, rule: Callable[[], T]) -> tuple[T, ...]:
        """Items between commas, up to the bracket that closes `opener`; a comma may stand behind the last."""
        items: list[T] = []
        closer = CLOSERS[opener.value]
        while not self._sees(closer):
            items.append(rule())
            if not self._take(","):
                break
        self._close(opener)
        return tuple(items)

    # Errors

    @staticmethod
    def _found(token: Token) -> str:
        if token.kind == "eof":
            return "the end of the file"
        if token.kind == "string":
            return "a string"
        if token.kind in ("int", "float"):
            return f"the number {token.value}"
        return f"'{token.value}'"

    def _fault(self, expected: str, hint: str = "") -> Fault:
        """What to raise where something else was expected."""
        word = leading(self._tokens, self._at)
        if word is not None:
            return self._foreign_word(word)
        found = self._found(self._token)
        return Fault(
            "M0201",
            self._where(),
            f"expected {expected}, found {found}",
            meant(self._tokens, self._at, expected) or hint,
            expected=expected,
            found=found,
        )

    def _foreign_word(self, at: int) -> Fault:
        """What to raise where something begins with a word of another language."""
        word = self._tokens[at].value
        hint = LEADING.get(word, 'strings have nothing in front: they are joined with +, "n is " + n')
        return Fault("M0214", self._tokens[at].span, f"'{word}' begins nothing in Mix", hint, word=word)

    def _because(self, fault: Fault, at: int) -> Fault:
        """The same fault, or the word of another language that the statement begins with."""
        token = self._tokens[at]
        known = fault.code == "M0201" and token.kind == "name" and token.value in LEADING
        return self._foreign_word(at) if known else fault

    def _line(self, token: Token) -> int:
        return self._report.source.place(token.span.start)[1]

    def _where(self) -> Span:
        """Where something is missing: at the token, or behind the one before if this begins something else."""
        token = self._token
        if self._at and (token.kind in ("eof", "end") or self._at_item):
            end = self._tokens[self._at - 1].span.end
            return Span(end, end)
        return token.span

    def _say(self, fault: Fault) -> None:
        self._report.add(fault.code, fault.span, fault.message, hint=fault.hint, **fault.params)

    def _nested(self) -> Cursor:
        """What is read within is one deeper."""
        return self

    # PERF: the cursor itself, since each expression, pattern and type comes by here.
    def __enter__(self) -> None:
        if self._nesting >= MAX_NESTING:
            raise Fault(
                "M0203", self._token.span, f"nested more than {MAX_NESTING} deep",
                "give the inner part a name of its own with def or let", limit=MAX_NESTING,
            )  # fmt: skip
        self._nesting += 1

    def __exit__(self, *exc: object) -> None:
        self._nesting -= 1

    def _link(self, count: int) -> None:
        """One more that stands around the `count` before it."""
        if count >= MAX_CHAIN:
            raise Fault(
                "M0203", self._token.span, f"more than {MAX_CHAIN} accesses, calls or pipes behind each other",
                "give what comes before a name of its own with def or let", limit=MAX_CHAIN,
            )  # fmt: skip

    def _skip(self, depth: int, stops: Callable[[Token], bool]) -> None:
        """Go on to a token at that depth (or less deep) for which `stops` is true, or to the next definition."""
        depths = self._structure.depth
        while self._token.kind != "eof" and not self._at_item:
            if depths[self._at] <= depth and (stops(self._token) or self._token.kind == "end"):
                return
            self._at += 1

    # What other parts have

    def _expression(self, hint: bool = True) -> s.Expr:
        raise NotImplementedError

    def _block(self) -> s.Block:
        raise NotImplementedError
