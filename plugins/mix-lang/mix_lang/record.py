"""Small classes of values: what `dataclass(frozen=True, slots=True)` makes of them, in a tenth of its time.

Every command on Mix makes all classes of the syntax tree as it starts, and all of its work is to make and tell apart
their objects. So they are plain classes: another metaclass would make each `isinstance` slow. That nobody assigns to
their fields is left to the type checker.
"""

from __future__ import annotations

from operator import attrgetter
from typing import Any, ClassVar, TypeVar, dataclass_transform

__all__ = ["Record", "changed", "record"]

R = TypeVar("R", bound="Record")


class Record:
    """Equal if the kinds are the same and all fields equal."""

    __slots__ = ()
    __match_args__: ClassVar[tuple[str, ...]] = ()
    """All fields, in their order; those of the class above first."""
    _values: ClassVar[attrgetter[Any]]

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and bool(self._values(self) == self._values(other))

    def __hash__(self) -> int:
        return hash(self._values(self))

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.__match_args__)
        return f"{type(self).__name__}({fields})"


@dataclass_transform(frozen_default=True)
def record(kind: type[R]) -> type[R]:
    """The class with an initializer and slots for its fields, which are what is annotated in it: a decorator."""
    space = {name: value for name, value in vars(kind).items() if name not in ("__dict__", "__weakref__")}
    own = tuple(space.get("__annotations__", ()))
    fields = (*kind.__match_args__, *own)
    above = getattr(kind.__init__, "__defaults__", None) or ()
    defaults = (*above, *(space.pop(name) for name in own if name in space))
    lines = "".join(f"\n self.{name} = {name}" for name in fields)
    # Only names of fields are in it.
    exec(f"def __init__(self, {', '.join(fields)}):{lines}", {}, space)  # noqa: S102
    space["__init__"].__defaults__ = defaults
    space |= {"__slots__": own, "__match_args__": fields, "_values": attrgetter(*fields)}
    made: type[R] = type(kind.__name__, kind.__bases__, space)
    return made


def changed(of: R, **fields: Any) -> R:
    """The same with other values in some of its fields."""
    kept = {name: getattr(of, name) for name in of.__match_args__}
    return type(of)(**{**kept, **fields})
