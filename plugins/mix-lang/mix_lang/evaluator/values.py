"""What a running program has beside the kinds of the value model: functions, streams, links, modules, actions.

Arrays and maps are Python's `list` and `dict`, and never changed once they are made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from mix_lang import syntax as s
from mix_lang.evaluator.running import Home, Watched
from mix_lang.source import Source, Span
from mixkit.value import UNDEF, Case, Ref, Token

__all__ = [
    "ActionValue", "Constructor", "Env", "Function", "Link", "ModuleFunction", "Native", "Panic", "Partial", "Slots",
    "Stream", "kind",
]  # fmt: skip


class Panic(Exception):
    """A runtime error: what happened, where, and the calls that led there, innermost first.

    `frames` are pairs of function name and place of the call.
    """

    def __init__(self, message: str, code: str = "M0901", *, value: Any = UNDEF) -> None:
        super().__init__(message)
        self.message, self.code = message, code
        # What `try` gives: the message, unless the program raised something else.
        self.value = message if value is UNDEF else value
        # Whether no `try` stops it: an error of another coroutine.
        self.fatal = False
        self.source: Source | None = None
        self.span = Span(0, 0)
        self.frames: list[tuple[str, Source, Span]] = []


class Env:
    """Local variables: a scope within `up`, in an instance of a module."""

    __slots__ = ("appstate", "instance", "up", "values")

    def __init__(self, instance: Home, up: Env | None = None, appstate: bool = False) -> None:
        self.instance, self.up = instance, up
        self.values: dict[str, Any] = {}
        self.appstate: bool = appstate or (up is not None and up.appstate)

    def find(self, name: str) -> Env | None:
        """The innermost scope that has the name."""
        env: Env | None = self
        while env is not None:
            if name in env.values:
                return env
            env = env.up
        return None


@dataclass(eq=False, slots=True)
class Function:
    """A closure: alternatives, each with as many patterns; a def with braces has one, whose body is a block."""

    name: str
    clauses: tuple[s.Clause, ...]
    env: Env
    arity: int


@dataclass(eq=False, slots=True)
class Native:
    """A built-in; `call(machine, *args)`."""

    name: str
    arity: int
    call: Callable[..., Any]


@dataclass(eq=False, slots=True)
class Constructor:
    """A case that takes an argument; or, inverse, what takes the argument out."""

    case: str
    inverse: bool = False
    arity: int = 1


@dataclass(eq=False, slots=True)
class ModuleFunction:
    """A module with parameters that were not all given yet."""

    module: str
    arity: int


@dataclass(eq=False, slots=True)
class Partial:
    """A function and the arguments that it has so far."""

    function: Any
    args: tuple[Any, ...]
    arity: int


@dataclass(eq=False, slots=True)
class Stream:
    """A lazy sequence, read once."""

    items: Iterator[Any]
    ahead: list[Any] = field(default_factory=list)

    def take(self) -> Any:
        """The next element, or None as a Python object `_END` when there is none."""
        if self.ahead:
            return self.ahead.pop()
        return next(self.items, END)


END = object()


@dataclass(eq=False, slots=True)
class Slots:
    """Places that change."""

    at: list[Any]


@dataclass(eq=False, slots=True)
class Link:
    """A cell as such, not its value."""

    cell: Watched


@dataclass(eq=False, slots=True)
class ActionValue:
    """An action closure."""

    name: str
    action: s.Action
    env: Env


def kind(value: Any) -> str:
    """Name of a value's kind, as messages have it."""
    if value is None:
        return "null"
    found = _KINDS.get(type(value))
    if found is not None:
        return found
    return "coroutine" if type(value).__name__ == "Coroutine" else "module"


_KINDS: dict[type, str] = {
    type(UNDEF): "undefined", bool: "bool", int: "int", float: "number", str: "string", Ref: "ref", bytes: "binary",
    list: "array", dict: "map", Token: "token", Case: "case", Function: "function", Native: "function",
    Constructor: "function", ModuleFunction: "function", Partial: "function", Stream: "stream", Link: "link",
    ActionValue: "action", Slots: "link",
}  # fmt: skip
