"""What the parts of the evaluator see of the machine that runs them, and of the instance that code is of."""

from __future__ import annotations

from typing import Any, Protocol

from mix_lang import syntax as s
from mix_lang.program import Program, Unit
from mix_lang.source import Source

__all__ = ["Home", "Running", "Watched"]


class Home(Protocol):
    """The instance of a module, as its code sees it. Cells are those of the instance."""

    @property
    def unit(self) -> Unit: ...
    @property
    def program(self) -> Program: ...
    @property
    def module(self) -> s.Module: ...
    @property
    def source(self) -> Source: ...

    def has(self, name: str) -> bool: ...
    def cell(self, name: str) -> Any: ...
    def read(self, machine: Any, name: str) -> Any: ...
    def contents(self, machine: Any, cell: Any) -> Any: ...
    def previous(self, machine: Any, name: str) -> Any: ...
    def assign(self, machine: Any, cell: Any, value: Any) -> None: ...


class Watched(Protocol):
    """A cell, as a link to it sees it."""

    @property
    def instance(self) -> Home: ...


class Running(Protocol):
    """The machine. What it holds is what its parts put there."""

    program: Program
    depth: int
    reading: list[Any]
    instances: list[Any]
    appstate: Any
    log: list[str]
    next_actions: list[Any]
    idle_actions: list[Any]
    statics: dict[str, Any]
    coroutines: Any
    held: int
    awaiting: Any

    def eval(self, node: s.Expr, env: Any) -> Any: ...
    def at(self, panic: Any, node: s.Node | s.Part, env: Any) -> Any: ...
    def apply(self, function: Any, args: tuple[Any, ...]) -> Any: ...
    def block(self, block: s.Block, env: Any, tail: bool = False) -> Any: ...
    def run_block(self, block: s.Block, instance: Any) -> None: ...
    def foreign(self, name: str, args: tuple[Any, ...]) -> Any: ...
    def unwatched(self, call: Any, *args: Any) -> Any: ...
