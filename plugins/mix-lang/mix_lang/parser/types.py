"""Types: `A -> B`, unions, tuples, records, applications."""

from __future__ import annotations

from typing import Final

from mix_lang import syntax as s
from mix_lang.parser.cursor import Cursor

__all__ = ["TypeParser"]


class TypeParser(Cursor):
    """`|` binds tighter than `->`, which is right-associative."""

    def _type(self) -> s.Type:
        with self._nested():
            start = self._token.span
            left = self._union()
            if not self._take("->"):
                return left
            right = self._type()
            return s.TArrow(self._since(start), left, right)

    def _union(self) -> s.Type:
        start = self._token.span
        options = [self._simple_type()]
        while self._sees("|"):
            self._next()
            options.append(self._simple_type())
        return options[0] if len(options) == 1 else s.TUnion(self._since(start), tuple(options))

    def _simple_type(self) -> s.Type:
        token = self._token
        if self._sees("("):
            opener = self._next()
            if self._take(")"):
                return s.TName(self._since(token.span), "", "null")
            inner = self._type()
            self._close(opener, "'->', '|' or ')'")
            return inner
        if self._sees("["):
            return self._tuple_type()
        if self._sees("{"):
            opener = self._next()
            fields = self._listed(opener, self._field_type)
            return s.TRecord(self._since(token.span), fields)
        if token.kind == "name" or self._sees("null", "self", "global"):
            return self._named_type()
        raise self._fault("a type", _DATA_HINT if token.kind in ("string", "int", "float") else "")

    def _named_type(self) -> s.Type:
        start = self._next()
        qualifier, name = "", start.value
        if self._sees("."):
            self._next()
            qualifier, name = name, self._name("the name of a type").value
        if self._sees("(") and not self._token.first:
            opener = self._next()
            args = self._listed(opener, self._type)
            return s.TApply(self._since(start.span), qualifier, name, args)
        if not qualifier and name == "_":
            # Each is a variable of its own.
            return s.TVar(start.span, f"_{start.span.start}")
        if not qualifier and name[0].isupper():
            return s.TVar(start.span, name)
        return s.TName(self._since(start.span), qualifier, name)

    def _tuple_type(self) -> s.Type:
        opener = self._next()
        if not self._sees("#"):
            items = self._listed(opener, self._type)
            return s.TTuple(self._since(opener.span), items)
        labels = self._listed(opener, self._label_type)
        return s.TLabels(self._since(opener.span), labels)

    def _label_type(self) -> tuple[str, s.Type]:
        self._expect("#", "'#' and a label")
        name = self._key("a label").value
        self._expect(":")
        return name, self._type()

    def _field_type(self) -> tuple[str, s.Type, bool]:
        name = self._next().value if self._token.kind == "string" else self._key("the name of a field").value
        optional = self._take("?")
        self._expect(":")
        return name, self._type(), optional


_DATA_HINT: Final = (
    "a type is built of names: null, bool, number, string, data, array(…), map(…), {f: …}, [A, B], A -> B"
)
