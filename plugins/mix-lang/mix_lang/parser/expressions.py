"""Expressions, by precedence climbing.

Loosest first: `|>`, `with`, `||`, `&&`, `not`, comparisons, `++`, `+ -`, `* / %`, access and calls.
"""

from __future__ import annotations

from typing import Any, Final

from mix_lang import syntax as s
from mix_lang.lexer import Token
from mix_lang.parser.cursor import Fault
from mix_lang.parser.patterns import COMPARISONS, PatternParser
from mix_lang.parser.postfix import PostfixParser
from mix_lang.source import Span
from mixkit.value import INT64_MAX

__all__ = ["ExpressionParser"]

_LEVELS: Final[tuple[frozenset[str], ...]] = (
    frozenset(("||",)), frozenset(("&&",)), frozenset(), COMPARISONS, frozenset(("++",)), frozenset("+-"),
    frozenset("*/%"),
)  # fmt: skip
_OPERATORS: Final = frozenset().union(*_LEVELS)
_BEHIND: Final = frozenset((",", ")", "]", "}", ";"))
"""What ends an expression, whatever it is."""
_NOT: Final = 2
_COMPARED: Final = 3
_CONSTANTS: Final = {"null": None, "true": True, "false": False}
_BLOCKS: Final = ("let", "var", "return", "if", "for", "while", "switch")
_STATEMENTS: Final = {
    "return": "return", "for": "a loop", "while": "a loop", "switch": "switch", "var": "var",
}  # fmt: skip


