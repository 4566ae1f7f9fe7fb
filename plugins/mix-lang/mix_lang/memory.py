"""What a compiler remembers of what it has made, so that a change makes anew only what depends on it.

Everything that the compiler makes is a function of what it is made of. A `Memory` keeps results by that; one that is
given to compilation after compilation makes them quick, and changes nothing else. `mixkit run` compiles once in a
process and keeps none; what watches sources keeps one for as long as it lives.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from itertools import count
from typing import Any, Final, TypeVar

from mix_lang.source import FIRST

__all__ = ["Memory"]

T = TypeVar("T")

_WEIGHT: Final = 1_000


class Memory:
    """Results by what they were made of. What was not asked for in a long time is forgotten.

    Args:
        most: weight of what is remembered of late, in characters of source text, about; as much may be left of before.
    """

    def __init__(self, most: int = 6 << 20) -> None:
        self._most, self._weight = most, 0
        # Two ages: what is asked for in the old one goes over to the new one, which then becomes the old one.
        self._new: dict[Hashable, tuple[Any, int]] = {}
        self._old: dict[Hashable, tuple[Any, int]] = {}
        self._places = count(FIRST, 1 << 32)

    def __len__(self) -> int:
        return len(self._new) + len(self._old)

    def remembered(self, key: Hashable, make: Callable[[], T], weight: int = _WEIGHT) -> T:
        """What was made for that key, or is made now.

        Args:
            key: all that it depends on.
            weight: characters of text that are kept alive by it, about.
        """
        found: T | None = self.find(key)
        if found is None:
            found = make()
            self.note(key, found, weight)
        return found

    def find(self, key: Hashable) -> Any:
        """What is remembered for that key; None if nothing is."""
        found = self._new.get(key)
        if found is None:
            found = self._old.get(key)
            if found is None:
                return None
            self._keep(key, found)
        return found[0]

    def note(self, key: Hashable, result: Any, weight: int = _WEIGHT) -> None:
        """Remember something, which is not None."""
        self._keep(key, (result, weight))

    def _keep(self, key: Hashable, found: tuple[Any, int]) -> None:
        self._weight += found[1]
        if self._weight > self._most:
            self._old, self._new, self._weight = self._new, {}, found[1]
        self._new[key] = found

    def place(self) -> int:
        """Where the spans of a passage begin to count that is read now: no other passage has one of them."""
        return next(self._places)
