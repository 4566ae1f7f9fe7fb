"""The one rule for the names of workspaces, apps and agents: they become directories and parts of URLs."""

from __future__ import annotations

import re

from mixkit.package.errors import BadName

__all__ = ["check_name", "is_name"]

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,62}")


def check_name(kind: str, name: str) -> str:
    """The name itself, if it may be one.

    A name cannot begin with a dot or a dash and holds no dot at all, so that it is never hidden, never an
    option, never `..`, and never the name of a file of the store, all of which have a dot.

    Args:
        kind: what is named, for the message: `"workspace"`, `"app"`, `"agent"`.

    Raises:
        BadName: it may not.
    """
    if not isinstance(name, str) or not is_name(name):
        raise BadName(
            f"{kind} names have 1 to 63 letters, digits, '_' and '-' (ASCII, no '-' first); "
            f"found {name!r:.80}"
        )
    return name


def is_name(name: str) -> bool:
    """Whether it may be one."""
    return _NAME.fullmatch(name) is not None