class ExpressionParser(PostfixParser, PatternParser):
    """Rules that answer an expression."""

    def _expression(self, hint: bool = True) -> s.Expr:
        # PERF: an argument or an element is often one name or constant, for which no precedence need be looked at.
        token, behind = self._tokens[self._at], self._tokens[min(self._at + 1, len(self._tokens) - 1)]
        if behind.value in _BEHIND and behind.kind == "op":
            if token.kind == "name" and token.value != "_escJSON_":
                self._at += 1
                return s.Name(token.span, token.value)
            if token.kind == "string":
                self._at += 1
                return s.Const(token.span, token.value)
        with self._nested():
            start = self._token.span
            if self._at in self._structure.lambdas:
                clause = self._clause()
                return s.Lambda(clause.span, (clause,))
            left = self._with()
            count = 0
            while self._sees("|>"):
                self._link(count)
                count += 1
                self._next()
                left = self._piped(start, left)
            if hint and self._sees(":"):
                self._next()
                of = self._type()
                left = s.Hint(self._since(start), left, of)
            return left

    def _piped(self, start: Span, left: s.Expr) -> s.Expr:
        right = self._with()
        span = self._since(start)
        if isinstance(right, s.Call) and not right.piped:
            return s.Call(span, right.function, (*right.args, left), True)
        return s.Call(span, right, (left,), True)

    def _with(self) -> s.Expr:
        start = self._token.span
        left = self._binary(0)
        if self._tokens[self._at].value != "with" or not self._sees("with"):
            return left
        updates = []
        while self._take("with"):
            steps = self._steps()
            if not steps:
                raise self._fault("a place behind 'with'", "write it as .name, .(key) or [index]")
            self._expect("=")
            updates.append((steps, self._binary(0)))
        return s.With(self._since(start), left, tuple(updates))

    def _binary(self, level: int) -> s.Expr:
        if level <= _NOT and self._sees("not"):
            return self._not(level)
        start = self._token.span
        left: s.Expr = self._unary()
        token = self._tokens[self._at]
        if token.kind != "op" or token.value not in _OPERATORS:
            return left
        # Tightest first: what was read so far is the first operand of the next looser chain.
        for current in range(len(_LEVELS) - 1, level - 1, -1):
            ops = _LEVELS[current]
            if not (self._token.kind == "op" and self._token.value in ops):
                continue
            left = self._chain(start, left, current)
        return left

    def _not(self, level: int) -> s.Expr:
        token = self._next()
        with self._nested():
            operand = self._binary(_NOT)
        left: s.Expr = s.Not(self._since(token.span), operand)
        for current in range(_NOT - 1, level - 1, -1):
            if self._token.kind == "op" and self._token.value in _LEVELS[current]:
                left = self._chain(token.span, left, current)
        return left

    def _chain(self, start: Span, first: s.Expr, level: int) -> s.Expr:
        ops = _LEVELS[level]
        parts: list[s.Part] = []
        while self._token.kind == "op" and self._token.value in ops:
            if level == _COMPARED and parts:
                raise Fault(
                    "M0205", self._token.span, "comparisons do not follow each other",
                    "write a < b && b < c, or put one comparison in parentheses",
                )  # fmt: skip
            token = self._next()
            operand = self._binary(level + 1)
            parts.append(
                s.Part(token.value.removesuffix(":ci"), token.value.endswith(":ci"), token.span, operand)
            )
        return s.Chain(self._since(start), first, tuple(parts))

    def _unary(self) -> s.Expr:
        token = self._tokens[self._at]
        if token.kind == "name":
            return self._postfix()
        if self._sees("-"):
            with self._nested():
                self._next()
                operand = self._unary()
            if isinstance(operand, s.Const) and type(operand.value) in (int, float):
                return s.Const(self._since(token.span), -operand.value)
            return s.Neg(self._since(token.span), operand)
        if self._sees("try"):
            with self._nested():
                self._next()
                operand = self._unary()
            return s.Try(self._since(token.span), operand)
        if self._sees("not"):
            raise self._fault("an operand", "put (not …) in parentheses here")
        found = self._postfix()
        if isinstance(found, s.Const) and type(found.value) is int and found.value > INT64_MAX:
            # It is an int64 with a minus in front only.
            before = self._tokens[self._at - 2] if self._at > 1 else token
            if before.value != "-":
                return s.Const(found.span, float(found.value))
        return found

    # Primary

    def _primary(self) -> s.Expr:
        token = self._token
        if token.kind in ("int", "float", "string"):
            self._next()
            return s.Const(token.span, token.value)
        if token.kind == "name":
            return self._escaped() if token.value == "_escJSON_" else s.Name(self._next().span, token.value)
        if token.kind == "op":
            rule = {
                "(": self._parenthesised, "[": self._array, "{": self._map, ".": self._projection, "~": self._regex,
            }.get(token.value)  # fmt: skip
            if rule is not None:
                return rule()
        if token.kind == "keyword":
            return self._keyword(token)
        raise self._fault("an expression")

    def _keyword(self, token: Token) -> s.Expr:
        from mixkit.value import UNDEF

        word = token.value
        if word in _CONSTANTS:
            self._next()
            return s.Const(token.span, _CONSTANTS[word])
        if word == "undefined":
            self._next()
            return s.Const(token.span, UNDEF)
        if word == "self" and self._ahead(1).value != ".":
            return s.Name(self._next().span, word)
        if word in ("self", "global"):
            self._next()
            self._expect(".", f"'.' and a name behind '{word}'")
            name = self._name("a name").value
            return s.Qualified(self._since(token.span), word, name)
        if word == "if":
            return self._if()
        if word == "let":
            return self._let()
        if word == "do":
            self._next()
            block = self._block()
            return s.Do(self._since(token.span), block)
        if word == "action":
            return self._action()
        if word == "type":
            self._next()
            opener = self._expect("(")
            of = self._type()
            self._close(opener, "')'")
            return s.TypeCheck(self._since(token.span), of)
        if word in _STATEMENTS:
            raise Fault(
                "M0206", token.span, f"{_STATEMENTS[word]} is a statement and may not stand in an expression",
                "write it inside of do { … }", word=word,
            )  # fmt: skip
        raise self._fault("an expression")

    def _parenthesised(self) -> s.Expr:
        opener = self._next()
        if self._at in self._structure.lambdas:
            clauses = [self._clause()]
            while self._take("|"):
                clauses.append(self._clause())
            self._close(opener, "'|' or ')'")
            arity = len(clauses[0].patterns)
            for clause in clauses[1:]:
                if len(clause.patterns) != arity:
                    raise Fault(
                        "M0207", clause.span, f"the first alternative takes {arity}, this one {len(clause.patterns)}",
                        "all alternatives of a function take the same number of arguments",
                    )  # fmt: skip
            return s.Lambda(self._since(opener.span), tuple(clauses))
        inner = self._expression()
        if self._sees(","):
            raise Fault(
                "M0201", self._token.span, "expected ')', found ','", "a tuple is written in brackets: [a, b]"
            )
        if self._sees("="):
            raise Fault(
                "M0206", self._token.span, "assignment is a statement and may not stand in an expression",
                "compare with ==, or write the assignment inside of do { … }", word="=",
            )  # fmt: skip
        self._close(opener, "an operator or ')'")
        return inner

    def _clause(self) -> s.Clause:
        start = self._token
        patterns: tuple[s.Pattern, ...]
        if self._sees("(") and self._is_params():
            patterns = self._listed(self._next(), self._pattern)
        else:
            patterns = (self._pattern(),)
        guard = self._expression(hint=False) if self._take("when") else None
        self._expect("->")
        body = self._expression(hint=False)
        return s.Clause(self._since(start.span), patterns, guard, body)

    def _is_params(self) -> bool:
        """Whether the parenthesis encloses all patterns of a clause: the arrow or the guard follows it."""
        depth = self._structure.depth[self._at]
        at = self._at + 1
        while at < len(self._tokens) - 1 and self._structure.depth[at] > depth:
            at += 1
        return self._tokens[at].value in ("->", "when") and self._tokens[at].kind in ("op", "keyword")

    def _if(self) -> s.Expr:
        start = self._token.span
        branches = []
        while True:
            self._expect("if")
            opener = self._expect("(", "'(' and the condition")
            condition = self._expression()
            self._close(opener, "an operator or ')'")
            branches.append((condition, self._expression(hint=False)))
            if not self._sees("else"):
                raise Fault(
                    "M0208", self._where(), f"expected 'else', found {self._found(self._token)}",
                    "in an expression, if needs an else: it must have a value either way",
                )  # fmt: skip
            self._next()
            if not self._sees("if"):
                break
        otherwise = self._expression(hint=False)
        return s.If(self._since(start), tuple(branches), otherwise)

    def _let(self) -> s.Expr:
        start = self._token.span
        bindings = []
        while self._sees("let"):
            bindings.append(self._binding())
            if not self._take("in"):
                if not self._sees(";"):
                    raise self._fault("';' or 'in' behind the value of this let")
                self._next()
        body = self._expression(hint=False)
        return s.Let(self._since(start), tuple(bindings), body)

    def _binding(self) -> s.LetStmt:
        """`let p = e`, `let x : T = e`, `let f(a, b) = e`."""
        start = self._expect("let").span
        if self._token.kind == "name" and self._ahead(1).value == "(" and self._binds_function():
            name = self._next()
            params = self._params()
            self._expect("=")
            body = self._expression(hint=False)
            span = self._since(start)
            patterns = tuple(s.PVar(param.span, param.name) for param in params)
            function = s.Lambda(span, (s.Clause(span, patterns, None, body),))
            return s.LetStmt(span, s.PVar(name.span, name.value), None, function)
        pattern = self._pattern()
        of = self._type() if self._take(":") else None
        self._expect("=")
        value = self._expression(hint=False)
        if self._take(":"):
            kind = self._type()
            value = s.Hint(self._since(value.span), value, kind)
        return s.LetStmt(self._since(start), pattern, of, value)

    def _binds_function(self) -> bool:
        """Whether `name(…) =` has names in its parentheses only, and a lower-case word that is no case we know."""
        at = self._at + 2
        while self._tokens[at].kind == "name" or self._tokens[at].value == ",":
            at += 1
        if self._tokens[at].value != ")" or self._tokens[at + 1].value != "=":
            return False
        return self._token.value not in ("some", "ok", "error")

    def _params(self) -> tuple[s.Param, ...]:
        opener = self._expect("(")
        params = self._listed(opener, self._param)
        seen: set[str] = set()
        for param in params:
            if param.name in seen and param.name != "_":
                self._report.add(
                    "M0302", param.span, f"two parameters are called '{param.name}'", name=param.name
                )
            seen.add(param.name)
        return params

    def _param(self) -> s.Param:
        if self._token.kind == "op":
            raise self._fault(
                "the name of a parameter", "parameters of a def are names; take a pattern apart with let"
            )
        token = self._name("the name of a parameter")
        of = self._type() if self._take(":") else None
        return s.Param(self._since(token.span), token.value, of)

    def _action(self) -> s.Expr:
        start = self._next().span
        params = self._params() if self._sees("(") else ()
        block = self._block()
        return s.Action(self._since(start), params, block)

    # Literals

    def _array(self) -> s.Expr:
        opener = self._next()
        if self._sees("#"):
            labels = self._listed(opener, self._labelled)
            return s.Labels(self._since(opener.span), labels)
        items = self._listed(opener, self._expression)
        return s.Array(self._since(opener.span), items)

    def _labelled(self) -> tuple[str, s.Expr]:
        self._expect("#", "'#' and a label")
        name = self._key("a label").value
        self._expect(":")
        return name, self._expression()

    def _map(self) -> s.Expr:
        opener = self._next()
        word = self._token
        if word.value in _BLOCKS and word.kind == "keyword" and self._ahead(1).value not in (":", ",", "}"):
            raise Fault(
                "M0206", word.span, f"'{word.value}' begins a statement, and this is a map",
                "statements stand in do { … }, and behind case: without braces", word=word.value,
            )  # fmt: skip
        projects = self._sees(".")
        keys = self._listed(opener, self._entry)
        span = self._since(opener.span)
        found = s.MapLit(span, keys)
        # `{.a, b: 1}` is a function of the row; one `.a` anywhere makes it so.
        if projects or any(_projected(key) for key in keys):
            return s.Lambda(span, (s.Clause(span, (s.PVar(span, ROW),), None, found),))
        return found

    def _entry(self) -> s.Key:
        token = self._token
        if self._sees("("):
            opener = self._next()
            key = self._expression()
            self._close(opener, "')'")
            self._expect(":", "':' and a value behind the key")
            value = self._expression()
            return s.Key(self._since(token.span), key, value)
        if self._sees("."):
            self._next()
            name = self._key("the name of a field")
            span = self._since(token.span)
            value = s.Field(span, s.Name(span, ROW), name.value, name.span)
            return s.Key(span, s.Const(name.span, name.value), value)
        if token.kind not in ("name", "keyword", "string"):
            hint = "keys are names, strings, or (expressions) in parentheses"
            if self._at > 1 and self._tokens[self._at - 2].value in (")", "else"):
                hint = "in an expression, if has no braces: write if (c) a else b"
            raise self._fault("a key", "" if self._sees("..") else hint)
        self._next()
        written = s.Const(token.span, token.value)
        if self._take(":"):
            value = self._expression()
            return s.Key(self._since(token.span), written, value)
        if token.kind != "name":
            raise self._fault("':' and a value behind the key")
        return s.Key(token.span, written, s.Name(token.span, token.value))

    def _projection(self) -> s.Expr:
        """`.a.b` alone: a function that takes it from its argument."""
        start = self._token.span
        found: s.Expr = s.Name(start, ROW)
        while self._sees("."):
            self._next()
            name = self._key("the name of a field")
            found = s.Field(self._since(start), found, name.value, name.span)
        span = self._since(start)
        return s.Lambda(span, (s.Clause(span, (s.PVar(start, ROW),), None, found),))

    def _regex(self) -> s.Expr:
        start = self._next().span
        word = self._key("'regex' behind '~'")
        if word.value != "regex":
            raise Fault("M0201", word.span, f"expected 'regex' behind '~', found '{word.value}'")
        if self._token.kind != "string":
            raise self._fault("the pattern as a string")
        token = self._next()
        return s.Regex(self._since(start), token.value)

    def _escaped(self) -> s.Expr:
        start = self._next().span
        value = self._json(escaped=True)
        return s.Const(self._since(start), value)

    def _json(self, escaped: bool = False) -> Any:
        """A constant in JSON's form, as a value; with `escaped`, objects with `_rmx_type` are what they stand for."""
        from mix_lang.parser.constants import constant, unescape

        start = self._token.span
        tree = constant(self._expression(hint=False))
        return unescape(tree, self._since(start)) if escaped else tree


ROW: Final = "$row"
"""The parameter of `.field` and `{.a}`; no program can spell it."""


def _projected(key: s.Key) -> bool:
    value = key.value
    return isinstance(value, s.Field) and isinstance(value.object, s.Name) and value.object.name == ROW
