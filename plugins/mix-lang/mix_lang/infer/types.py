"""Types while they are found out: variables that are bound as more is known, and what they are bound to."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import count
from typing import Any, Final, TypeAlias

__all__ = [
    "ANY", "BOOL", "DATA", "NULLS", "NUMBER", "STRING", "Con", "Record", "Scheme", "Type", "Var", "Variant", "array",
    "arrow", "free", "inner", "map_of", "named", "prune", "stream", "text",
]  # fmt: skip

_ids = count(1)


@dataclass(eq=False, slots=True)
class Var:
    """A type that is not known yet. `level`: how deep in definitions it was made; what is deeper than a definition's
    own level belongs to that definition alone. `waits`: what can go on once it is bound."""

    level: int
    ref: Type | None = None
    waits: list[Any] = field(default_factory=list)
    id: int = field(default_factory=lambda: next(_ids))


@dataclass(eq=False, slots=True)
class Con:
    """A type by name: `number`, `array` of one argument, `->` of two, `tuple` of any number."""

    name: str
    args: tuple[Type, ...] = ()


@dataclass(eq=False, slots=True)
class Record:
    """A map whose keys are known, each with its type and whether it may be absent."""

    fields: dict[str, tuple[Type, bool]]


@dataclass(eq=False, slots=True)
class Variant:
    """Cases, each with the type of its argument or None. An `open` one may be others too: whoever takes it looks at
    these only."""

    cases: dict[str, Type | None]
    open: bool = False


Type: TypeAlias = Var | Con | Record | Variant

NUMBER: Final = Con("number")
STRING: Final = Con("string")
BOOL: Final = Con("bool")
DATA: Final = Con("data")
ANY: Final = Con("any")
NULLS: Final = Con("null")


@dataclass(frozen=True, slots=True)
class Scheme:
    """A type for all that its variables may be, as far as the constraints allow."""

    vars: tuple[Var, ...]
    constraints: tuple[Any, ...]
    type: Type


def array(of: Type) -> Con:
    return Con("array", (of,))


def map_of(of: Type) -> Con:
    return Con("map", (of,))


def stream(of: Type) -> Con:
    return Con("stream", (of,))


def arrow(params: list[Type], result: Type) -> Type:
    """A function; without parameters one that is called with none."""
    if not params:
        return Con("() ->", (result,))
    for param in reversed(params):
        result = Con("->", (param, result))
    return result


def prune(of: Type) -> Type:
    """What a type is by now."""
    while type(of) is Var and of.ref is not None:
        of = of.ref
    return of


def named(of: Type) -> str:
    """The name of a type that has one; "" of others."""
    of = prune(of)
    return of.name if type(of) is Con else ""


def inner(of: Type) -> tuple[Type, ...]:
    """The types that a type is made of."""
    match of:
        case Con(args=args):
            return args
        case Record(fields=fields):
            return tuple(part for part, _ in fields.values())
        case Variant(cases=cases):
            return tuple(arg for arg in cases.values() if arg is not None)
    return ()


def free(of: Type) -> list[Var]:
    """The variables in it, each once."""
    found: dict[int, Var] = {}
    todo: list[Type] = [of]
    seen: set[int] = set()
    while todo:
        part = prune(todo.pop())
        # NOTE: types share parts, and written out may be larger than any memory.
        if id(part) in seen:
            continue
        seen.add(id(part))
        if type(part) is Var:
            found[part.id] = part
        else:
            todo += reversed(inner(part))
    return list(found.values())


def text(of: Type, names: dict[int, str] | None = None) -> str:
    """A type as it is written. Variables are called A, B … in the order in which they come."""
    return _text(of, {} if names is None else names, 0)


def _text(of: Type, names: dict[int, str], depth: int) -> str:
    of = prune(of)
    if depth > 6:
        return "…"
    match of:
        case Var(id=number):
            return names.setdefault(number, chr(ord("A") + len(names) % 26))
        case Con(name="->", args=(param, result)):
            left = _text(param, names, depth + 1)
            found = prune(param)
            left = f"({left})" if type(found) is Con and "->" in found.name else left
            return f"{left} -> {_text(result, names, depth)}"
        case Con(name="() ->", args=(result,)):
            return f"() -> {_text(result, names, depth + 1)}"
        case Con(name="tuple", args=args):
            return f"[{', '.join(_text(arg, names, depth + 1) for arg in args)}]"
        case Con(name=name, args=args):
            return f"{name}({', '.join(_text(arg, names, depth + 1) for arg in args)})" if args else name
        case Record(fields=fields):
            parts = [
                f"{key}{'?' if absent else ''}: {_text(part, names, depth + 1)}"
                for key, (part, absent) in fields.items()
            ]
            return "{" + ", ".join(parts) + "}"
        case Variant(cases=cases, open=is_open):
            parts = [
                name if arg is None else f"{name}({_text(arg, names, depth + 1)})"
                for name, arg in cases.items()
            ]
            return " | ".join([*parts, "…"] if is_open else parts)
    raise AssertionError(of)
