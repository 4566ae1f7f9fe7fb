"""Text to syntax tree. `parse` never raises: what is wrong is in the report, and the tree has what is right."""

from __future__ import annotations

from typing import Any, NamedTuple

from mix_lang import syntax as s
from mix_lang.diagnostic import Report
from mix_lang.lexer import Token, tokenize
from mix_lang.parser.cursor import Fault
from mix_lang.parser.items import ItemParser
from mix_lang.source import Source, Span

__all__ = ["FileParser", "Head", "parse"]


class Head(NamedTuple):
    """What a module begins with. `written` says whether it is there at all."""

    span: Span
    name: str
    written: bool = False
    static: bool = False
    params: tuple[s.Param, ...] = ()
    types: tuple[str, ...] = ()
    meta: Any = None

    def module(self, span: Span, items: tuple[s.Item, ...]) -> s.Module:
        """The module that begins so."""
        return s.Module(span, self.name, self.static, self.params, self.types, self.meta, items)


def parse(source: Source, name: str, report: Report) -> list[s.Module]:
    """The modules of a file, in their order: one, save for errors. `name` is what a module without a head is called.

    Time and memory are linear in the length of the text.
    """
    tokens = tokenize(source, report)
    parser = FileParser(tokens, report)
    try:
        return parser.file(name)
    except RecursionError:
        # The bound on nesting lets no text come here, unless the caller is itself deep in recursion.
        report.add("M0203", parser.here, "nested too deep", hint="give the inner part a name of its own")
        return []


class FileParser(ItemParser):
    """A whole file, or a passage of one.

    Args:
        end: the token at which to stop, if that is not the last one.
    """

    def __init__(self, tokens: list[Token], report: Report, end: int | None = None) -> None:
        super().__init__(tokens, report)
        if end is not None:
            self._end = end

    @property
    def here(self) -> Span:
        return self._token.span

    @property
    def left(self) -> int:
        """Tokens before the one at which to stop; less than none if a rule took that one as well."""
        return self._end - self._at

    def give_up(self) -> None:
        """Read nothing more."""
        self._at = self._end

    def file(self, name: str) -> list[s.Module]:
        """The modules of a whole file."""
        self._pass_ends()
        if not self.left:
            return [s.Module(Span(0, 0), name, False, (), (), None, ())]
        module = self._module(name)
        self.nothing_more()
        return [module]

    def _module(self, name: str) -> s.Module:
        start = self._token.span
        head = self.head(name)
        items = self._items()
        self.module_end(head.written)
        return head.module(self._since(start), items)

    def head(self, name: str) -> Head:
        """The head of a module, where one stands."""
        self._pass_ends()
        start = self._token.span
        head = Head(start, name)
        if not self._at_module() or self._at >= self._end:
            return head
        static, params, types, meta = False, head.params, head.types, None
        try:
            static = self._take("static")
            self._next()
            name = str(self._name("the name of the module").value)
            if self._sees("["):
                types = self._listed(self._next(), lambda: self._name("a type variable").value)
            if self._sees("("):
                params = self._params()
            meta = self._meta()
        except Fault as fault:
            self._say(fault)
            self._recover(self._at)
        return Head(start, name, True, static, params, types, meta)

    def items(self) -> tuple[s.Item, ...]:
        """The items up to the end of the module, or of what is read."""
        return self._items()

    def module_end(self, headed: bool) -> None:
        """`module end`, where it stands."""
        if self._sees("module") and self._ahead(1).value == "end":
            if not headed:
                self._report.add("M0305", self._token.span, "'module end' without a module that began")
            self._at += 2

    def nothing_more(self) -> None:
        """Report what stands behind the module."""
        self._pass_ends()
        if self._token.kind != "eof":
            self._report.add(
                "M0304", self._token.span, "a file holds one module", hint="put the next one into a file of its own"
            )  # fmt: skip

    def _pass_ends(self) -> None:
        while self._token.kind == "end":
            self._at += 1
