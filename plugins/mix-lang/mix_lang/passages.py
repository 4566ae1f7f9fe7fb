"""A file read in passages: of a definition, or a few, each. What has not changed is not read again, wherever it moved.

A passage begins where a line begins with a definition that is not further to the right than those before. Each is read
alone, with no more of what follows than its first two words: how it is read depends on its text and on these. Where a
definition goes on behind those words, as after a `private` alone in its line, two passages are one.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from mix_lang import syntax as s
from mix_lang.diagnostic import Report
from mix_lang.lexer import KEYWORDS, Token, tokenize
from mix_lang.memory import Memory
from mix_lang.parser import FileParser, Head, parse
from mix_lang.source import Source, Span

__all__ = ["Passage", "read"]

_SCAN: Final = re.compile(
    r"""(?P<raw>\"\"\") | "(?:[^"\\\r\n]|\\[^\r\n])*"? | //[^\r\n]* | (?P<comment>/\*)
      | \n (?P<indent>[ \t\f]*)
        (?P<word>def|cell|import|declare|foreign|alias|private|live|static|module|var(?=[ \t]+cell\b))
        [ \t]+ (?P<next>[^\W\d]\w*)
    """,
    re.VERBOSE,
)
_WORD: Final = re.compile(r"[^\W\d]\w*")
_DIRECTIVES: Final = ("#line", "#push", "#pop")
_WEIGHT: Final = 20
"""What a passage takes for each of its characters."""


@dataclass(slots=True, eq=False, repr=False)
class Passage:
    """What was read of a passage. The same text gives the same passage, as long as it is remembered.

    Attributes:
        start: what its spans count from.
        items: the definitions in it.
        mentioned: all names in it, its own among them: nothing else in the program can matter to it, unless
            one of these is of something that names more.
        facts: what was found out about it alone.
    """

    start: int
    text: str
    items: tuple[s.Item, ...]
    mentioned: tuple[str, ...]
    head: Head | None = None
    facts: dict[Any, Any] = field(default_factory=dict)


class _Cut(NamedTuple):
    """Where a passage begins: at the start of a line, with so much space and these words."""

    at: int
    indent: int
    word: str
    next: str

    @property
    def module(self) -> bool:
        """Whether it is a module that begins or ends here."""
        return self.word == "module" or (self.word, self.next) == ("static", "module")


def read(
    source: Source, name: str, report: Report, memory: Memory
) -> list[tuple[s.Module, tuple[Passage, ...]]]:
    """The modules of a file, as `parse` has them, with the passages in which their items are."""
    cuts = _cuts(source.text)
    found = _Reader(source, report, memory).file(name, cuts) if cuts else None
    return [found] if found is not None else _whole(source, name, report)


def _whole(source: Source, name: str, report: Report) -> list[tuple[s.Module, tuple[Passage, ...]]]:
    """The file as one passage."""
    names = tuple(dict.fromkeys(_WORD.findall(source.text)))
    return [
        (module, (Passage(0, source.text, module.items, names),)) for module in parse(source, name, report)
    ]


def _cuts(text: str) -> list[_Cut]:
    """Where passages begin, but the first one, which has the head of the module. Strings and comments are passed over
    as the lexer does it."""
    if any(word in text for word in _DIRECTIVES):
        return []
    found: list[_Cut] = []
    at, column = 0, len(text)
    while (match := _SCAN.search(text, at)) is not None:
        at = match.end()
        if match.group("raw") or match.group("comment"):
            end = '"""' if match.group("raw") else "*/"
            at = text.find(end, at)
            if at < 0:
                break
            at += len(end)
            while end == '"""' and text.startswith('"', at):
                at += 1
        elif (word := match.group("word")) is not None:
            cut = _Cut(match.start() + 1, len(match.group("indent")), word, match.group("next"))
            if cut.indent <= column and (found or not cut.module or cut.next == "end"):
                found.append(cut)
                column = cut.indent
    return found


class _Reader:
    def __init__(self, source: Source, report: Report, memory: Memory) -> None:
        self._source, self._report, self._memory = source, report, memory
        self._seen: Counter[str] = Counter()

    def file(self, name: str, cuts: list[_Cut]) -> tuple[s.Module, tuple[Passage, ...]] | None:
        """The module of the file; None if it has to be read in one."""
        text = self._source.text
        tail = next((cut for cut in cuts if cut.module), None)
        cuts = cuts if tail is None else [cut for cut in cuts if cut.at <= tail.at]
        bounds: list[_Cut | None] = [*cuts] if tail is not None else [*cuts, None]
        passages: list[Passage] = []
        start = 0
        for cut in bounds:
            passage = self._passage(start, cut, None if passages else name)
            if passage is None:
                # It goes on behind the words that begin the next one.
                if cut is None or cut is tail:
                    return None
                continue
            passages.append(passage)
            start = len(text) if cut is None else cut.at
        head = passages[0].head
        assert head is not None
        if tail is not None:
            rest = FileParser(tokenize(self._source, self._report, text[start:], start), self._report)
            rest.module_end(head.written)
            rest.nothing_more()
        items = tuple(item for passage in passages for item in passage.items)
        begin = self._source.offset(head.span.start)
        return head.module(Span(begin, max(begin, len(text.rstrip()))), items), tuple(passages)

    def _passage(self, start: int, cut: _Cut | None, name: str | None) -> Passage | None:
        """What stands from there to before the next passage; None if it does not end there.

        Args:
            name: what the module is called, if it has no head, for the passage with the head.
        """
        whole = self._source.text[start : None if cut is None else cut.at]
        text = _trimmed(whole)
        self._seen[text] += 1
        key = ("passage", text, cut and cut[1:], name, self._seen[text])
        passage: Passage | None = self._memory.find(key)
        if passage is not None:
            self._source.lay(passage.start, start)
            return passage
        passage = Passage(self._memory.place(), text, (), ())
        self._source.lay(passage.start, start)
        report = Report(self._source)
        tokens = tokenize(self._source, report, text, passage.start)
        passage.mentioned = tuple(
            dict.fromkeys(sys.intern(token.value) for token in tokens if token.kind == "name")
        )
        end = len(tokens) - 1
        if cut is not None:
            tokens[-1:] = _following(cut, passage.start + len(whole), tokens[-1])
        parser = FileParser(tokens, report, end)
        try:
            if name is not None:
                passage.head = parser.head(name)
            passage.items = parser.items()
        except RecursionError:
            report.add("M0203", parser.here, "nested too deep", hint="give the inner part a name of its own")
            parser.give_up()
        if parser.left:
            self._seen[text] -= 1
            return None
        if report.found:
            for item in report.found:
                self._report.take(item)
        else:
            self._memory.note(key, passage, _WEIGHT * len(text))
        return passage


def _trimmed(text: str) -> str:
    """The text without the comments in lines of their own at its end, which are about what follows."""
    lines = text.rstrip().split("\n")
    while len(lines) > 1 and (not (line := lines[-1].strip()) or line.startswith("//")):
        lines.pop()
    return "\n".join(lines)


def _following(cut: _Cut, at: int, end: Token) -> list[Token]:
    """The words that begin the next passage, as tokens, and the end."""
    words: list[Token] = []
    at += cut.indent
    for word in (cut.word, cut.next):
        kind = "keyword" if word in KEYWORDS else "name"
        words.append(Token(kind, word, Span(at, at + len(word)), not words))
        at += len(word) + 1
    return [*words, end]
