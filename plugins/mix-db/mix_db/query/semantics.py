"""What the operators of queries answer on values; shared by all ways to run a query.

A condition is true, false or `UNDEF`. What is undefined, and what an operator cannot work on, gives `UNDEF`.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Iterable
from fractions import Fraction
from itertools import groupby
from typing import Any, Final, TypeAlias

from mix_db.query.ast import LIST_OPERATORS
from mix_db.query.errors import QueryError
from mix_db.query.folding import fold
from mixkit.value import INT64_MAX, INT64_MIN, UNDEF, Case, Undef, compare, equal, kind_of

__all__ = [
    "MAX_JOINED",
    "MAX_PATTERN",
    "MAX_SEARCHED",
    "Members",
    "Truth",
    "aggregate",
    "calculate",
    "compared",
    "compared_folded",
    "folded_key",
    "sort_key",
    "unique",
]

Truth: TypeAlias = bool | Undef

MAX_PATTERN: Final = 1_024
"""Longest pattern of `like`, in characters."""

MAX_SEARCHED: Final = 1 << 24
"""Most steps of looking for a part of a `like` pattern that has a `_` in it: its length times that of the text.
Nothing can interrupt the search."""

MAX_JOINED: Final = 1 << 24
"""Longest string, in characters, or array that `+` makes."""

_ORDERS: Final = {"<": (-1,), "<=": (-1, 0), ">": (1,), ">=": (0, 1)}


def compared(operator: str, left: Any, right: Any) -> Truth:
    """A comparison, text or list operator on two values. Behind a list operator stands a list, or its `Members`.

    Raises:
        QueryError: the right side of a list operator is no list, or a pattern is too long.
    """
    if operator in LIST_OPERATORS and type(right) not in (list, Members):
        raise QueryError(f"expected a list behind `in`, found a value of the kind {kind_of(right)}")
    if isinstance(left, Undef) or isinstance(right, Undef):
        return UNDEF
    match operator:
        case "==":
            return equal(left, right)
        case "!=":
            return not equal(left, right)
        case "contains":
            return _contains(left, right)
        case "like":
            return _like(left, right)
        case "contains:ci" | "like:ci" if type(left) is str:
            return compared_folded(operator, fold(left), right)
        case "contains:ci":
            return _contains_folded(left, right)
        case "like:ci":
            return UNDEF
        case "in":
            return _in(left, right)
        case "all_in":
            return _all_in(left, right)
        case "not_in":
            return not _in(left, right)
        case "not_all_in":
            every = _all_in(left, right)
            return UNDEF if isinstance(every, Undef) else not every
        case _:
            order = compare(left, right)
            return UNDEF if isinstance(order, Undef) else order in _ORDERS[operator]


def compared_folded(operator: str, left: str, right: Any) -> Truth:
    """`contains:ci` or `like:ci` on a text that is folded already."""
    if type(right) is not str:
        return UNDEF
    return fold(right) in left if operator == "contains:ci" else _like(left, right, ci=True)


def _contains(left: Any, right: Any) -> Truth:
    if type(left) is str and type(right) is str:
        return right in left
    if type(left) is list:
        return any(equal(item, right) for item in left)
    return UNDEF


def _contains_folded(left: Any, right: Any) -> Truth:
    """Of what is no text."""
    if type(left) is not list or type(right) is not str:
        return _contains(left, right)
    part = fold(right)
    return any(type(item) is str and fold(item) == part for item in left)


class Members:
    """The items of a list, to be asked for often: a question costs no more for a long list."""

    __slots__ = ("_likely",)

    def __init__(self, items: Iterable[Any]) -> None:
        self._likely: dict[Any, list[Any]] = {}
        for item in items:
            self._likely.setdefault(_hint(item), []).append(item)

    def __contains__(self, value: object) -> bool:
        return any(equal(value, item) for item in self._likely.get(_hint(value), ()))


def _in(left: Any, right: list[Any] | Members) -> bool:
    return left in right if isinstance(right, Members) else any(equal(left, item) for item in right)


def _all_in(left: Any, right: Any) -> Truth:
    if type(left) is not list:
        return UNDEF
    return all(_in(item, right) for item in left)


def _like(left: Any, pattern: Any, *, ci: bool = False) -> Truth:
    """`%` stands for any text, `_` for one character, `\\` takes the next character as it is. With `ci` the left side
    is a folded text, and the texts in the pattern are folded too."""
    if type(left) is not str or type(pattern) is not str:
        return UNDEF
    if len(pattern) > MAX_PATTERN:
        raise QueryError(
            f"expected a pattern of at most {MAX_PATTERN} characters behind `like`, found {len(pattern)}"
        )
    (first, length, _), *rest = _segments(pattern, ci)
    if not rest:
        return first.fullmatch(left) is not None
    if first.match(left) is None:
        return False
    at = length
    # A part without `_` is found in one pass over the text.
    longest = max([length for _, length, free in rest[:-1] if free], default=0)
    if longest * len(left) > MAX_SEARCHED:
        raise QueryError(
            "expected a shorter pattern behind `like`, or no `_` between its `%`, "
            f"for a string of {len(left)} characters"
        )
    # Segments have a fixed length, so that taking the first place for each never loses a match.
    for segment, _, _ in rest[:-1]:
        found = segment.search(left, at)
        if found is None:
            return False
        at = found.end()
    last, length, _ = rest[-1]
    return len(left) - length >= at and last.match(left, len(left) - length) is not None


@functools.lru_cache(maxsize=256)
def _segments(pattern: str, ci: bool) -> list[tuple[re.Pattern[str], int, bool]]:
    """What stands between the `%` of a pattern, the length of what it matches, and whether it has a `_`."""
    segments: list[list[str]] = [[]]
    characters = iter(pattern)
    for char in characters:
        match char:
            case "%":
                segments.append([])
            case "_":
                segments[-1].append("")
            case _:
                segments[-1].append(next(characters, "\\") if char == "\\" else char)
    return [_segment(parts, ci) for parts in segments]


def _segment(parts: list[str], ci: bool) -> tuple[re.Pattern[str], int, bool]:
    """A part of a pattern, in which "" stands for any character."""
    if ci:
        # Accents stand behind their letters, so that letters are folded together.
        runs = [(known, list(run)) for known, run in groupby(parts, key=bool)]
        parts = [part for known, run in runs for part in (fold("".join(run)) if known else run)]
    written = [re.escape(char) if char else "." for char in parts]
    return re.compile("".join(written), re.DOTALL), len(parts), "" in parts


def calculate(operator: str, left: Any, right: Any) -> Any:
    """`+ - * / %` of numbers, `+` of two strings or two arrays.

    Two ints give an int, unless it does not fit in 64 bits; `/` and `%` always give a number, `%` with the sign
    of the left side; division by zero gives an infinity or NaN.

    Raises:
        QueryError: the answer of `+` would be longer than `MAX_JOINED`.
    """
    if left is UNDEF or right is UNDEF:
        return UNDEF
    if left is None or right is None:
        return None
    kinds = type(left), type(right)
    if operator == "+" and kinds in ((str, str), (list, list)):
        if len(left) + len(right) > MAX_JOINED:
            raise QueryError(f"`+` made a {kind_of(left)} longer than {MAX_JOINED}")
        return left + right
    if not all(kind in (int, float) for kind in kinds):
        return UNDEF
    match operator:
        case "+":
            return _narrow(left + right)
        case "-":
            return _narrow(left - right)
        case "*":
            return _narrow(left * right)
        case "/":
            return _divide(float(left), float(right))
        case _:
            return math.nan if right == 0 or math.isinf(left) else math.fmod(left, right)


def _narrow(number: int | float) -> int | float:
    return float(number) if type(number) is int and not INT64_MIN <= number <= INT64_MAX else number


def _divide(left: float, right: float) -> float:
    if right:
        return left / right
    if left == 0 or math.isnan(left):
        return math.nan
    return math.copysign(math.inf, left) * math.copysign(1.0, right)


_RANKS: Final = {
    kind: rank
    for rank, kinds in enumerate(
        ["undef", "null", "bool", "int number", "string", "ref", "binary", "array", "map", "case", "token"]
    )
    for kind in kinds.split()
}


def _order(left: Any, right: Any) -> int:
    """A total order: that of the language, and where values do not compare, by kind. NaN comes before numbers."""
    kind = kind_of(left)
    ranks = _RANKS[kind], _RANKS[kind_of(right)]
    if ranks[0] != ranks[1]:
        return ranks[0] - ranks[1]
    match kind:
        case "int" | "number":
            nans = left != left, right != right
            return int(nans[1]) - int(nans[0]) if any(nans) else int(left > right) - int(left < right)
        case "ref":
            return _order(left.id, right.id)
        case "binary":
            return int(left > right) - int(left < right)
        case "array":
            return _order_all(left, right)
        case "map":
            return _order_all(
                *[[part for item in sorted(side.items()) for part in item] for side in (left, right)]
            )
        case "case":
            return _order_all([left.name, left.arg], [right.name, right.arg])
        case _:
            order = compare(left, right)
            return 0 if isinstance(order, Undef) else order


def _order_all(left: list[Any], right: list[Any]) -> int:
    for x, y in zip(left, right, strict=False):
        order = _order(x, y)
        if order:
            return order
    return len(left) - len(right)


_whole: Final = functools.cmp_to_key(_order)


def sort_key(value: Any) -> Any:
    """Key for `sorted`. Kinds in the order missing, null, bool, number, string, ref, binary, array, map, case.

    What has no parts becomes a tuple that Python compares by itself; `_order` says the same, and compares the rest.
    """
    kind = kind_of(value)
    rank = _RANKS[kind]
    match kind:
        case "int" | "number":
            return (rank, False, 0) if value != value else (rank, True, value)
        case "string" | "bool" | "binary":
            return (rank, value)
        case "ref":
            return (rank, value.id)
        case "undef" | "null":
            return (rank,)
        case _:
            return (rank, _whole(value))


def folded_key(value: Any) -> Any:
    """Key for `sorted` that sorts texts without regard to case and accents, and all else as `sort_key` does.

    Raises:
        QueryError: a text is too long to be folded.
    """
    return (_RANKS["string"], fold(value), value) if type(value) is str else sort_key(value)


def unique(values: Iterable[Any]) -> list[tuple[Any, list[int]]]:
    """The different values, in order of their first appearance, each with its places."""
    found: list[tuple[Any, list[int]]] = []
    likely: dict[Any, list[int]] = {}
    for place, value in enumerate(values):
        hint = _hint(value)
        for number in likely.setdefault(hint, []):
            other, places = found[number]
            if equal(other, value):
                places.append(place)
                break
        else:
            likely[hint].append(len(found))
            found.append((value, [place]))
    return found


def _hint(value: Any) -> Any:
    """Something hashable that is equal for equal values; where it is equal for others too, `equal` decides."""
    match value:
        case list():
            return list, tuple([_hint(item) for item in value])
        case dict():
            return dict, frozenset([(name, _hint(item)) for name, item in value.items()])
        case Case():
            return Case, value.name, _hint(value.arg)
        case _:
            # Python holds True and 1 for equal, and rightly 1 and 1.0; it hashes each NaN differently.
            return (float, None) if value != value else (type(value) is bool, value)


def aggregate(function: str, values: list[Any]) -> Any:
    """An aggregate over what the key read in each row; `count` counts all.

    What is missing or null does not take part; `sum` and `avg` look at numbers only. `sum` of nothing is 0, `avg`,
    `min` and `max` of nothing are null. Sums are exact and rounded once, so that the order of rows never shows.
    """
    match function:
        case "count":
            return len(values)
        case "distinct":
            return [value for value, _ in unique(value for value in values if value is not UNDEF)]
        case "sum":
            return _sum(_numbers(values))
        case "avg":
            numbers = _numbers(values)
            return _sum(numbers, len(numbers)) if numbers else None
        case _:
            present = [value for value in values if value is not UNDEF and value is not None]
            choose = min if function == "min" else max
            return choose(present, key=sort_key) if present else None


def _numbers(values: list[Any]) -> list[int | float]:
    return [value for value in values if type(value) in (int, float)]


def _sum(numbers: list[int | float], divisor: int = 0) -> int | float:
    """The sum, or with a divisor the quotient, as a float unless it is a sum of ints that fits."""
    odd = [number for number in numbers if not math.isfinite(number)]
    if odd:
        return sum(odd)
    if not divisor and all(type(number) is int for number in numbers):
        return _narrow(sum(numbers))
    # Fractions are slow: what has one denominator, a power of two, is added up as ints.
    sums: dict[int, int] = {}
    for number in numbers:
        above, below = number.as_integer_ratio()
        sums[below] = sums.get(below, 0) + above
    exact = sum([Fraction(above, below) for below, above in sums.items()], Fraction(0)) / (divisor or 1)
    try:
        return float(exact)
    except OverflowError:
        return math.inf if exact > 0 else -math.inf
