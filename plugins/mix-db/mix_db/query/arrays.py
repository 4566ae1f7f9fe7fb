"""What stages make of arrays: aggregates read through them, groups and `unnest` take rows apart."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, TypeAlias

from mix_db.query.errors import QueryError
from mixkit.value import UNDEF

__all__ = ["MAX_ELEMENTS", "Arrays"]

MAX_ELEMENTS: Final = 1_000_000
"""Most elements that a key leads through in one row: refs in arrays multiply."""

_EVERY: Final = 256

_Row: TypeAlias = dict[str, Any]


class Arrays:
    """Elements of arrays for one run of a query.

    Args:
        follow: answers the record that a ref leads to, `UNDEF` if there is none, and any other value as it is.
        tick: called now and then, and may raise.
    """

    def __init__(self, follow: Callable[[Any], Any], tick: Callable[[], None]) -> None:
        self._follow = follow
        self._tick = tick
        self._seen = 0

    def values(self, names: tuple[str, ...], row: Mapping[str, Any]) -> list[Any]:
        """What the names lead to in a row, for each element of the arrays on their way."""
        self._seen = 0
        found: list[Any] = [row]
        for name in names:
            found = [
                element.get(name, UNDEF) if isinstance(element, Mapping) else UNDEF
                for value in found
                for element in self._elements(self._follow(value))
            ]
        return found

    def _elements(self, value: Any) -> Iterator[Any]:
        if type(value) is not list:
            yield value
            return
        for item in value:
            self._seen += 1
            if self._seen > MAX_ELEMENTS:
                raise QueryError(f"a key led through more than {MAX_ELEMENTS} elements of arrays in one row")
            if not self._seen % _EVERY:
                self._tick()
            yield from self._elements(self._follow(item))

    def parted(self, names: tuple[str, ...], row: _Row, *, last: bool) -> Iterator[_Row]:
        """A row for each element of the arrays on the way of the names, with the element in the place of the array.
        Refs on the way to an array become the records that they lead to.

        Args:
            last: take apart the array that they lead to, too; then there is no row where they lead to nothing or null.
                Otherwise a row that cannot be taken apart stays.
        """
        name, *rest = names
        value = row.get(name, UNDEF)
        if rest:
            value = self._follow(value)
        elif not last:
            yield row
            return
        if type(value) is list and (value or last):
            for item in value:
                self._tick()
                within = self._follow(item) if rest else None
                if type(within) is dict:
                    for inner in self.parted(tuple(rest), within, last=last):
                        yield {**row, name: inner}
                elif not (rest and last):
                    yield {**row, name: item}
        elif type(value) is dict and rest:
            for inner in self.parted(tuple(rest), value, last=last):
                yield row if inner is value else {**row, name: inner}
        elif not last or (not rest and value is not UNDEF and value is not None):
            yield row
