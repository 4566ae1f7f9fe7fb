"""Generated values: a test draws whole numbers, and what it makes of them is smaller if they are fewer and smaller.

A test that failed is run again with fewer and smaller ones as long as it fails: so everything that is made of draws
shrinks, and nothing need know how.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import Any, Final, TypeAlias

__all__ = ["Draws", "smallest"]

Choices: TypeAlias = tuple[int, ...]

_MOST: Final = 20_000
"""Draws of one run: a test that draws without end would never fail otherwise."""


class Draws:
    """What one run of a test draws.

    Args:
        source: where new ones come from; None gives zeros.
        given: what comes first.

    Attributes:
        made: what was drawn.
        values: what was made of it, as the test sees it: the outer values, in their order.
    """

    def __init__(self, source: Random | None, given: Choices = ()) -> None:
        self._source, self._given = source, given
        self.made: list[int] = []
        self.values: list[Any] = []
        self._open: list[int] = []

    def draw(self, most: int) -> int:
        """A number from 0 to `most`."""
        at = len(self.made)
        if at >= _MOST:
            raise ValueError(f"a test draws {_MOST} numbers at most")
        if at < len(self._given):
            number = min(self._given[at], most)
        elif self._source is None:
            number = 0
        else:
            # Small numbers and the ends are where faults are.
            number = self._source.choice(
                (0, most, self._source.randint(0, most), self._source.randint(0, min(most, 20)))
            )
        self.made.append(number)
        return number

    def begin(self) -> int:
        """A value is begun to be made. Answers how many are around it."""
        self._open.append(len(self.values))
        return len(self._open)

    def drew(self, depth: int, value: Any) -> None:
        """The value that was begun as that many-th is made: what was made within it is part of it."""
        if not 0 < depth <= len(self._open):
            raise ValueError("no such value was begun")
        del self.values[self._open[depth - 1] :]
        del self._open[depth - 1 :]
        self.values.append(value)


def smallest(found: Choices, fails: Callable[[Choices], Choices | None], most: int = 400) -> Choices:
    """The fewest and smallest draws that a test fails with, as far as `most` runs of it lead.

    Args:
        found: some with which it fails.
        fails: runs the test with those draws; answers those that it made of them if it fails, else None.
    """
    runs = 0
    better = True
    while better:
        better = False
        for tried in _simpler(found):
            runs += 1
            if runs > most:
                return found
            made = fails(tried)
            if made is not None and _order(made) < _order(found):
                found, better = made, True
                break
    return found


def _order(choices: Sequence[int]) -> tuple[int, Sequence[int]]:
    return len(choices), choices


def _simpler(choices: Choices) -> Iterator[Choices]:
    """Simpler ones, the boldest first: parts left out, then numbers that are smaller."""
    size = len(choices)
    while size:
        for at in range(len(choices) - size, -1, -1):
            yield choices[:at] + choices[at + size :]
        size //= 2
    for at, number in enumerate(choices):
        step = number
        while step:
            yield (*choices[:at], number - step, *choices[at + 1 :])
            step //= 2
