"""What the columns of an index say about a comparison, key by key.

Semantics are those of `semantics.compared`; here is only which keys stand for values of which answer.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Callable, Iterable
from itertools import groupby
from struct import Struct
from typing import Any, Final, TypeAlias

from mix_db.index.part import MAX_TEXT, Column, Key, Kind, ambiguous, number_key, text_key
from mix_db.query.folded_texts import folded_texts
from mix_db.query.folding import fold
from mix_db.query.semantics import Truth, compared, compared_folded
from mixkit.value import UNDEF, Case, Ref, Undef

__all__ = ["CONTAINERS", "Pattern", "Span", "Test", "Verdict", "is_sure", "number_of", "text_of"]


class Verdict(enum.Enum):
    """What is known when a value's kind, or its key, is."""

    UNSURE = "only the value itself can tell"
    SPLIT = "it depends on the key"
    ELEMENTS = "it depends on the elements of the array"


Span: TypeAlias = tuple[int, int, Truth | Verdict]
"""Places of keys from a first to a last, without it, and the answer for them; never `SPLIT` or `ELEMENTS`."""

CONTAINERS: Final = (Kind.BINARY, Kind.ARRAY, Kind.MAP, Kind.CASE)
"""Kinds of which a column knows no more than that there is a value."""

_KINDS: Final[dict[type, tuple[Kind, ...]]] = {
    type(None): (Kind.NULL,),
    bool: (Kind.BOOL,),
    int: (Kind.INT, Kind.FLOAT),
    float: (Kind.INT, Kind.FLOAT),
    str: (Kind.STRING,),
    Ref: (Kind.REF,),
    bytes: (Kind.BINARY,),
    list: (Kind.ARRAY,),
    dict: (Kind.MAP,),
    Case: (Kind.CASE,),
}
_DOUBLE: Final = Struct(">d")
_BITS: Final = Struct(">Q")
_TOP: Final = 1 << 63
_OPPOSITE: Final = {"!=": "==", "not_in": "in", "not_all_in": "all_in"}
_EVERY: Final = 100


def number_of(key: Key) -> float:
    """The double of a key that `number_key` made."""
    assert isinstance(key, int)
    if not key:
        return math.nan
    number: float
    (number,) = _DOUBLE.unpack(_BITS.pack(key ^ _TOP if key & _TOP else key ^ 2 * _TOP - 1))
    return number


def text_of(key: Key) -> str:
    """The text of a key that `text_key` made, or its beginning if it is not sure."""
    assert isinstance(key, bytes)
    return key.decode()


def is_sure(kind: Kind, key: Key) -> bool:
    """Whether all values with the key are equal, so that the key says which they are."""
    match kind:
        case Kind.INT | Kind.FLOAT:
            return not ambiguous(number_of(key))
        case Kind.STRING | Kind.REF:
            assert isinstance(key, bytes)
            # No text of fewer bytes has as many characters; decoding is for the few that might.
            return len(key) < MAX_TEXT or not ambiguous(key.decode())
        case _:
            return kind not in CONTAINERS


class Pattern:
    """The pattern of a `like`, by what it begins with."""

    __slots__ = ("is_prefix", "is_text", "start")

    def __init__(self, pattern: str) -> None:
        taken: list[str] = []
        characters = iter(pattern)
        rest: str | None = None
        for char in characters:
            if char in "%_":
                rest = char + "".join(characters)
                break
            taken.append(next(characters, "\\") if char == "\\" else char)
        self.start = "".join(taken)
        """The text up to the first wildcard."""
        self.is_text = rest is None
        """There is no wildcard."""
        self.is_prefix = rest is not None and not rest.strip("%")
        """There is nothing but `%` behind the text."""


