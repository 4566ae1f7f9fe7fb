"""The value model: what agents, FFIs, the database and HTTP exchange, as plain Python objects.

Twelve kinds. Most are Python's own (`None`, `bool`, `int`, `float`, `str`, `bytes`, `list`, `dict`); four are
ours: `UNDEF`, `Ref`, `Token`, `Case`. Equality and order are those of the language, not Python's: see `equal`
and `compare`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, Final, Generic, NoReturn, TypeAlias, TypeVar, final

from mixkit._fault import Blemish, Fault
from mixkit.errors import ValueKindError

__all__ = [
    "INT64_MAX",
    "INT64_MIN",
    "MAX_DEPTH",
    "UNDEF",
    "Case",
    "Ref",
    "Result",
    "Token",
    "Undef",
    "Value",
    "check",
    "compare",
    "equal",
    "error",
    "find_fault",
    "is_large",
    "kind_of",
    "ok",
    "some",
]

INT64_MIN: Final = -(2**63)
INT64_MAX: Final = 2**63 - 1
MAX_DEPTH: Final = 256
"""Deepest nesting that a value may have: a scalar has depth 0, and a decoder refuses depth above this."""

_LENGTH_MAX: Final = 2**32 - 1

T = TypeVar("T")


if TYPE_CHECKING:
    # To a type checker the function returns the value itself, which it does.
    Result: TypeAlias = Annotated[T, "ok(value) or error(message)"]
else:

    class Result(Generic[T]):
        """Return annotation of an FFI whose agent gets `ok(value)` or `error(message)`, never made."""

        def __new__(cls) -> NoReturn:
            raise TypeError("Result is an annotation; return the value itself, or raise FFIError")


@final
class Undef:
    """The kind of "no value", different from null. Its only instance is `UNDEF`."""

    __slots__ = ()
    _instance: Undef | None = None

    def __new__(cls) -> Undef:
        if cls._instance is None:
            cls._instance = super().__new__(cls)
        return cls._instance

    def __repr__(self) -> str:
        return "UNDEF"

    def __bool__(self) -> bool:
        return False

    def __reduce__(self) -> str:
        return "UNDEF"


UNDEF: Final = Undef()


@final
class Ref:
    """The id of a database record; not equal to the string of the same text."""

    __slots__ = ("id",)
    id: str

    def __init__(self, id: str) -> None:
        if type(id) is not str:
            raise ValueKindError(f"a Ref holds a str, not {type(id).__name__}")
        object.__setattr__(self, "id", id)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError("Ref is immutable")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Ref) and other.id == self.id

    def __hash__(self) -> int:
        return hash((Ref, self.id))

    def __repr__(self) -> str:
        return f"Ref({self.id!r})"

    def __reduce__(self) -> tuple[type[Ref], tuple[str]]:
        return (Ref, (self.id,))


@final
class Token:
    """An opaque secret or host handle. It is never printed, logged, compared by content or serialised.

    Only `reveal()`, called by the FFI that uses the secret, gives the content.
    """

    __slots__ = ("_reveal",)
    _reveal: Callable[[], bytes]

    def __init__(self, content: bytes | str) -> None:
        if not isinstance(content, bytes | str):
            raise ValueKindError(f"a Token holds bytes or a str, not {type(content).__name__}")
        if isinstance(content, str) and any("\ud800" <= char <= "\udfff" for char in content):
            # Checked first, because the error of encode() would carry the secret in an attribute.
            raise ValueKindError("a lone surrogate in the text of a Token")
        raw = content.encode() if isinstance(content, str) else content
        # Kept in a closure, so that vars(), pickling and careless reprs of containers do not show it.
        object.__setattr__(self, "_reveal", lambda: raw)

    def reveal(self) -> bytes:
        """The secret itself. For the FFI that uses it, and nothing else."""
        return self._reveal()

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError("Token is immutable")

    def __repr__(self) -> str:
        return "Token(…)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Token is never serialised")


@final
class Case:
    """A value of a tagged union: a name and, unless it is absent, an argument.

    `arg` is `UNDEF` when absent; a present argument is never undefined.
    """

    __slots__ = ("arg", "name")
    name: str
    arg: Any

    def __init__(self, name: str, arg: Any = UNDEF) -> None:
        if type(name) is not str:
            raise ValueKindError(f"a Case name is a str, not {type(name).__name__}")
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "arg", arg)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError("Case is immutable")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Case) and equal(self, other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Case({self.name!r})" if self.arg is UNDEF else f"Case({self.name!r}, {self.arg!r})"

    def __reduce__(self) -> tuple[type[Case], tuple[Any, ...]]:
        return (Case, (self.name,) if self.arg is UNDEF else (self.name, self.arg))


Value: TypeAlias = (
    Undef | bool | int | float | str | Ref | bytes | list[Any] | dict[str, Any] | Token | Case | None
)


def ok(value: Any) -> Case:
    """The case `ok(value)` of a result."""
    return Case("ok", value)


def error(value: Any) -> Case:
    """The case `error(value)` of a result."""
    return Case("error", value)


def some(value: Any) -> Case:
    """The case `some(value)` of an option, whose other side is `None`."""
    return Case("some", value)


_KINDS: Final[dict[type, str]] = {
    Undef: "undef",
    type(None): "null",
    bool: "bool",
    int: "int",
    float: "number",
    str: "string",
    Ref: "ref",
    bytes: "binary",
    list: "array",
    dict: "map",
    Token: "token",
    Case: "case",
}


def kind_of(value: object) -> str:
    """Name of the value's kind: `undef null bool int number string ref binary array map token case`.

    Raises:
        ValueKindError: the object is no Value, whatever it contains is not looked at.
    """
    kind = _KINDS.get(type(value))
    if kind is None:
        raise ValueKindError(f"a value of the Python type {type(value).__name__} is not a Value")
    return kind


def check(value: object, path: str = "$", *, tokens: bool = True) -> None:
    """Raise `ValueKindError` with the path unless `value` is a Value throughout.

    Refused: other Python types, integers beyond 64 bits, lone surrogates, undefined inside arrays and maps,
    map keys that are not strings, nesting above `MAX_DEPTH`, lengths that do not fit in 32 bits; and Tokens,
    if `tokens` is false.
    """
    fault = find_fault(value, tokens=tokens)
    if fault is not None:
        raise ValueKindError(fault.message, fault.path(path))


def find_fault(value: object, *, tokens: bool = True) -> Fault | None:
    """What `check` would raise, for those who raise it as an error of their own."""
    try:
        _check(value, 0, tokens)
    except Fault as fault:
        return fault
    return None


def _check(value: object, depth: int, tokens: bool) -> None:
    if depth > MAX_DEPTH:
        raise Fault(f"nesting above {MAX_DEPTH}")
    match value:
        case list() if type(value) is list:
            _check_length(len(value))
            for index, item in enumerate(value):
                try:
                    _check_item(item, depth + 1, tokens)
                except Fault as fault:
                    raise fault.inside(index) from None
        case dict() if type(value) is dict:
            _check_length(len(value))
            for key, item in value.items():
                if type(key) is not str:
                    raise Fault(f"a map key is a str, not {type(key).__name__},")
                _check_text(key)
                try:
                    _check_item(item, depth + 1, tokens)
                except Fault as fault:
                    raise fault.inside(key) from None
        case Case(name=name, arg=arg):
            _check_text(name)
            if type(arg) is Blemish:
                # A parser may find out that something is wrong with a Case after it has made it.
                raise Fault(arg.message)
            if arg is not UNDEF:
                try:
                    _check(arg, depth + 1, tokens)
                except Fault as fault:
                    raise fault.inside(name) from None
        case _:
            _check_scalar(value, tokens)


def _check_scalar(value: object, tokens: bool) -> None:
    kind = _KINDS.get(type(value))
    match value:
        case Blemish(message=message):
            raise Fault(message)
        case _ if kind is None:
            raise Fault(f"the Python type {type(value).__name__} is not a Value")
        case bool() | float():
            pass
        case int():
            if not INT64_MIN <= value <= INT64_MAX:
                raise Fault("an integer beyond 64 bits")
        case str():
            _check_text(value)
        case bytes():
            _check_length(len(value))
        case Ref(id=id):
            _check_text(id)
        case Token() if not tokens:
            raise Fault("a Token may not cross here")


def _check_item(value: object, depth: int, tokens: bool) -> None:
    if value is UNDEF and depth <= MAX_DEPTH:
        raise Fault("undefined may not be stored in arrays and maps")
    _check(value, depth, tokens)


def _check_text(text: str) -> None:
    size = len(text)
    if not text.isascii():
        try:
            size = len(text.encode())
        except UnicodeEncodeError as exc:
            raise Fault(f"a lone surrogate U+{ord(text[exc.start]):04X} in a string") from None
    _check_length(size)


def _check_length(length: int) -> None:
    if length > _LENGTH_MAX:
        raise Fault(f"a length of {length}, which does not fit in 32 bits,")


def equal(a: Any, b: Any) -> bool:
    """Deep equality of the language: kinds must match, except that `1 == 1.0`. NaN is one value, equal to itself."""
    ta, tb = type(a), type(b)
    if ta is not tb:
        # bool is a subclass of int for Python; exact types keep True and 1 apart.
        return ((ta is int and tb is float) or (ta is float and tb is int)) and bool(a == b)
    if ta is list:
        return len(a) == len(b) and all(map(equal, a, b))
    if ta is dict:
        return a.keys() == b.keys() and all(equal(item, b[key]) for key, item in a.items())
    if ta is Case:
        return a.name == b.name and equal(a.arg, b.arg)
    if ta is Token:
        return a is b
    return bool(a == b) or (ta is float and a != a and b != b)


def compare(a: Any, b: Any) -> int | Undef:
    """Order of the language: -1, 0 or 1, or `UNDEF` where the two do not compare.

    Null is smaller than everything; false < true; numbers by mathematical value without rounding; strings by
    UTF-8 bytes; arrays lexicographically. Values of other or different kinds, and NaN, do not compare.
    """
    if a is None or b is None:
        if type(a) is Undef or type(b) is Undef:
            return UNDEF
        return int(a is not None) - int(b is not None)
    ta, tb = type(a), type(b)
    if (ta is int or ta is float) and (tb is int or tb is float):
        # Python compares int with float exactly, without converting the int.
        if math.isnan(a) or math.isnan(b):
            return UNDEF
        return int(a > b) - int(a < b)
    if ta is not tb:
        return UNDEF
    if ta is bool or ta is str:
        # Code point order is UTF-8 byte order.
        return int(a > b) - int(a < b)
    if ta is list:
        for x, y in zip(a, b, strict=False):
            order = compare(x, y)
            if order is UNDEF or order != 0:
                return order
        return (len(a) > len(b)) - (len(a) < len(b))
    return UNDEF


_HANDFUL: Final = 32
_NESTED: Final = frozenset((dict, list, Case))
_FEW: Final = 2_000
_SHORT: Final = 256 * 1024
_BRIEF: Final = _SHORT // _HANDFUL // 2


def is_large(value: object) -> bool:
    """Whether it has more than a few values, or much text: more than an event loop can look at in passing.

    Takes no longer for what is larger.
    """
    # PERF: most answers are one value, in a case or not.
    if isinstance(value, Case):
        value = value.arg
    if type(value) not in _NESTED:
        return isinstance(value, (str, bytes)) and len(value) > _SHORT
    if type(value) is dict and len(value) <= _HANDFUL:
        # PERF: most parameters are a map of a few simple values.
        for name, item in value.items():
            kind = type(item)
            if kind in _NESTED or type(name) is not str or len(name) > _BRIEF:
                break
            if (kind is str or kind is bytes) and len(item) > _BRIEF:
                break
        else:
            return False
    return _is_large(value)


def _is_large(value: object) -> bool:
    count = size = 0
    todo: list[Any] = [value]
    while todo:
        item = todo.pop()
        kind = type(item)
        if kind is str or kind is bytes:
            size += len(item)
        elif kind is list:
            count += len(item)
        elif kind is dict:
            count += 2 * len(item)
        elif kind is Case:
            count += 1
        else:
            continue
        if count > _FEW or size > _SHORT:
            return True
        if kind is list:
            todo += item
        elif kind is dict:
            todo += item.keys()
            todo += item.values()
        elif kind is Case:
            todo.append(item.arg)
    return False
