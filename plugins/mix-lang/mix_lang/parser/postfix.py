"""What follows an expression: access, presence, slices, calls; and places in values, as `with` and assignments have."""

from __future__ import annotations

from typing import Final

from mix_lang import syntax as s
from mix_lang.parser.cursor import Cursor, Fault
from mix_lang.source import Span

__all__ = ["PostfixParser"]


_BEHIND: Final = frozenset((".", "[", "(", "?", "'", "^"))


class PostfixParser(Cursor):
    """Rules that go on behind what was read."""

    def _primary(self) -> s.Expr:
        raise NotImplementedError

    def _postfix(self) -> s.Expr:
        start = self._token.span
        left = self._primary()
        count = 0
        while True:
            token = self._tokens[self._at]
            op = token.value
            if token.kind != "op" or op not in _BEHIND:
                return left
            self._link(count)
            count += 1
            if op == ".":
                left = self._dotted(start, left)
            elif op == "[":
                left = self._bracketed(start, left)
            elif op == "(":
                opener = self._next()
                args = self._listed(opener, self._expression)
                left = s.Call(self._since(start), left, args)
            elif op == "?":
                self._next()
                left = s.Present(self._since(start), left)
            elif op == "'":
                self._next()
                if not isinstance(left, s.Name):
                    raise Fault("M0201", self._since(start), 'expected the name of a cell before "\'"')
                left = s.Previous(self._since(start), left.name)
            else:
                self._next()
                left = s.Inverse(self._since(start), left)

    def _dotted(self, start: Span, left: s.Expr) -> s.Expr:
        self._next()
        if self._sees("("):
            opener = self._next()
            key = self._expression()
            self._close(opener, "')'")
            return s.Dynamic(self._since(start), left, key)
        if self._sees("["):
            opener = self._next()
            self._expect("#", "'#' and a label")
            name = self._key("a label").value
            self._close(opener, "']'")
            return s.Label(self._since(start), left, name)
        token = self._key("the name of a field")
        return s.Field(self._since(start), left, token.value, token.span)

    def _bracketed(self, start: Span, left: s.Expr) -> s.Expr:
        opener = self._next()
        if self._take("]"):
            return s.Slice(self._since(start), left, None, None)
        if self._sees("#"):
            step = self._hash(opener.span)
            self._close(opener, "']'")
            span = self._since(start)
            if step.kind == "label":
                return s.Label(span, left, step.name)
            return s.TupleAt(span, left, step.index, step.size)
        first = None if self._sees("..") else self._expression()
        if not self._take(".."):
            self._close(opener, "'..' or ']'")
            assert first is not None
            return s.Index(self._since(start), left, first)
        last = None if self._sees("]") else self._expression()
        self._close(opener, "']'")
        return s.Slice(self._since(start), left, first, last)

    def _hash(self, start: Span) -> s.Step:
        """`#0 of 2` or `#name`."""
        self._expect("#")
        if self._token.kind != "int":
            return s.Step(self._since(start), "label", name=self._key("a label or an index").value)
        index = self._next().value
        if not self._sees_word("of"):
            raise self._fault("'of' and the size of the tuple")
        self._next()
        if self._token.kind != "int":
            raise self._fault("the size of the tuple")
        size = self._next().value
        if index >= size:
            raise Fault("M0209", self._since(start), f"a tuple of {size} has no element #{index}")
        return s.Step(self._since(start), "tuple", index=index, size=size)

    def _steps(self) -> tuple[s.Step, ...]:
        """`.a[2].(k)`, the way to a place in a value."""
        steps: list[s.Step] = []
        while self._sees(".", "["):
            start = self._token.span
            if self._next().value == ".":
                if self._sees("("):
                    opener = self._next()
                    key = self._expression()
                    self._close(opener, "')'")
                    steps.append(s.Step(self._since(start), "key", key=key))
                elif self._sees("["):
                    opener = self._next()
                    step = self._hash(start)
                    self._close(opener, "']'")
                    steps.append(step)
                else:
                    name = self._key("the name of a field").value
                    steps.append(s.Step(self._since(start), "field", name=name))
                continue
            opener = self._tokens[self._at - 1]
            if self._sees("#"):
                step = self._hash(start)
                self._close(opener, "']'")
                steps.append(step)
                continue
            key = self._expression()
            self._close(opener, "']'")
            steps.append(s.Step(self._since(start), "index", key=key))
        return tuple(steps)
