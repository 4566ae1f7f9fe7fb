"""The text of a query to its AST, by recursive descent. The grammar is in docs/query-language.md."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from typing import Final, Literal, TypeVar, cast

from mix_db.query import ast
from mix_db.query.dates import UNITS
from mix_db.query.errors import QuerySyntaxError
from mix_db.query.functions import FUNCTIONS
from mix_db.query.lexer import RESERVED, Token, syntax_error, tokenize
from mixkit.tagged_json import REF_CASE
from mixkit.value import INT64_MAX, Ref

__all__ = ["parse"]

T = TypeVar("T")

_KEYED: Final = ("group", "unnest", "orderAsc", "orderDesc", "order", "sum", "avg", "min", "max", "distinct")
_STAGES: Final = (*_KEYED, "count", "where", "reverse", "skip", "limit")
_NUMBERS: Final = {"nan": float("nan"), "inf": float("inf"), "-inf": float("-inf")}
_SIGNS: Final = ("+", "-", "*", "/", "%")
_OPERATOR: Final = "an operator (== != < <= > >= contains, like, in, not in, all in, not all in)"
_BEHIND: Final = (*_SIGNS, *ast.COMPARISONS, "in", "not", "all")
"""What stands behind an expression in parentheses where a filter in parentheses might be, too."""


def parse(text: str) -> ast.Query:
    """The query that a text spells.

    Raises:
        QuerySyntaxError: the text does not follow the grammar; with line, column and what was expected.
        QueryError: it does, and is nested or large beyond the bounds of `Query`.
    """
    return _Parser(text).query()


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = tokenize(text)
        self._at = 0
        self._depth = 0
        self._closing: dict[int, int] | None = None

    # Tokens

    @property
    def _token(self) -> Token:
        return self._tokens[self._at]

    def _sees(self, *values: str, ahead: int = 0) -> bool:
        """Whether the token is one of these symbols or words."""
        token = self._tokens[min(self._at + ahead, len(self._tokens) - 1)]
        return token.kind in ("symbol", "name") and token.value in values

    def _take(self, *values: str) -> bool:
        if self._sees(*values):
            self._at += 1
            return True
        return False

    def _next(self) -> Token:
        token = self._token
        self._at += 1
        return token

    def _expect(self, symbol: str, instead: str = "") -> None:
        if not self._take(symbol):
            raise self._error(instead or f"{symbol!r}")

    def _error(self, expected: str, token: Token | None = None) -> QuerySyntaxError:
        token = token or self._token
        if token.kind == "end":
            found = "the end of the query"
        else:
            found = self._text[token.start : min(token.end, token.start + 40)]
        return syntax_error(self._text, token.start, expected, found)

    def _nested(self, rule: Callable[[], T]) -> T:
        if self._depth == ast.MAX_DEPTH:
            raise self._error(f"nesting of at most {ast.MAX_DEPTH}")
        self._depth += 1
        part = rule()
        self._depth -= 1
        return part

    def _listed(self, rule: Callable[[], T], close: str) -> tuple[T, ...]:
        """Items between commas up to the closing symbol; a comma may stand behind the last."""
        items: list[T] = []
        while not self._take(close):
            items.append(self._nested(rule))
            if not self._sees(close):
                self._expect(",", f"',' or {close!r}")
        return tuple(items)

    # Pipeline

    def query(self) -> ast.Query:
        empty = self._token.kind == "end" or self._sees("|")
        condition = ast.NullFilter() if empty else self._filter()
        stages: list[ast.Stage] = []
        while self._take("|"):
            stages.append(self._stage())
        if self._token.kind != "end":
            raise self._error("'and', 'or', '|' or the end of the query")
        return ast.Query(condition, tuple(stages))

    def _stage(self) -> ast.Stage:
        if self._take("{"):
            return ast.Object(self._listed(self._member, "}"))
        if not self._sees(*_STAGES):
            raise self._error(f"a stage: {{ … }}, {', '.join(_STAGES)}")
        name = str(self._next().value)
        self._expect("(")
        stage = self._stage_of(name)
        self._expect(")")
        return stage

    def _stage_of(self, name: str) -> ast.Stage:
        match name:
            case "count":
                return ast.Aggregate("count")
            case "reverse":
                return ast.Reverse()
            case "skip" | "limit":
                return ast.Slice(name, self._count())
            case "group":
                return ast.Group(self._row_key())
            case "where":
                return ast.Where(self._nested(self._filter))
            case "unnest":
                return ast.Unnest(self._key())
            case "orderAsc" | "orderDesc":
                return ast.Order(self._row_key(), "asc" if name == "orderAsc" else "desc", self._folded())
            case "order":
                key, folded = self._row_key(), self._folded()
                self._expect(",")
                return ast.Order(key, self._direction(), folded)
            case _:
                return ast.Aggregate(name, self._row_key())

    def _row_key(self) -> ast.RowKey:
        """A key, or what is calculated."""
        token = self._token
        if self._sees("(") or (self._sees(*FUNCTIONS) and self._sees("(", ahead=1)):
            node = self._sum()
            if not isinstance(node, ast.Field | ast.Member | ast.Arithmetic | ast.Call | ast.Relation):
                raise self._error("a key or what is calculated", token)
            return node
        key = self._key()
        if self._sees(*_SIGNS) and ast.is_key(key):
            return cast(ast.Arithmetic, self._sum(cast(ast.Expression, key)))
        return key

    def _folded(self) -> bool:
        """Whether `:ci` stands here, without regard to case and accents."""
        if self._sees(":"):
            self._at += 1
            self._expect("ci", "ci")
            return True
        return False

    def _count(self) -> int | ast.Param:
        token = self._token
        if token.kind == "param":
            return self._param()
        if token.kind != "int" or cast(int, token.value) > INT64_MAX:
            raise self._error("a whole number or a parameter")
        self._at += 1
        return cast(int, token.value)

    def _direction(self) -> Literal["asc", "desc"] | ast.Param:
        token = self._token
        if token.kind == "param":
            return self._param()
        if token.kind not in ("name", "string") or token.value not in ("asc", "desc"):
            raise self._error("asc, desc or a parameter")
        self._at += 1
        return cast(Literal["asc", "desc"], token.value)

    # Filters

    def _filter(self) -> ast.Filter:
        items = [self._conjunction()]
        while self._take("or", "||"):
            items.append(self._conjunction())
        return ast.Or(tuple(items)) if len(items) > 1 else items[0]

    def _conjunction(self) -> ast.Filter:
        items = [self._condition()]
        while self._take("and", "&&"):
            items.append(self._condition())
        return ast.And(tuple(items)) if len(items) > 1 else items[0]

    def _condition(self) -> ast.Filter:
        if self._take("not", "!"):
            return ast.Not(self._nested(self._condition))
        if self._sees_operand():
            return self._related(self._operand())
        if self._take("("):
            inner = self._nested(self._filter)
            self._expect(")", "')', 'and' or 'or'")
            return inner
        if self._take("true"):
            return ast.NullFilter()
        if self._take("exists"):
            return ast.Exists(self._key())
        if self._take("after"):
            return self._after()
        if self._sees(*_STAGES) and self._sees("(", ahead=1):
            raise self._error("a condition; a stage stands behind '|'")
        return self._comparison(self._key("a condition: a key, exists, after, not, true or '('"))

    def _after(self) -> ast.After:
        token = self._token
        if token.kind == "param":
            return ast.After(self._param())
        if token.kind != "string":
            raise self._error("a watermark: a string or a parameter")
        self._at += 1
        return ast.After(ast.Scalar(token.value))

    def _sees_operand(self) -> bool:
        """Whether a condition begins with a call, or with an expression in parentheses."""
        if self._sees(*FUNCTIONS):
            return self._sees("(", ahead=1)
        if not self._sees("("):
            return False
        if self._closing is None:
            self._closing = _closing(self._tokens)
        behind = self._closing.get(self._at)
        return behind is not None and self._sees(*_BEHIND, ahead=behind - self._at + 1)

    def _related(self, left: ast.Expression) -> ast.Filter:
        """The comparison that begins with an operand."""
        left = self._sum(left)
        node = self._relation(left)
        if not isinstance(node, ast.Relation) or node is left:
            raise self._error(_OPERATOR)
        return node

    def _comparison(self, key: ast.Key) -> ast.Filter:
        if self._sees(".") and self._sees("(", ahead=1):
            self._at += 2
            inner = self._nested(self._filter)
            self._expect(")", "')', 'and' or 'or'")
            return ast.Subquery(key, inner)
        if self._sees(*_SIGNS) and ast.is_key(key):
            return self._related(cast(ast.Expression, key))
        operator = self._operator()
        if operator is None:
            raise self._error(_OPERATOR)
        if operator in ast.LIST_OPERATORS or self._sees("[", "{"):
            return ast.Comparison(operator, key, self._constant())
        token = self._token
        right = self._sum()
        if isinstance(right, ast.Scalar | ast.Param | ast.CaseOf):
            return ast.Comparison(operator, key, right)
        if not ast.is_key(key):
            raise self._error("a value, since the key is a parameter", token)
        return ast.Relation(operator, cast(ast.Expression, key), right)

    def _operator(self) -> str | None:
        """The operator of a comparison, None if there is none; behind one of a list there is a list."""
        if self._sees(*ast.COMPARISONS):
            operator = str(self._next().value)
            if operator in ("contains", "like") and self._folded():
                operator += ":ci"
            return operator
        negated, every = self._take("not"), self._take("all")
        if not self._take("in"):
            if negated or every:
                raise self._error("'in' or 'all in'" if not every else "'in'")
            return None
        if self._token.kind != "param" and not self._sees("["):
            raise self._error("a list or a parameter")
        return ("not_" if negated else "") + ("all_" if every else "") + "in"

    # Keys

    def _key(self, expected: str = "a key") -> ast.Key:
        key: ast.Key
        if self._take("."):
            key = ast.Member(None, self._member_name())
        elif self._token.kind == "param":
            key = self._param()
        else:
            key = ast.Field(self._name(expected))
        return self._members(key)

    def _members(self, key: ast.Key) -> ast.Key:
        while self._sees(".") and not self._sees("(", ahead=1):
            self._at += 1
            key = ast.Member(key, self._member_name())
        return key

    def _member_name(self) -> str:
        # Behind a dot no word of the language can stand, so that none needs backquotes there.
        if self._token.kind == "name":
            return str(self._next().value)
        return self._name("the name of a field")

    def _name(self, expected: str) -> str:
        token = self._token
        if token.kind == "name" and token.value in RESERVED:
            raise self._error(f"{expected} (a field named like this word is written in backquotes)")
        if token.kind not in ("name", "quoted", "string"):
            raise self._error(expected)
        self._at += 1
        return str(token.value)

    def _param(self) -> ast.Param:
        return ast.Param(str(self._next().value))

    # Constants

    def _constant(self) -> ast.Constant:
        if self._take("["):
            return ast.ListOf(self._listed(self._constant, "]"))
        if self._take("{"):
            return self._map()
        scalar = self._scalar_or_case()
        if scalar is None:
            raise self._error("a value: a literal, a parameter, ref(…), a list or a map")
        return scalar

    def _map(self) -> ast.MapOf:
        entries: dict[str, ast.Constant] = {}

        def entry() -> None:
            token = self._token
            name = self._name("a key of the map")
            if name in entries:
                raise self._error("a key that is not there yet", token)
            self._expect(":")
            entries[name] = self._constant()

        self._listed(entry, "}")
        return ast.MapOf(tuple(entries.items()))

    def _scalar_or_case(self) -> ast.Scalar | ast.Param | ast.CaseOf | None:
        """A constant that may stand in an expression too; None, and nothing taken, if there is none."""
        token = self._token
        match token.kind:
            case "param":
                return self._param()
            case "string" | "int" | "float":
                return self._literal()
            case "symbol" if token.value == "-":
                self._at += 1
                return self._negative()
            case "name" if token.value in ("null", "true", "false"):
                self._at += 1
                return ast.Scalar({"null": None, "true": True, "false": False}[str(token.value)])
            case "name" if token.value in ("ref", "bin", "case", "number") and self._sees("(", ahead=1):
                self._at += 2
                return self._call(str(token.value))
            case _:
                return None

    def _literal(self) -> ast.Scalar:
        token = self._token
        if token.kind == "int" and cast(int, token.value) > INT64_MAX:
            raise self._error("an integer of 64 bits")
        self._at += 1
        return ast.Scalar(token.value)

    def _negative(self) -> ast.Scalar:
        token = self._token
        if token.kind not in ("int", "float"):
            raise self._error("a number behind the minus")
        self._at += 1
        return ast.Scalar(-cast(float, token.value))

    def _call(self, name: str) -> ast.Scalar | ast.CaseOf:
        token = self._token
        if token.kind != "string":
            raise self._error(f"a string in {name}(…)")
        text = str(self._next().value)
        constant: ast.Scalar | ast.CaseOf
        if name == "ref":
            constant = ast.Scalar(Ref(text))
        elif name == "bin":
            try:
                constant = ast.Scalar(base64.b64decode(text, validate=True))
            except (binascii.Error, ValueError):
                raise self._error("base64", token) from None
        elif name == "number":
            if text not in _NUMBERS:
                raise self._error('"nan", "inf" or "-inf"', token)
            constant = ast.Scalar(_NUMBERS[text])
        else:
            if text == REF_CASE:
                raise self._error("the name of a case; a ref is written ref(…)", token)
            constant = ast.CaseOf(text, self._nested(self._constant) if self._take(",") else None)
        self._expect(")")
        return constant

    # Projections

    def _member(self) -> ast.ObjectMember:
        if self._take("**"):
            return ast.CloneMembers(expand=True)
        if self._take("*"):
            return ast.CloneMembers()
        if self._take("-"):
            return ast.RemoveMember(self._name("the name of a field"))
        if self._take("+"):
            return ast.FollowRef(self._name("the name of a field"))
        name = self._name("a member: name, name: expression, *, **, -name or +name")
        value: ast.Expression = self._expression() if self._take(":") else ast.Field(name)
        return ast.AssignMember(name, value, self._expression() if self._take("??") else None)

    def _expression(self) -> ast.Expression:
        return self._relation(self._sum())

    def _relation(self, left: ast.Expression) -> ast.Expression:
        """The comparison that an expression begins, or the expression if there is none."""
        operator = self._operator()
        if operator is None:
            return left
        right = self._operand() if operator in ast.LIST_OPERATORS else self._sum()
        return ast.Relation(operator, left, right)

    def _sum(self, first: ast.Expression | None = None) -> ast.Expression:
        """`first` is an operand that has been read already."""
        left = self._product(first)
        while self._sees("+", "-"):
            operator = str(self._next().value)
            left = ast.Arithmetic(operator, left, self._product())
        return left

    def _product(self, first: ast.Expression | None = None) -> ast.Expression:
        left = self._operand() if first is None else first
        while self._sees("*", "/", "%"):
            operator = str(self._next().value)
            left = ast.Arithmetic(operator, left, self._operand())
        return left

    def _operand(self) -> ast.Expression:
        if self._take("("):
            inner = self._nested(self._expression)
            self._expect(")", "')' or an operator")
            return inner
        if self._take("["):
            return ast.ListOf(self._listed(self._expression, "]"))
        if self._take("{"):
            return ast.Object(self._listed(self._member, "}"))
        constant = self._scalar_or_case()
        if constant is not None:
            return constant
        if self._sees(*FUNCTIONS) and self._sees("(", ahead=1):
            return self._called()
        key = self._key("a value or an expression: a literal, a parameter, a key, a call, '(', '[' or '{'")
        return cast(ast.Expression, key)

    def _called(self) -> ast.Call:
        token = self._next()
        function = str(token.value)
        self._expect("(")
        args = self._listed(self._expression, ")")
        if len(args) != FUNCTIONS[function]:
            raise self._error(f"{FUNCTIONS[function]} values in {function}(…)", token)
        if function == "trunc" and not (isinstance(args[1], ast.Scalar) and args[1].value in UNITS):
            raise self._error(f'one of {", ".join(UNITS)} in quotes, in trunc(…, "month")', token)
        return ast.Call(function, args)


def _closing(tokens: list[Token]) -> dict[int, int]:
    """For each opening parenthesis, by its place among the tokens, where it is closed."""
    found: dict[int, int] = {}
    opened: list[int] = []
    for place, token in enumerate(tokens):
        if token.kind == "symbol" and token.value == "(":
            opened.append(place)
        elif token.kind == "symbol" and token.value == ")" and opened:
            found[opened.pop()] = place
    return found
