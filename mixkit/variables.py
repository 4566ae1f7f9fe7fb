"""Environment variables that begin as ours do and mean nothing: a misspelt one must not be passed over in silence."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Final

from mixkit.errors import ProfileError
from mixkit.near import meant
from mixkit.settings import is_service_link, variable

__all__ = ["OURS", "refuse_unknown"]

OURS: Final = frozenset(
    f"MIXKIT_{name}"
    for name in (
        "PROFILE",
        "PROFILE_PATH",
        "PROJECT",
        "CONFIG",
        "DEBUG",
        "LOG_LEVEL",
        "LOG_FORMAT",
        "SECRETS_KEY",
    )
)
"""Variables that are no settings."""

_PREFIX: Final = "MIXKIT_"
_NEAR: Final = 0.8
"""How like a known name one must be to be taken for it, where it may also be somebody else's."""


def refuse_unknown(
    environ: Mapping[str, str],
    sections: Mapping[str, Collection[str]],
    installed: Callable[[], Iterable[str]],
) -> None:
    """Refuse variables of the sections that are no settings of theirs, and others that are nearly known ones.

    Args:
        sections: `limits` and the plugins of the profile to the keys of their settings.
        installed: answers the names of all plugins that are installed; the variables of those that the profile does
            not load are for another profile.

    Raises:
        ProfileError: names the variable, and the near one.
    """
    known = OURS | {variable(section, key) for section, keys in sections.items() for key in keys}
    theirs = tuple(variable(section, "") for section in sections)
    others: tuple[str, ...] | None = None
    for name, value in environ.items():
        if not name.startswith(_PREFIX) or name in known or is_service_link(name, value, known=False):
            continue
        if not name.startswith(theirs):
            if others is None:
                others = tuple(variable(plugin, "") for plugin in installed())
            if name.startswith(others) or not _is_near(name, known):
                continue
        raise ProfileError(
            f"no such setting; `mixkit profile show` lists them{meant(name, known, _NEAR)}",
            f"environment variable {name}",
        )


def _is_near(name: str, known: Iterable[str]) -> bool:
    # Without what all begin with, which would make them all alike.
    return bool(meant(name.removeprefix(_PREFIX), [other.removeprefix(_PREFIX) for other in known], _NEAR))
