"""Statements and blocks. `;` or the end of the line ends a statement; an error in one costs that one only."""

from __future__ import annotations

from typing import Final

from mix_lang import syntax as s
from mix_lang.lexer import Token
from mix_lang.parser.cursor import Fault
from mix_lang.parser.expressions import ExpressionParser
from mix_lang.source import Span

__all__ = ["StatementParser"]

_STARTERS: Final = ("let", "var", "if", "while", "for", "switch", "return")


class StatementParser(ExpressionParser):
    """Rules that answer a statement."""

    def _block(self) -> s.Block:
        opener = self._expect("{", "'{' and statements")
        with self._nested():
            statements = self._statements()
        self._close(opener, "a statement or '}'")
        return s.Block(self._since(opener.span), statements)

    def _statements(self) -> tuple[s.Stmt, ...]:
        """Statements up to `}`, or in a switch up to the next `case`."""
        found: list[s.Stmt] = []
        depth = self._structure.depth[self._at]
        while True:
            while self._take(";"):
                pass
            if self._sees("}") or self._sees("case") or self._token.kind in ("eof", "end"):
                return tuple(found)
            if self._at_item:
                return tuple(found)
            at = self._at
            try:
                statement = self._statement()
                self._separator()
                found.append(statement)
            except Fault as fault:
                if fault.code in ("M0202", "M0203"):
                    # Nothing in here says where the bracket was meant to end.
                    raise
                self._say(self._because(fault, at))
                found += self._names_of_broken(at)
                self._skip(depth, _ends_statement)
                if self._at == at:
                    self._next()

    def _names_of_broken(self, at: int) -> list[s.Stmt]:
        """A statement that could not be read may have given names, whose uses are no errors."""
        if self._tokens[at].value not in ("let", "var", "def"):
            return []
        slots: dict[str, s.Slot] = {}
        for token in self._tokens[at + 1 :]:
            if token.value in ("=", ";", "}") or token.kind == "eof":
                break
            if token.kind == "name":
                slots[token.value] = s.Slot(token.span, "one", s.PVar(token.span, token.value))
        span = self._tokens[at].span
        return [s.LetStmt(span, s.PArray(span, tuple(slots.values())), None, s.Const(span, None))]

    def _separator(self) -> None:
        """What ends a statement: `;`, `}`, a block's end, or that the next one is on a line of its own."""
        if self._take(";") or self._sees("}", "case") or self._token.kind in ("eof", "end"):
            return
        before = self._tokens[self._at - 1]
        if self._token.first or before.value == "}":
            return
        raise self._fault("';' or the end of the line behind this statement")

    def _statement(self) -> s.Stmt:
        token = self._token
        if token.kind == "keyword":
            rule = {
                "let": self._let_statement, "var": self._var, "if": self._if_statement, "while": self._while,
                "for": self._for, "switch": self._switch, "return": self._return,
            }.get(token.value)  # fmt: skip
            if rule is not None:
                return rule()
            if token.value in ("def", "cell", "import", "module", "type", "initializer"):
                raise Fault(
                    "M0206", token.span, f"{token.value} may stand in a module, not among statements",
                    "use let for what is local", word=token.value,
                )  # fmt: skip
        return self._expression_or_assignment()

    def _let_statement(self) -> s.Stmt:
        start = self._token.span
        binding = self._binding()
        if not self._take("in"):
            return binding
        body = self._expression()
        span = self._since(start)
        return s.ExprStmt(span, s.Let(span, (binding,), body))

    def _var(self) -> s.VarStmt:
        start = self._next().span
        if self._sees("[", "{"):
            raise self._fault("the name of a variable", "var takes a name; take a pattern apart with let")
        name = self._name("the name of a variable")
        of = self._type() if self._take(":") else None
        self._expect("=", "'=' and the variable's first value")
        value = self._expression()
        return s.VarStmt(self._since(start), name.value, name.span, of, value)

    def _condition(self, word: str) -> s.Expr:
        opener = self._expect("(", f"'(' and the condition behind '{word}'")
        condition = self._expression()
        self._close(opener, "an operator or ')'")
        return condition

    def _if_statement(self) -> s.Stmt:
        start, at = self._token.span, self._at
        branches: list[s.Branch] = []
        while True:
            inner = self._next().span
            condition = self._condition("if")
            if not self._sees("{"):
                if branches:
                    raise self._fault("'{' and statements")
                # `if (c) a else b` as a statement is an expression whose value nobody needs.
                self._at = at
                return self._expression_or_assignment()
            block = self._block()
            branches.append(s.Branch(self._since(inner), condition, block))
            if not self._take("else"):
                return s.IfStmt(self._since(start), tuple(branches), None)
            if not self._sees("if"):
                otherwise = self._block()
                return s.IfStmt(self._since(start), tuple(branches), otherwise)

    def _while(self) -> s.Stmt:
        start = self._next().span
        condition = self._condition("while")
        block = self._block()
        return s.While(self._since(start), condition, block)

    def _for(self) -> s.Stmt:
        start = self._next().span
        opener = self._expect("(", "'(' behind 'for'")
        if self._sees("var") or (self._sees("let") and self._ahead(2).value == "="):
            init = self._var()
            self._expect(";")
            condition = self._expression()
            self._expect(";")
            update = self._expression_or_assignment()
            self._close(opener, "')'")
            return self._loop(start, init, condition, update)
        self._expect("let", "'let x in stream' or 'var i = 0; …'")
        pattern = self._pattern()
        self._expect("in", "'in' and a stream")
        stream = self._expression()
        self._close(opener, "')'")
        block = self._block()
        return s.ForIn(self._since(start), pattern, stream, block)

    def _loop(self, start: Span, init: s.VarStmt, condition: s.Expr, update: s.Stmt) -> s.Stmt:
        block = self._block()
        return s.ForVar(self._since(start), init, condition, update, block)

    def _switch(self) -> s.Stmt:
        start = self._next().span
        subject = self._condition("switch")
        opener = self._expect("{", "'{' and cases")
        clauses: list[s.Clause] = []
        with self._nested():
            while self._sees("case"):
                clauses.append(self._case())
        self._close(opener, "'case' and a pattern, or '}'")
        return s.Switch(self._since(start), subject, tuple(clauses))

    def _case(self) -> s.Clause:
        start = self._next()
        pattern = self._pattern()
        guard = self._expression(hint=False) if self._take("when") else None
        self._expect(":", "':' behind the pattern")
        body = self._token.span
        statements = self._statements()
        block = s.Block(self._since(body) if statements else start.span, statements)
        return s.Clause(self._since(start.span), (pattern,), guard, block)

    def _return(self) -> s.Stmt:
        start = self._next()
        if self._sees(";", "}", "case") or self._token.kind in ("eof", "end"):
            return s.Return(start.span, None)
        if self._token.first and (self._token.value in _STARTERS):
            return s.Return(start.span, None)
        value = self._expression()
        return s.Return(self._since(start.span), value)

    def _expression_or_assignment(self) -> s.Stmt:
        start = self._token.span
        value = self._expression()
        if not self._sees("="):
            return s.ExprStmt(self._since(start), value)
        target, steps = self._place(value)
        self._next()
        new = self._expression()
        return s.Assign(self._since(start), target, steps, new)

    def _place(self, expr: s.Expr) -> tuple[s.Name | s.Qualified | s.Field, tuple[s.Step, ...]]:
        """A variable and the way into its value, of what was read as an expression."""
        steps: list[s.Step] = []
        while True:
            match expr:
                case s.Name() | s.Qualified():
                    steps.reverse()
                    return expr, tuple(steps)
                case s.Field(span=span, object=inner, name=name):
                    steps.append(s.Step(span, "field", name=name))
                case s.Dynamic(span=span, object=inner, key=key):
                    steps.append(s.Step(span, "key", key=key))
                case s.Index(span=span, object=inner, index=index):
                    steps.append(s.Step(span, "index", key=index))
                case s.TupleAt(span=span, object=inner, index=at, size=size):
                    steps.append(s.Step(span, "tuple", index=at, size=size))
                case s.Label(span=span, object=inner, name=name):
                    steps.append(s.Step(span, "label", name=name))
                case _:
                    raise Fault(
                        "M0212", expr.span, "this is nothing that can be assigned to",
                        "a variable can, and a place in its value: x = …, m.a[2] = …",
                    )  # fmt: skip
            expr = inner


def _ends_statement(token: Token) -> bool:
    if token.value in (";", "}") and token.kind == "op":
        return True
    return token.kind == "keyword" and token.first and token.value in (*_STARTERS, "case")
