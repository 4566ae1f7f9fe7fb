"""The tree of a text with all of its tokens: what the parser's own rules took, rule within rule."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeAlias, TypeVar

from mix_lang.diagnostic import Report
from mix_lang.lexer import Token, tokenize
from mix_lang.parser import FileParser
from mix_lang.source import Source

__all__ = ["Element", "Node", "Tree", "read"]

T = TypeVar("T")

_RULES: Final = {
    "_module": "module", "_item": "item", "_modified": "def", "_alias": "def", "_type_def": "def",
    "_initializer": "plain", "_observer": "plain", "_import": "plain", "_declare": "plain", "_case_def": "plain",
    "_meta": "meta",
    "_block": "block", "_statement": "plain", "_let_statement": "let", "_var": "assigned", "_if_statement": "plain",
    "_while": "plain", "_for": "plain", "_switch": "switch", "_case": "case", "_return": "return",
    "_expression_or_assignment": "assigned", "_condition": "enclosed",
    "_expression": "expression", "_with": "with", "_binary": "binary", "_not": "not", "_chain": "chain",
    "_unary": "unary", "_postfix": "postfix", "_keyword": "plain", "_escaped": "plain", "_regex": "plain",
    "_action": "plain", "_projection": "tight", "_steps": "tight", "_parenthesised": "enclosed", "_clause": "clause",
    "_if": "if", "_let": "let", "_binding": "assigned",
    "_pattern": "plain", "_simple_pattern": "plain", "_type": "plain", "_simple_type": "plain",
}  # fmt: skip
"""The rules that make a node, and what it is laid out as."""


class Node:
    """What a rule took: tokens `start` to before `end`, some of which inner rules took. One inner node that took all of
    it stands for it; a single token is no node."""

    __slots__ = ("end", "kids", "kind", "start")

    def __init__(self, kind: str, start: int, end: int, kids: list[Node]) -> None:
        self.kind, self.start, self.end, self.kids = kind, start, end, kids

    def elements(self) -> list[Element]:
        """Its own tokens, by index, and its nodes, in the order of the text."""
        at = self.start
        if not self.kids:
            return list(range(at, self.end))
        found: list[Element] = []
        for kid in self.kids:
            if at < kid.start:
                found += range(at, kid.start)
            found.append(kid)
            at = kid.end
        found += range(at, self.end)
        return found


Element: TypeAlias = "int | Node"


class Tree:
    """A text that was read.

    Attributes:
        root: the file.
        report: what is wrong with it; the tree is of use only if nothing is.
    """

    def __init__(self, source: Source, tokens: list[Token], root: Node, report: Report) -> None:
        self.source, self.tokens, self.root, self.report = source, tokens, root, report


def read(text: str, file: str) -> Tree:
    """The tree of a text. Time and memory are linear in its length."""
    source = Source(file, text)
    report = Report(source)
    tokens = tokenize(source, report)
    parser = _Recorder(tokens, report)
    try:
        parser.file(file)
    except RecursionError:
        report.add("M0203", parser.here, "nested too deep", hint="give the inner part a name of its own")
    return Tree(source, tokens, Node("file", 0, len(tokens), parser.kids), report)


class _Recorder(FileParser):
    """The parser, which notes what its rules take. `kids` are the nodes of the rules that are not done."""

    def __init__(self, tokens: list[Token], report: Report) -> None:
        super().__init__(tokens, report)
        self.kids: list[Node] = []

    def _listed(self, opener: Token, rule: Callable[[], T]) -> tuple[T, ...]:
        start, count = self._at - 1, len(self.kids)
        found: tuple[T, ...] = super()._listed(opener, lambda: self._part(rule))
        self._took("list", start, count)
        return found

    def _part(self, rule: Callable[[], T]) -> T:
        start, count = self._at, len(self.kids)
        found = rule()
        if self._at - start > 1:
            self._took("part", start, count)
        return found

    def _took(self, kind: str, start: int, count: int) -> None:
        """A rule is done, whose nodes are all but the first `count`."""
        end, kids = self._at, self.kids
        inner = kids[count:]
        while len(inner) > 1 and inner[-2].start >= inner[-1].start:
            # It was read as something else first.
            del inner[-2]
            kids[count:] = inner
        if len(inner) != 1 or inner[0].start != start or inner[0].end != end:
            kids[count:] = [Node(kind, start, end, inner)]


def _noted(name: str, kind: str) -> Callable[..., Any]:
    rule = getattr(FileParser, name)

    def noted(self: _Recorder, *args: Any, **more: Any) -> Any:
        start, count = self._at, len(self.kids)
        found = rule(self, *args, **more)
        if self._at - start > 1:
            self._took(kind, start, count)
        return found

    return noted


for _name, _kind in _RULES.items():
    setattr(_Recorder, _name, _noted(_name, _kind))
