"""Source text to tokens, in one pass.

A token is a kind, its text or value, and its span. Kinds: `name`, `keyword`, `int`, `float`, `string`, `op`, `end`
(`;;`), `bad` for what is none of these, and `eof`. Every operator and bracket is of kind `op`, spelled out in the
value; `==:ci` is one operator.
"""

from __future__ import annotations

import re
from typing import Any, Final, NamedTuple

from mix_lang.diagnostic import Report
from mix_lang.source import Shift, Source, Span

__all__ = ["KEYWORDS", "Token", "tokenize"]

KEYWORDS: Final = frozenset(
    [
        "module",
        "import",
        "declare",
        "static",
        "def",
        "cell",
        "var",
        "let",
        "in",
        "if",
        "else",
        "while",
        "for",
        "switch",
        "case",
        "return",
        "do",
        "try",
        "null",
        "true",
        "false",
        "undefined",
        "not",
        "with",
        "when",
        "on",
        "live",
        "action",
        "initializer",
        "alias",
        "private",
        "foreign",
        "type",
        "self",
        "global",
    ]
)


class Token(NamedTuple):
    """`value` is the text of a name or operator, the number, or what a string spells."""

    kind: str
    value: Any
    span: Span
    first: bool
    """Whether it is the first on its line."""


_SCAN: Final = re.compile(
    r"""(?P<space>[ \t\f]+)
      | (?P<newline>\r\n|\n|\r)
      | (?P<line>//[^\r\n]*)
      | (?P<block>/\*)
      | (?P<raw>\"\"\")
      | (?P<string>")
      | (?P<number>[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)
      | (?P<name>[^\W\d]\w*)
      | (?P<op>\|>|\|\||&&|(?:===|!==|==|!=|<=|>=|<|>)(?::ci(?!\w))?|;;|\.\.|\+\+|->|[-+*/%=()\[\]{},;:.?|@^~'\#])
    """,
    re.VERBOSE,
)
_DIRECTIVE: Final = re.compile(r'\#(line|push|pop)\b[ \t]*([0-9]+)?[ \t]*(?:"([^"\r\n]*)")?[ \t]*(?=\r|\n|$)')
_STRING: Final = re.compile(
    r"""[^"\\\r\n]+
      | \\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}  # two halves of a character, as JSON has them
           | u\{[0-9a-fA-F]{1,8}\} | u[0-9a-fA-F]{4} | [^\r\n])
      | (["\r\n]|$)
    """,
    re.VERBOSE,
)
_ESCAPES: Final = {
    "n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "0": "\0", "\\": "\\", '"': '"', "'": "'", "/": "/",
}  # fmt: skip
_MEANT: Final = {
    "!": "write not", "&": "write &&", "`": 'strings stand in ", and are joined with +: "n is " + n',
    "$": "names have no $",
    "\\": "functions are written (x -> …)",
}  # fmt: skip
_made: Final[Any] = tuple.__new__
_TEMPLATE: Final = 2_000
"""Characters of such a string, at most."""
_DIGITS: Final = 400
"""More digits than any number needs; Python takes very long for very many."""


def tokenize(source: Source, report: Report, passage: str | None = None, first: int = 0) -> list[Token]:
    """All tokens, with an `eof` at the end. What cannot be read is reported, once for each run of it, and left out.

    Args:
        passage: a part of the text that is read alone; it has no `#line` and its like.
        first: what the spans in it count from.
    """
    return _Lexer(source, report, source.text if passage is None else passage, first).run()


