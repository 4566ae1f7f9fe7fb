"""Whether what one type allows another allows too: how two descriptions of one thing are compared."""

from __future__ import annotations

from dataclasses import dataclass

from mixkit._fault import step
from mixkit.schema import ANY, ArrayType, LiteralType, MapType, RecordType, ScalarType, Type, UnionType

__all__ = ["Misfit", "misfit"]


@dataclass(frozen=True, slots=True)
class Misfit:
    """Where a type allows what another does not. `path` is as that of a `Mismatch`, `[]` for the items of an array."""

    path: str
    found: str
    expected: str

    def under(self, step: str) -> Misfit:
        """The same, seen from one level further out."""
        return Misfit(step + self.path, self.found, self.expected)


def misfit(narrow: Type, wide: Type) -> Misfit | None:
    """The first place where `narrow` allows a value that `wide` does not allow; None if it fits.

    `data` on either side says nothing, and so contradicts nothing.
    """
    if ANY in (narrow, wide) or narrow == wide:
        return None
    match narrow, wide:
        case UnionType(options), _:
            return next((found for option in options if (found := misfit(option, wide))), None)
        case LiteralType(values), LiteralType(known):
            return None if set(values) <= set(known) else _differ(narrow, wide)
        case _, UnionType(options):
            fits = any(misfit(narrow, option) is None for option in options)
            return None if fits or _literals_fit(narrow, options) else _differ(narrow, wide)
        case LiteralType(values), _:
            return next((_differ(narrow, wide) for value in values if misfit(_scalar_of(value), wide)), None)
        case ScalarType("int"), ScalarType("number"):
            return None
        case (ArrayType(item), ArrayType(other)) | (MapType(item), MapType(other)):
            inner = misfit(item, other)
            return inner and inner.under("[]" if isinstance(narrow, ArrayType) else ".*")
        case RecordType(), MapType(item):
            inners = ((key, misfit(field.type, item)) for key, field in narrow.fields.items())
            return next((inner.under(step(key)) for key, inner in inners if inner), None)
        case RecordType(), RecordType():
            return _records(narrow, wide)
        case _:
            return _differ(narrow, wide)


def _records(narrow: RecordType, wide: RecordType) -> Misfit | None:
    for key, field in narrow.fields.items():
        other = wide.fields.get(key)
        if other is None:
            if not wide.open:
                return Misfit(step(key), str(field.type), "no such key")
            continue
        if field.optional and not other.optional:
            return Misfit(step(key), f"{field.type}, which may be missing", f"{other.type}, which may not")
        inner = misfit(field.type, other.type)
        if inner is not None:
            return inner.under(step(key))
    for key, other in wide.fields.items():
        if key not in narrow.fields and not other.optional:
            return Misfit(step(key), "nothing", f"{other.type}, which may not be missing")
    if narrow.open and not wide.open:
        return Misfit("", f"{narrow}, which takes more keys", f"{wide}, which does not")
    return None


def _literals_fit(narrow: Type, options: tuple[Type, ...]) -> bool:
    """Whether each of several constants fits one of the options, if no option fits them all."""
    return isinstance(narrow, LiteralType) and all(
        any(misfit(LiteralType((value,)), option) is None for option in options) for value in narrow.values
    )


def _scalar_of(value: str | int | bool) -> ScalarType:
    return ScalarType({bool: "bool", int: "int", str: "string"}[type(value)])


def _differ(narrow: Type, wide: Type) -> Misfit:
    return Misfit("", str(narrow), str(wide))
