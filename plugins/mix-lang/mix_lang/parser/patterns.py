"""Patterns, in `let`, lambdas and `switch`: `||` loosest, then `&&`, then `v @ p`."""

from __future__ import annotations

from typing import Final, Literal

from mix_lang import syntax as s
from mix_lang.parser.cursor import Fault
from mix_lang.parser.types import TypeParser
from mix_lang.source import Span

__all__ = ["COMPARISONS", "PatternParser"]

COMPARISONS: Final = frozenset(
    op + form for op in ("==", "!=", "<", "<=", ">", ">=", "===", "!==") for form in ("", ":ci")
)
_CONSTANTS: Final = ("null", "true", "false", "undefined")


class PatternParser(TypeParser):
    """Rules that answer a pattern."""

    def _pattern(self) -> s.Pattern:
        with self._nested():
            return self._pattern_chain("||", "or")

    def _pattern_chain(self, op: str, kind: Literal["and", "or"]) -> s.Pattern:
        start = self._token.span
        parts = [self._pattern_part(kind)]
        while self._take(op):
            parts.append(self._pattern_part(kind))
        return parts[0] if len(parts) == 1 else s.PAll(self._since(start), kind, tuple(parts))

    def _pattern_part(self, kind: Literal["and", "or"]) -> s.Pattern:
        return self._pattern_chain("&&", "and") if kind == "or" else self._simple_pattern()

    def _simple_pattern(self) -> s.Pattern:
        token = self._token
        if token.kind in ("string", "int", "float") or self._sees("-", "+", *_CONSTANTS):
            return s.PConst(self._since(token.span), self._constant())
        if self._sees("["):
            opener = self._next()
            slots = self._listed(opener, self._slot)
            many = [slot for slot in slots if slot.mode == "multiple"]
            if len(many) > 1:
                raise Fault("M0204", many[1].span, "an array pattern has at most one ~multiple")
            return s.PArray(self._since(token.span), slots)
        if self._sees("{"):
            opener = self._next()
            fields = self._listed(opener, self._field_pattern)
            return s.PMap(self._since(token.span), fields)
        if self._sees("("):
            opener = self._next()
            inner = self._pattern()
            self._close(opener, "')'")
            return inner
        if self._sees("self") and self._ahead(1).value != ".":
            return self._named_pattern()
        if self._sees("self", "global"):
            self._next()
            self._expect(".", f"'.' and the name of a case behind '{token.value}'")
            return self._case_pattern(token.span, token.value, self._name("the name of a case").value)
        if self._sees("type"):
            self._next()
            opener = self._expect("(")
            checked = self._type()
            self._close(opener, "')'")
            return s.PType(self._since(token.span), checked)
        if token.kind == "name":
            return self._named_pattern()
        raise self._fault("a pattern")

    def _named_pattern(self) -> s.Pattern:
        token = self._next()
        if self._sees("."):
            self._next()
            return self._case_pattern(token.span, token.value, self._name("the name of a case").value)
        if self._sees("("):
            return self._case_pattern(token.span, "", token.value)
        if self._token.kind == "op" and self._token.value in COMPARISONS:
            op, ci = _split(self._next().value)
            right = self._compared()
            return s.PCompare(self._since(token.span), token.value, op, ci, right)
        if self._take("@"):
            inner = self._simple_pattern()
            return s.PAt(self._since(token.span), token.value, inner)
        return s.PAny(token.span) if token.value == "_" else s.PVar(token.span, token.value)

    def _case_pattern(self, start: Span, qualifier: str, name: str) -> s.Pattern:
        arg = None
        if self._sees("("):
            opener = self._next()
            arg = self._pattern()
            self._close(opener, "')'")
        return s.PCase(self._since(start), qualifier, name, arg)

    def _compared(self) -> s.Expr:
        """The right side of a comparison: a constant, or a name from outside of the pattern."""
        token = self._token
        if token.kind in ("string", "int", "float") or self._sees("-", "+", *_CONSTANTS):
            return s.Const(self._since(token.span), self._constant())
        if self._sees("self", "global"):
            self._next()
            self._expect(".")
            name = self._name("a name").value
            return s.Qualified(self._since(token.span), token.value, name)
        if token.kind != "name":
            raise self._fault("a constant or the name of a variable outside of the pattern")
        self._next()
        found: s.Expr = s.Name(token.span, token.value)
        while self._sees("."):
            self._next()
            field = self._key("the name of a field")
            found = s.Field(self._since(token.span), found, field.value, field.span)
        return found

    def _constant(self) -> object:
        """A number with its sign, a string, or a word that is a value."""
        from mixkit.value import INT64_MAX, UNDEF

        negative = False
        if self._sees("-", "+"):
            negative = self._next().value == "-"
            if self._token.kind not in ("int", "float"):
                raise self._fault("a number")
        token = self._next()
        if token.kind == "keyword":
            return {"null": None, "true": True, "false": False, "undefined": UNDEF}[token.value]
        if token.kind == "string":
            return token.value
        value = -token.value if negative else token.value
        return float(value) if type(value) is int and value > INT64_MAX else value

    def _slot(self) -> s.Slot:
        start = self._token.span
        mode: Literal["one", "optional", "multiple"] = "one"
        if self._take("~"):
            word = self._key("'multiple' or 'optional'")
            if word.value not in ("multiple", "optional"):
                raise Fault(
                    "M0201", word.span, f"expected 'multiple' or 'optional' behind '~', found '{word.value}'"
                )
            mode = "multiple" if word.value == "multiple" else "optional"
        inner = self._pattern()
        return s.Slot(self._since(start), mode, inner)

    def _field_pattern(self) -> tuple[str, s.Pattern, bool]:
        token = self._token
        key = self._next().value if token.kind == "string" else self._key("a key").value
        optional = self._take("?")
        if self._take(":"):
            return key, self._pattern(), optional
        if token.kind != "name":
            raise self._fault("':' and a pattern behind this key")
        return key, s.PAny(token.span) if key == "_" else s.PVar(token.span, key), optional


def _split(op: str) -> tuple[str, bool]:
    return op.removesuffix(":ci"), op.endswith(":ci")