class _Lexer:
    def __init__(self, source: Source, report: Report, text: str, base: int) -> None:
        self._source, self._text, self._report = source, text, report
        self._at, self._base = 0, base
        self._first = True
        self._tokens: list[Token] = []
        self._pushed: list[tuple[str, int]] = []

    def run(self) -> list[Token]:
        text, scan, tokens, base = self._text, _SCAN.match, self._tokens, self._base
        size = len(text)
        while self._at < size:
            start = self._at
            if self._first and text[start] == "#" and self._directive():
                continue
            match = scan(text, start)
            if match is None:
                self._unknown()
                continue
            kind = match.lastgroup
            end = self._at = match.end()
            if kind == "op" or kind == "name":
                # PERF: most tokens are one of these, and made of tuples, whose own constructors ask more.
                word = match.group()
                if kind == "op":
                    kind = "end" if word == ";;" else "op"
                elif word in KEYWORDS:
                    kind = "keyword"
                span = _made(Span, (start + base, end + base))
                tokens.append(_made(Token, (kind, word, span, self._first)))
                self._first = False
            elif kind == "newline":
                self._first = True
            elif kind == "number":
                self._number(match.group(), start)
            elif kind == "string":
                self._string(start)
            elif kind == "raw":
                self._raw(start)
            elif kind == "block":
                self._comment(start)
        self._add("eof", "", size)
        return tokens

    def _add(self, kind: str, value: Any, start: int) -> None:
        self._tokens.append(Token(kind, value, self._span(start, self._at), self._first))
        self._first = False

    def _span(self, start: int, end: int) -> Span:
        return Span(start + self._base, end + self._base)

    def _unknown(self) -> None:
        start = self._at
        end = self._text.find("`", start + 1) if self._text[start] == "`" else -1
        if 0 < end - start <= _TEMPLATE:
            # A string of JavaScript, whatever is in it, is one error.
            self._at = end + 1
        while self._at < len(self._text) and not _SCAN.match(self._text, self._at):
            self._at += 1
        found = self._text[start : min(self._at, start + 20)]
        hint = _MEANT.get(found, "") or _MEANT.get(found[0], "")
        self._report.add(
            "M0101", self._span(start, self._at), f"{found!r} is nothing that Mix has", hint=hint, found=found
        )
        # The parser stops at it, at the same place, and so does not complain a second time.
        self._add("bad", found, start)

    def _number(self, text: str, start: int) -> None:
        value: int | float
        if len(text) > _DIGITS:
            self._report.add("M0102", self._span(start, self._at), f"a number of {len(text)} characters")
            value = 0
        else:
            value = float(text) if not text.isdigit() else int(text)
        if value in (float("inf"),):
            self._report.add(
                "M0102", self._span(start, self._at), "this number is larger than a double holds"
            )
            value = 0.0
        if type(value) is int and value > 2**63:
            value = float(value)
        # 2^63 is no int64, but its negative is: the parser sees to it.
        self._add("float" if type(value) is float else "int", value, start)

    def _string(self, start: int) -> None:
        text, parts = self._text, []
        while True:
            match = _STRING.match(text, self._at)
            if match is None or match.group(1) is not None:
                if match is None or match.group(1) != '"':
                    self._report.add(
                        "M0103", self._span(start, self._at), "this string has no end in its line",
                        hint='end it with ", or write """ around text of several lines',
                    )  # fmt: skip
                else:
                    self._at = match.end()
                break
            piece = match.group()
            if piece[0] == "\\":
                piece = self._escape(piece)
            parts.append(piece)
            self._at = match.end()
        self._add("string", "".join(parts), start)

    def _escape(self, piece: str) -> str:
        if piece.count("\\") == 2 and piece[1] == "u":
            return chr(0x10000 + (int(piece[2:6], 16) - 0xD800 << 10) + int(piece[8:], 16) - 0xDC00)
        if piece[1] == "u" and len(piece) > 2:
            code = int(piece.strip("\\u{}"), 16)
            if code < 0x110000 and not 0xD800 <= code < 0xE000:
                return chr(code)
        elif piece[1] in _ESCAPES:
            return _ESCAPES[piece[1]]
        self._report.add(
            "M0104", self._span(self._at, self._at + len(piece)), f"no such escape in a string: {piece}",
            hint=r"the escapes are \n \t \r \b \f \0 \\ \" \' \/ \uXXXX and \u{X…}",
        )  # fmt: skip
        return piece

    def _raw(self, start: int) -> None:
        end = self._text.find('"""', self._at)
        if end < 0:
            self._report.add("M0103", self._span(start, start + 3), 'this string has no """ at its end')
            end = self._at = len(self._text)
            self._add("string", self._text[start + 3 : end], start)
            return
        while self._text.startswith('"', end + 3):
            end += 1
        value = self._text[self._at : end]
        self._at = end + 3
        self._add("string", value, start)

    def _comment(self, start: int) -> None:
        end = self._text.find("*/", self._at)
        if end < 0:
            self._report.add(
                "M0105", self._span(start, start + 2), "this comment has no end", hint="end it with */"
            )
        self._at = len(self._text) if end < 0 else end + 2

    def _directive(self) -> bool:
        """`#line`, `#push` or `#pop` in column 1; False if it is none of them."""
        at = self._at
        if at and self._text[at - 1] not in "\r\n":
            return False
        match = _DIRECTIVE.match(self._text, at)
        if match is None:
            return False
        word, number, file = match.groups()
        physical = self._source.line_of(at)
        here, line, _ = self._source.place(at)
        self._at = match.end()
        shifts = self._source.shifts
        if word == "pop":
            if not self._pushed:
                self._report.add("M0106", self._span(at, self._at), "#pop without a #push before it")
                return True
            # What stands between came from elsewhere: counting goes on behind the #push.
            old, old_line = self._pushed.pop()
            shifts.append(Shift(physical + 1, old, old_line + 1))
            return True
        if number is None:
            self._report.add("M0106", self._span(at, self._at), f"expected a line number after #{word}")
            return True
        if word == "push":
            self._pushed.append((here, line))
        shifts.append(Shift(physical + 1, here if file is None else file, int(number[:9])))
        return True
