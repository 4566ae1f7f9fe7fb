"""Definitions of a module. An error in one costs that one only, and its name is known all the same."""

from __future__ import annotations

from typing import Any, Final

from mix_lang import syntax as s
from mix_lang.elsewhere import DEFINING
from mix_lang.lexer import Token
from mix_lang.parser.cursor import Fault
from mix_lang.parser.statements import StatementParser
from mix_lang.source import Span

__all__ = ["SCREEN_WORDS", "ItemParser"]

SCREEN_WORDS: Final = frozenset(
    [
        "view",
        "screen",
        "card",
        "tile",
        "node",
        "dom",
        "editor",
        "style",
        "theme",
        "navigate",
        "navigation",
        "viewstack",
        "appView",
        "circuit",
        "layout",
        "widget",
        "component",
    ]
)
"""Words that begin what is about screens, which there are none of here."""
_WEAK: Final = ("var", "case", "type", "on")


class ItemParser(StatementParser):
    """Rules that answer an item of a module."""

    def _items(self) -> tuple[s.Item, ...]:
        """Items up to `module end` or the end of what is read."""
        items: list[s.Item] = []
        while True:
            while self._token.kind == "end" or self._sees(";"):
                self._at += 1
            if self._at >= self._end or self._at_module():
                return tuple(items)
            start = self._at
            try:
                item = self._item()
                if self._token.first:
                    items.append(item)
                    self._behind()
                else:
                    self._behind()
                    items.append(item)
            except Fault as fault:
                self._say(fault)
                name = self._broken_name(start)
                if (name and len(items) and getattr(items[-1], "name", None) != name) or (name and not items):
                    items.append(s.Broken(self._tokens[start].span, name))
                self._recover(start)

    def _at_module(self) -> bool:
        if self._sees("module"):
            return True
        return self._sees("static") and self._ahead(1).value == "module"

    def _behind(self) -> None:
        """What may follow an item: the next one, `;;` or the end."""
        token = self._token
        if token.kind in ("eof", "end") or self._sees(";") or self._at_item:
            return
        if self._starts_item(token):
            return
        raise self._fault("an operator, or the next definition", _UNBALANCED.get(str(token.value), ""))

    def _starts_item(self, token: Token) -> bool:
        if token.kind == "keyword":
            return token.value in _ALL or token.value in _WEAK
        return token.kind == "name" and token.first and (
            token.value in ("_meta_", "_pragma_", "_source_", "test")
            or token.value in SCREEN_WORDS
            or token.value in DEFINING
        )  # fmt: skip

    def _recover(self, start: int) -> None:
        """Go on to the next definition: one that begins a line no further to the right than the broken one."""
        column = self._column(self._tokens[start])
        if self._at == start:
            self._next()
        while self._token.kind not in ("eof", "end"):
            token = self._token
            if self._at_item:
                return
            if token.first and self._starts_item(token) and self._column(token) <= column:
                return
            self._at += 1

    def _column(self, token: Token) -> int:
        return self._report.source.place(token.span.start)[2]

    def _broken_name(self, start: int) -> str:
        """The name that the item at `start` would have given, if one can tell."""
        at, names = start, 0
        while at < len(self._tokens) - 1 and names < 5:
            if self._tokens[at].kind != "keyword" and self._tokens[at].value not in DEFINING:
                break
            at, names = at + 1, names + 1
        token = self._tokens[at]
        return token.value if names and token.kind == "name" else ""

    # Items

    def _item(self) -> s.Item:
        token = self._token
        if token.kind == "keyword":
            rule = {
                "import": self._import, "declare": self._declare, "case": self._case_def, "type": self._type_def,
                "initializer": self._initializer, "on": self._observer, "alias": self._alias,
            }.get(token.value)  # fmt: skip
            if rule is not None:
                return rule()
            if token.value in ("def", "cell", "var", "private", "live", "foreign"):
                return self._modified()
        elif token.kind == "name":
            if token.value in ("_meta_", "_pragma_"):
                self._next()
                value = self._json()
                made = s.Meta if token.value == "_meta_" else s.Pragma
                return made(self._since(token.span), value)
            if token.value == "_source_":
                raise Fault(
                    "M0701", token.span, "_source_ fetches code when it is compiled, which mixkit does not do",
                    "put the module's text beside this one", word="_source_",
                )  # fmt: skip
            if token.value == "test" and self._ahead(1).kind == "string":
                self._next()
                name = self._next().value
                block = self._block()
                return s.Test(self._since(token.span), name, block)
            if token.value in SCREEN_WORDS:
                raise Fault(
                    "M0702", token.span, f"'{token.value}' is about screens, and agents have none",
                    "an agent answers with its cell output", word=token.value,
                )  # fmt: skip
        if token.kind == "keyword" and token.value in ("let", "return", "if", "for", "while", "switch"):
            raise Fault(
                "M0206", token.span, f"{token.value} is a statement and may not stand in a module",
                "write def name = …, or put it into initializer { … }", word=token.value,
            )  # fmt: skip
        raise self._fault(
            "a definition: def, cell, var cell, import, case, type …", _UNBALANCED.get(str(token.value), "")
        )

    def _modified(self) -> s.Item:
        """`private`, `var`, `live`, `foreign` in front of `def`, `cell`, `case`."""
        start = self._token.span
        words: set[str] = set()
        while self._sees("private", "var", "live", "foreign"):
            token = self._next()
            if token.value in words:
                raise Fault("M0201", token.span, f"'{token.value}' stands here twice")
            words.add(token.value)
        if self._sees("def") and not words & {"var", "live"}:
            if "foreign" in words:
                return self._foreign(start, "private" in words)
            return self._def(start, "private" in words)
        if self._sees("cell") and "foreign" not in words:
            return self._cell(start, words)
        if self._sees("case") and words == {"private"}:
            return self._case_def(start)
        if "foreign" in words:
            raise self._fault("'def' behind 'foreign'")
        if words & {"var", "live"}:
            hint = (
                "what actions change is a var cell; what stays is a def" if self._token.kind == "name" else ""
            )
            raise self._fault("'cell'", hint)
        raise self._fault("'def', 'cell' or 'case'")

    def _def(self, start: Span, private: bool) -> s.Item:
        name, params, of, meta = self._head("the name of the definition")
        body: s.Body | None = None
        if self._take("="):
            body = self._expression()
        elif self._sees("{"):
            if params is None:
                raise self._fault(
                    "'=' and an expression",
                    "statements in braces need parameters: def f() { … }, or do { … }",
                )
            body = self._block()
        elif of is None:
            raise self._fault("'=' and an expression, ':' and a type, or '{'")
        elif params is not None:
            raise self._fault(
                "'=' and an expression, or '{'", "declare a function by its type: def f : number -> number"
            )
        return s.Def(self._since(start), name.value, name.span, private, params, of, body, meta)

    def _head(self, what: str) -> tuple[Token, tuple[s.Param, ...] | None, s.Type | None, Any]:
        """What stands before the body of a definition or cell: name, parameters, type and metadata."""
        self._next()
        name = self._name(what)
        params = self._params() if self._sees("(") else None
        of = self._type() if self._take(":") else None
        return name, params, of, self._meta()

    def _meta(self) -> Any:
        if self._token.kind == "name" and self._token.value == "_meta_":
            self._next()
            return self._json()
        return None

    def _foreign(self, start: Span, private: bool) -> s.Item:
        self._next()
        name = self._name("the name of the function")
        self._expect(":", "':' and the function's type")
        of = self._type()
        meta = self._meta()
        self._expect("=", "'=' and the name of the FFI as a string")
        if self._token.kind != "string":
            raise self._fault("the name of the FFI as a string")
        ffi = self._next()
        fallbacks: list[tuple[s.Name, s.Expr]] = []
        if self._sees("("):
            opener = self._next()
            while True:
                host = self._name("the name of a host environment")
                self._expect("->")
                fallbacks.append((s.Name(host.span, host.value), self._expression()))
                if not self._take("|"):
                    break
            self._close(opener, "'|' or ')'")
        return s.Foreign(
            self._since(start), name.value, name.span, private, of, ffi.value, ffi.span, tuple(fallbacks), meta
        )  # fmt: skip

    def _cell(self, start: Span, words: set[str]) -> s.Item:
        name, params, of, meta = self._head("the name of the cell")
        body: s.Body | None = None
        if self._take("="):
            body = self._expression()
        elif self._sees("{"):
            body = self._block()
        elif of is None:
            raise self._fault("'=' and an expression, or ':' and a type")
        return s.CellDef(
            self._since(start), name.value, name.span, "var" in words, "private" in words, "live" in words,
            params, of, body, meta,
        )  # fmt: skip

    def _alias(self) -> s.Item:
        start = self._next().span
        name = self._name("the name of the alias")
        of = self._type() if self._take(":") else None
        self._expect("=", "'=' and a cell or a link")
        target = self._expression()
        return s.Alias(self._since(start), name.value, name.span, of, target)

    def _case_def(self, start: Span | None = None) -> s.Item:
        begin = self._next().span
        name = self._name("the name of the case")
        arg = None
        if self._sees("("):
            opener = self._next()
            arg = self._type()
            if self._sees(",", ":"):
                raise self._fault(
                    "')'", "a case has one argument; several are a tuple: case rgb([number, number])"
                )
            self._close(opener, "')'")
        return s.CaseDef(self._since(start or begin), name.value, name.span, start is not None, arg)

    def _type_def(self) -> s.Item:
        start = self._next().span
        name = self._name("the name of the type")
        params: tuple[str, ...] = ()
        if self._sees("("):
            opener = self._next()
            params = self._listed(opener, lambda: self._name("a type variable").value)
        self._expect("=", "'=' and a type")
        of = self._type()
        return s.TypeDef(self._since(start), name.value, name.span, params, of)

    def _initializer(self) -> s.Item:
        start = self._next().span
        block = self._block()
        return s.Initializer(self._since(start), block)

    def _observer(self) -> s.Item:
        start = self._next().span
        cells: tuple[s.Name | s.Qualified, ...]
        if self._sees("("):
            cells = self._listed(self._next(), self._cell_name)
        else:
            cells = (self._cell_name(),)
        condition = self._expression() if self._take("when") else None
        self._expect("do", "'do' and statements")
        block = self._block()
        return s.Observer(self._since(start), cells, condition, block)

    def _cell_name(self) -> s.Name | s.Qualified:
        token = self._token
        if self._take("self"):
            self._expect(".")
            name = self._name("the name of a cell").value
            return s.Qualified(self._since(token.span), "self", name)
        name = self._name("the name of a cell").value
        return s.Name(token.span, name)

    # Imports

    def _import(self) -> s.Item:
        start = self._next().span
        first = self._name("the name of a module")
        alias, module = first.value, first
        if self._take("="):
            module = self._name("the name of a module")
        types: tuple[tuple[str, s.Type], ...] = ()
        if self._sees("["):
            types = self._listed(self._next(), self._type_argument)
        args = None
        if self._sees("("):
            args = self._listed(self._next(), self._expression)
        return s.Import(self._since(start), alias, module.value, module.span, args, types)

    def _type_argument(self) -> tuple[str, s.Type]:
        name = self._name("a type variable").value
        self._expect("=")
        return name, self._type()

    def _declare(self) -> s.Item:
        start = self._next().span
        name = self._name("the name of a module").value
        params = self._params()
        return s.Declare(self._since(start), name, params)


_ALL: Final = frozenset(
    [
        "def",
        "cell",
        "import",
        "declare",
        "foreign",
        "alias",
        "initializer",
        "private",
        "live",
        "type",
        "case",
        "on",
        "module",
        "static",
    ]
)
_UNBALANCED: Final = {
    ")": "there is no open bracket that this one closes",
    "]": "there is no open bracket that this one closes",
    "}": "there is no open bracket that this one closes",
    "=": "compare with ==; a definition begins with def",
}