class Test:
    """A comparison with a constant. `exists` is one that is true of whatever there is.

    Args:
        operator: one of `COMPARISONS`, of `LIST_OPERATORS`, or `exists`.
        value: what stands on the right.
        tick: called every hundred keys or so, while they are gone through.
    """

    __slots__ = (
        "_keys",
        "_kinds",
        "_pattern",
        "_right",
        "_tick",
        "_wanted",
        "_wholes",
        "operator",
        "swapped",
        "value",
    )

    def __init__(self, operator: str, value: Any, tick: Callable[[], None]) -> None:
        self.swapped = operator in _OPPOSITE
        self.operator = _OPPOSITE.get(operator, operator)
        self.value = value
        self._tick = tick
        self._keys: dict[Kind, list[tuple[Key, bool]]] = {}
        self._wanted: dict[bool, list[Kind]] = {}
        self._wholes: dict[Kind, Truth | Verdict] = {}
        self._kinds: frozenset[Kind] | None = None
        self._pattern = Pattern(value) if self.operator == "like" and type(value) is str else None

    def of(self, value: Any) -> Truth:
        """The answer for a value."""
        if self.operator == "exists":
            return True
        truth = compared(self.operator, value, self.value)
        return not truth if self.swapped and isinstance(truth, bool) else truth

    # By kind

    def whole(self, kind: Kind) -> Truth | Verdict:
        """The answer for every value of a kind, or what it depends on."""
        answer = self._wholes.get(kind)
        if answer is None:
            answer = self._whole(kind)
            if self.swapped and isinstance(answer, bool):
                answer = not answer
            self._wholes[kind] = answer
        return answer

    def _whole(self, kind: Kind) -> Truth | Verdict:
        if self.operator == "exists":
            return True
        match self.operator:
            case "==" | "in":
                if kind not in self._kinds_of_items():
                    return False
                if kind is Kind.NULL:
                    return True
                return Verdict.UNSURE if kind in CONTAINERS else Verdict.SPLIT
            case _ if kind is Kind.NULL:
                return compared(self.operator, None, self.value)
            case _ if kind is Kind.BOOL:
                return Verdict.SPLIT if type(self.value) in (bool, type(None)) else UNDEF
            case "contains" | "contains:ci":
                if kind is Kind.ARRAY:
                    long = (
                        self.operator != "contains" and type(self.value) is str and len(self.value) > MAX_TEXT
                    )
                    return Verdict.UNSURE if long else Verdict.ELEMENTS
                return Verdict.SPLIT if kind is Kind.STRING and type(self.value) is str else UNDEF
            case "like" | "like:ci":
                return Verdict.SPLIT if kind is Kind.STRING and type(self.value) is str else UNDEF
            case "all_in":
                return Verdict.ELEMENTS if kind is Kind.ARRAY else UNDEF
            case _:
                if self.value is None:
                    return compared(self.operator, True, None)
                if kind not in _KINDS[type(self.value)] or kind is Kind.REF:
                    return UNDEF
                if kind in CONTAINERS:
                    return Verdict.UNSURE if kind is Kind.ARRAY else UNDEF
                return Verdict.SPLIT

    def _items(self) -> Iterable[Any]:
        return self.value if self.operator in ("in", "all_in") else (self.value,)

    def _kinds_of_items(self) -> frozenset[Kind]:
        if self._kinds is None:
            self._kinds = frozenset(
                [kind for kind_of in {type(v) for v in self._items()} for kind in _KINDS[kind_of]]
            )
        return self._kinds

    def kinds(self, want: bool) -> list[Kind]:
        """The kinds of which some values have the answer, or may have it."""
        kinds = self._wanted.get(want)
        if kinds is None:
            verdicts = [(kind, self.whole(kind)) for kind in Kind]
            kinds = self._wanted[want] = [
                kind for kind, verdict in verdicts if verdict is want or isinstance(verdict, Verdict)
            ]
        return kinds

    # By key

    def scans(self, kind: Kind) -> bool:
        """Whether `spans` looks at many keys of a column one by one."""
        if kind is not Kind.STRING or self.operator not in ("contains", "like", "contains:ci", "like:ci"):
            return False
        pattern = self._pattern
        return pattern is None or not (pattern.is_text or pattern.is_prefix) or len(pattern.start) > MAX_TEXT

    def spans(self, column: Column) -> list[Span]:
        """The keys of a column of a kind that is `SPLIT`, in order; keys between the spans are undefined."""
        spans = self._spans(column)
        if self.swapped:
            return [
                (start, stop, not truth if isinstance(truth, bool) else truth) for start, stop, truth in spans
            ]
        return spans

    def _spans(self, column: Column) -> list[Span]:
        kind = column.kind
        match self.operator:
            case "==" | "in":
                return self._listed(column)
            case _ if kind is Kind.BOOL:
                return self._scanned(
                    column, 0, len(column), lambda key: compared(self.operator, bool(key), self.value)
                )
            case "contains":
                return self._scanned(column, 0, len(column), self._contains)
            case "like":
                return self._liked(column)
            case "contains:ci" | "like:ci":
                return self._folded(column)
            case _ if kind is Kind.STRING:
                return self._ordered(column, 0, text_key(self.value))
            case _:
                # NaN has the smallest key; it is neither more nor less than anything.
                start = column.find(1) if kind is Kind.FLOAT else 0
                return (
                    [] if self.value != self.value else self._ordered(column, start, number_key(self.value))
                )

    def _listed(self, column: Column) -> list[Span]:
        """Which keys are those of an item."""
        spans: list[Span] = []
        at, size = 0, len(column)
        for count, (key, sure) in enumerate(self._keys_of(column.kind)):
            if not count % _EVERY:
                self._tick()
            place = column.find(key)
            if place < size and column.key(place) == key:
                if at < place:
                    spans.append((at, place, False))
                spans.append((place, place + 1, True if sure else Verdict.UNSURE))
                at = place + 1
        if at < size:
            spans.append((at, size, False))
        return spans

    def _keys_of(self, kind: Kind) -> list[tuple[Key, bool]]:
        """The keys that values equal to an item can have, in order, and whether all values with them are."""
        keys = self._keys.get(kind)
        if keys is None:
            found: dict[Key, bool] = {}
            for count, item in enumerate(self._items()):
                if not count % _EVERY:
                    self._tick()
                if kind in _KINDS[type(item)]:
                    match kind:
                        case Kind.FLOAT:
                            if float(item) == item or item != item:
                                found[number_key(item)] = True
                        case Kind.INT:
                            if item == item:
                                found[number_key(item)] = not ambiguous(item)
                        case Kind.STRING:
                            found[text_key(item)] = not ambiguous(item)
                        case Kind.REF:
                            found[text_key(item.id)] = not ambiguous(item.id)
                        case _:
                            found[int(item or 0)] = kind not in CONTAINERS
            keys = self._keys[kind] = sorted(found.items())
        return keys

    def _ordered(self, column: Column, start: int, key: Key) -> list[Span]:
        low = column.find(key)
        high = low + 1 if low < len(column) and column.key(low) == key else low
        below, above = self.operator in ("<", "<="), self.operator in (">", ">=")
        spans: list[Span] = [
            (start, low, below),
            (low, high, self._at(column.kind, key)),
            (high, len(column), above),
        ]
        return [span for span in spans if span[0] < span[1]]

    def _at(self, kind: Kind, key: Key) -> Truth | Verdict:
        """The answer for values with the key of the value itself."""
        if kind is Kind.FLOAT:
            return compared(self.operator, number_of(key), self.value)
        return Verdict.UNSURE if ambiguous(self.value) else compared(self.operator, self.value, self.value)

    def _liked(self, column: Column) -> list[Span]:
        pattern = self._pattern
        assert pattern is not None
        start = text_key(pattern.start)
        low = column.find(start)
        if pattern.is_text:
            high = low + 1 if low < len(column) and column.key(low) == start else low
            within: list[Span] = [(low, high, Verdict.UNSURE if ambiguous(pattern.start) else True)]
        else:
            # UTF-8 has no byte 255, so that there is always a next text of this length.
            high = column.find(start[:-1] + bytes([start[-1] + 1])) if start else len(column)
            if pattern.is_prefix and len(pattern.start) <= MAX_TEXT:
                within = [(low, high, True)]
            else:
                within = self._scanned(column, low, high, self._like)
        spans = [(0, low, False), *within, (high, len(column), False)]
        return [span for span in spans if span[0] < span[1]]

    def _contains(self, key: Key) -> Truth | Verdict:
        text = text_of(key)
        # What is in the beginning of a text is in the text.
        return True if self.value in text else Verdict.UNSURE if ambiguous(text) else False

    def _folded(self, column: Column) -> list[Span]:
        """Like `_scanned`, on texts without regard to case and accents."""
        right = fold(self.value) if self.operator == "contains:ci" else self.value
        spans: list[Span] = []
        start = 0
        answers = (self._folded_answer(text, right) for text in folded_texts(column, self._tick))
        for truth, run in groupby(answers):
            stop = start
            for _ in run:
                if not stop % _EVERY:
                    self._tick()
                stop += 1
            spans.append((start, stop, truth))
            start = stop
        return spans

    def _folded_answer(self, text: str | None, right: str) -> Truth | Verdict:
        if text is None:
            return Verdict.UNSURE
        return (
            right in text if self.operator == "contains:ci" else compared_folded(self.operator, text, right)
        )

    def _like(self, key: Key) -> Truth | Verdict:
        text = text_of(key)
        return Verdict.UNSURE if ambiguous(text) else compared("like", text, self.value)

    def _scanned(
        self, column: Column, start: int, stop: int, answer: Callable[[Key], Truth | Verdict]
    ) -> list[Span]:
        """Ask about each key, and put neighbours with one answer together."""
        spans: list[Span] = []
        first, known = start, None
        for place in range(start, stop):
            if not place % _EVERY:
                self._tick()
            found = answer(column.key(place))
            if found is not known:
                if known is not None and place > first:
                    spans.append((first, place, known))
                first, known = place, found
        if known is not None and stop > first:
            spans.append((first, stop, known))
        return [span for span in spans if not isinstance(span[2], Undef)]
