"""Text to syntax tree. `parse` never raises: what is wrong is in the report, and the tree has what is right."""

from __future__ import annotations

from mix_lang import syntax as s
from mix_lang.diagnostic import Report
from mix_lang.lexer import Token, tokenize
from mix_lang.parser.cursor import Fault
from mix_lang.parser.items import ItemParser
from mix_lang.source import Source, Span

__all__ = ["FileParser", "parse"]


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
    """A whole file."""

    @property
    def here(self) -> Span:
        return self._token.span

    def file(self, name: str) -> list[s.Module]:
        modules: list[s.Module] = []
        while True:
            while self._token.kind == "end":
                self._at += 1
            if self._token.kind == "eof":
                break
            if modules:
                self._report.add(
                    "M0304", self._token.span, "a file holds one module",
                    hint="put the next one into a file of its own",
                )  # fmt: skip
                break
            modules.append(self._module(name))
        return modules or [s.Module(Span(0, 0), name, False, (), (), None, ())]

    def _module(self, name: str) -> s.Module:
        start = self._token
        static = headed = False
        params: tuple[s.Param, ...] = ()
        types: tuple[str, ...] = ()
        meta = None
        if self._at_module():
            headed = True
            try:
                static = self._take("static")
                self._next()
                name = self._module_name()
                if self._sees("["):
                    types = self._listed(self._next(), lambda: self._name("a type variable").value)
                if self._sees("("):
                    params = self._params()
                meta = self._meta()
            except Fault as fault:
                self._say(fault)
                self._recover(self._at)
        items = self._items()
        ended = self._sees("module") and self._ahead(1).value == "end"
        if ended:
            if not headed:
                self._report.add("M0305", self._token.span, "'module end' without a module that began")
            self._at += 2
        return s.Module(self._since(start.span), name, static, params, types, meta, items)

    def _module_name(self) -> str:
        token: Token = self._name("the name of the module")
        return str(token.value)
