"""Which Wasm engine runs guests: decided here, from the profile and what its plugins offer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from mixkit.errors import ProfileError
from mixkit.near import meant

__all__ = ["Choice", "choose"]

_NEAR: Final = 0.8
"""How like an offered engine one must be to be it misspelt, and not one that is not installed."""


@dataclass(frozen=True, slots=True)
class Choice:
    """The decision, with its reason for `mixkit doctor`."""

    engine: str
    path: str
    reason: str


def choose(wanted: Sequence[str], offered: Mapping[str, str]) -> Choice:
    """The first engine of the profile's list that a plugin offers.

    Args:
        wanted: the profile's `engines`, by preference.
        offered: name to import string, from `mix_engines`.

    Raises:
        ProfileError: none of them is there, a start must not go on without the engine that it declares; or one is an
            offered one misspelt.
    """
    for name in wanted:
        near = "" if name in offered else meant(name, offered, _NEAR)
        if near:
            raise ProfileError(f"no engine {name!r}{near}", "engines")
    for index, name in enumerate(wanted):
        if name in offered:
            skipped = f"; {', '.join(wanted[:index])} not installed" if index else ""
            return Choice(name, offered[name], f"choice {index + 1} of the profile's engines{skipped}")
    raise ProfileError(
        f"no plugin of the profile offers any of the engines {', '.join(wanted) or '(none)'}; "
        f"offered: {', '.join(sorted(offered)) or 'none'}{meant(wanted[0], offered) if wanted else ''}",
        "engines",
    )
