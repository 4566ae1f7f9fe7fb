"""Fields of a file that become refs: by the id of the record that is meant, or by a field that it has.

customer                         the field holds the id
customer=customers.customer_id   … what the record of the type `customers` has in its field `customer_id`
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from mix_db.query.builder import field
from mix_db.transfer.errors import BadItem
from mixkit.value import Ref, kind_of

__all__ = ["Reference", "References"]

_KEPT: Final = 1 << 16
"""Most answers that are remembered, for each field."""


@dataclass(frozen=True, slots=True)
class Reference:
    """A field whose value says which record is meant. Without `type` and `key` the value is that record's id."""

    field: str
    type: str = ""
    key: str = ""

    @classmethod
    def read(cls, text: str) -> Reference:
        """What `FIELD` or `FIELD=TYPE.KEY` says. Raises `ValueError` for another text."""
        name, equals, place = text.partition("=")
        type_, dot, key = place.partition(".")
        if not name or (equals and not (type_ and dot and key)):
            raise ValueError(f"expected FIELD or FIELD=TYPE.KEY, found {text!r}")
        return cls(name, type_, key)

    def __str__(self) -> str:
        return f"{self.field}={self.type}.{self.key}" if self.type else self.field


class References:
    """Puts refs into records.

    Args:
        references: which fields.
        query: asks the database; see `mixkit.storage.Reader.query`.
    """

    def __init__(self, references: Sequence[Reference], query: Callable[[Any], Any]) -> None:
        self._query = query
        self._known: list[tuple[Reference, dict[Any, Ref]]] = [(each, {}) for each in references]

    def put(self, record: dict[str, Any]) -> None:
        """Replace the values of the fields, or those in an array there. What is missing or null stays.

        Raises:
            BadItem: no record is meant, or several are.
        """
        for reference, known in self._known:
            value = record.get(reference.field)
            if type(value) is list:
                record[reference.field] = [self._ref(reference, known, item) for item in value]
            elif value is not None:
                record[reference.field] = self._ref(reference, known, value)

    def _ref(self, reference: Reference, known: dict[Any, Ref], value: Any) -> Ref:
        if type(value) is Ref:
            return value
        if type(value) not in (str, int, float) or value != value:
            raise BadItem(f"field {reference.field!r}: expected a text or a number, found {kind_of(value)}")
        if not reference.type:
            if type(value) is float or value == "":
                raise BadItem(f"field {reference.field!r}: expected an id, found {value!r}")
            return Ref(str(value))
        found = known.get(value)
        if found is None:
            if len(known) >= _KEPT:
                known.clear()
            found = known[value] = self._found(reference, value)
        return found

    def _found(self, reference: Reference, value: str | int | float) -> Ref:
        wanted = (field("_rmx_type") == reference.type) & field(reference.key).in_(_spellings(value))
        with self._query(wanted.limit(2)) as cursor:
            rows: list[Mapping[str, Any]] = cursor.next()
        if len(rows) != 1:
            how = "none; import those first" if not rows else "several"
            raise BadItem(
                f"field {reference.field!r}: expected one record of the type {reference.type!r} whose "
                f"{reference.key!r} is {value!r}, found {how}"
            )
        ref: Ref = rows[0]["_rmx_id"]
        return ref


def _spellings(value: str | int | float) -> list[str | int | float]:
    """The value, and what it is where the kind of a column was guessed otherwise: 7 for "7"."""
    if type(value) is int:
        return [value, str(value)]
    if type(value) is str and value.lstrip("-").isdecimal() and value.isascii() and len(value) < 19:
        number = int(value)
        return [value, number] if str(number) == value else [value]
    return [value]
