"""What changes when one set of requested powers takes the place of another."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

from mixkit.grants import OPENING
from mixkit.package.manifest import GrantsSpec

__all__ = ["PowerChange", "compare", "widened"]


@dataclass(frozen=True, slots=True)
class PowerChange:
    """What the new set allows that the old did not, and the other way round.

    Attributes:
        widened, narrowed: FFI patterns, and options as `KEY: VALUE`, for people.
    """

    widened: tuple[str, ...]
    narrowed: tuple[str, ...]


def compare(old: GrantsSpec, new: GrantsSpec) -> PowerChange:
    """The change from old to new. When in doubt about an option it is called widened."""
    return PowerChange(_beyond(old, new), _beyond(new, old, certain=True))


def widened(old: GrantsSpec, new: GrantsSpec, powers: Collection[str]) -> GrantsSpec:
    """The old set with those of `compare(old, new).widened` that are among the powers given, as texts."""
    ffis = [*old.ffis, *(p for p in new.ffis if p in powers and not _covered(p, old.ffis))]
    options = dict(old.options)
    for key in (new.options.keys() & OPENING) | (old.options.keys() - OPENING):
        if key not in new.options:
            if f"{key}: any" in powers:
                del options[key]
            continue
        before, after = old.options.get(key, []), new.options[key]
        if isinstance(before, list) and isinstance(after, list):
            more = [item for item in after if item not in before and f"{key}: {item}" in powers]
            if more:
                options[key] = [*before, *more]
        elif f"{key}: {'any' if key in OPENING and after == '*' else after}" in powers:
            options[key] = after
    return GrantsSpec(ffis=ffis, options=options)


def _beyond(old: GrantsSpec, new: GrantsSpec, *, certain: bool = False) -> tuple[str, ...]:
    """What `new` allows beyond `old`."""
    ffis = [pattern for pattern in new.ffis if not _covered(pattern, old.ffis)]
    return (*sorted(set(ffis)), *_options_beyond(old.options, new.options, certain))


def _covered(pattern: str, by: Iterable[str]) -> bool:
    """Whether every name that the pattern allows is allowed by one of the others."""
    return pattern in by or any(
        other.endswith("*") and pattern.removesuffix("*").startswith(other[:-1]) for other in by
    )


def _options_beyond(old: dict[str, Any], new: dict[str, Any], certain: bool) -> list[str]:
    """An option restricts: a list to its items, and one that is not set does not restrict at all.

    Those of `OPENING` are the other way round: one that is not set opens nothing, and "*" everything.
    """
    beyond = []
    for key in sorted(new.keys() & OPENING):
        before, after = old.get(key, []), new[key]
        if isinstance(before, list) and isinstance(after, list):
            beyond += [f"{key}: {item}" for item in after if item not in before]
        elif before != after and before != "*":
            beyond.append(f"{key}: {'any' if after == '*' else after}")
    for key in sorted(old.keys() - OPENING):
        before = old[key]
        if key not in new:
            beyond.append(f"{key}: any")
        elif isinstance(before, list) and isinstance(new[key], list):
            beyond += [f"{key}: {item}" for item in new[key] if item not in before]
        elif before != new[key] and not certain:
            beyond.append(f"{key}: {new[key]}")
    return beyond
