"""Local names, and what may be done where."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from mix_lang.source import Span

__all__ = ["Local", "LocalKind", "Place", "Scope"]

LocalKind: TypeAlias = Literal["let", "var", "param", "pattern"]


@dataclass(slots=True)
class Local:
    """A local name, and whether it was ever used."""

    name: str
    kind: LocalKind
    span: Span
    used: bool = False


@dataclass(frozen=True, slots=True)
class Place:
    """Where code stands: `what` for messages, whether it may read cells, write them, and return."""

    what: str
    reads_cells: bool
    reads_vars: bool
    writes_cells: bool


@dataclass(slots=True)
class Scope:
    """Names within names; each lambda and block opens one.

    What a block declares takes the place of what was called so in it before: to find a name takes as long as blocks are
    deep, however many names there are.
    """

    place: Place
    up: Scope | None = None
    names: dict[str, Local] = field(default_factory=dict)

    def inner(self, place: Place | None = None) -> Scope:
        """A new scope in this one."""
        return Scope(place or self.place, self)

    def find(self, name: str) -> Local | None:
        """The innermost local of that name."""
        scope: Scope | None = self
        while scope is not None:
            if name in scope.names:
                return scope.names[name]
            scope = scope.up
        return None

    def visible(self) -> set[str]:
        """All local names."""
        found: set[str] = set()
        scope: Scope | None = self
        while scope is not None:
            found |= scope.names.keys()
            scope = scope.up
        return found
