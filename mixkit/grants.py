"""Which FFIs an agent may call, and with which options: what was requested, narrowed by what was granted.

Decided here, enforced in one place: the dispatch of `mixkit.ffi`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final

from mixkit.errors import GrantError

__all__ = ["ALL", "CORE", "NONE", "OPENING", "Grants", "check_apps", "check_true", "matches", "overlap"]

_PATTERN = re.compile(r"\$?[A-Za-z0-9_]+\*?|\$?\*")


OPENING: Final = frozenset({"db.apps", "secrets.accounts", "secrets.reveal"})
"""Options that open what is closed without them. All others restrict what is open without them."""


class Grants:
    """A set of allowed FFIs with options. Immutable.

    Args:
        ffis: names, or prefixes that end in `*` (`"$db_*"`); `"*"` allows all.
        options: what a plugin enforces, by dotted key: `{"http.hosts": ["api.example.com"]}`. An option restricts,
            unless it is in `OPENING`.

    Several grants are combined with `&`: a call is allowed when every one of them allows it.
    """

    __slots__ = ("_cache", "_layers")
    _layers: tuple[tuple[frozenset[str], Mapping[str, Any]], ...]

    def __init__(self, ffis: Iterable[str] = (), options: Mapping[str, Any] | None = None) -> None:
        # NOTE: a text is an iterable too, and the letters of "$db_*" would include "*".
        patterns = frozenset([ffis] if isinstance(ffis, str | bytes) else ffis)
        for pattern in patterns:
            if (
                isinstance(ffis, str | bytes)
                or not isinstance(pattern, str)
                or not _PATTERN.fullmatch(pattern)
            ):
                raise GrantError(
                    "grants are a list of FFI names, or of prefixes that end in '*', as [\"$db_*\"]; "
                    f"found {pattern!r}"
                )
        self._layers = ((patterns, dict(options or {})),)
        self._cache: dict[str, bool] = {}

    def allows(self, name: str) -> bool:
        """Whether the FFI of that exact name may be called."""
        known = self._cache.get(name)
        if known is None:
            known = all(matches(patterns, name) for patterns, _ in self._layers)
            if len(self._cache) < 1024:
                self._cache[name] = known
        return known

    def option(self, key: str) -> list[Any]:
        """Every value that was set for the key. A plugin applies all of them; none means no restriction."""
        return [options[key] for _, options in self._layers if key in options]

    def opened(self, key: str) -> list[Any]:
        """What each layer sets for an option of `OPENING`, None where it is silent. All must open a thing."""
        return [options.get(key) for _, options in self._layers]

    def option_keys(self) -> set[str]:
        """All option keys that are set, to be checked against what the loaded plugins enforce."""
        return {key for _, options in self._layers for key in options}

    def layers(self) -> list[tuple[list[str], dict[str, Any]]]:
        """Sorted FFI patterns and the options of each layer, to be stored."""
        return [(sorted(patterns), dict(options)) for patterns, options in self._layers]

    def patterns(self) -> list[list[str]]:
        """The FFI patterns of each layer, sorted, for people and for comparing."""
        return [sorted(patterns) for patterns, _ in self._layers]

    def __and__(self, other: Grants) -> Grants:
        both = Grants.__new__(Grants)
        both._layers = self._layers + other._layers
        both._cache = {}
        return both

    def __repr__(self) -> str:
        return " & ".join(f"Grants({sorted(p)}, {dict(o)})" for p, o in self._layers)


def matches(patterns: Collection[str], name: str) -> bool:
    """Whether one of the patterns allows the FFI of that exact name."""
    return name in patterns or any(p.endswith("*") and name.startswith(p[:-1]) for p in patterns)


def overlap(one: str, other: str) -> bool:
    """Whether there may be an FFI that both patterns allow."""
    if not one.endswith("*"):
        return matches((other,), one)
    begin = one[:-1]
    return other.startswith(begin) or (other.endswith("*") and begin.startswith(other[:-1]))


def check_apps(value: object) -> None:
    """Raise `GrantError` for what the option `db.apps` cannot be."""
    if value != "*" and not (isinstance(value, list) and all(type(name) is str for name in value)):
        raise GrantError(
            f'grant option db.apps: expected a list of names of apps, or "*", found {value!r:.80}'
        )


def check_true(key: str, value: object) -> None:
    """Raise `GrantError` unless the value of an option that only opens is `true`."""
    if value is not True:
        raise GrantError(f"grant option {key}: expected true, or nothing at all, found {value!r:.80}")


ALL: Final = Grants(("*",))
NONE: Final = Grants()
CORE: Final = Grants(("$core_*", "$decode_error"))
"""What code may call that asks for nothing: the kernel's own FFIs, which reach nothing outside the run."""
