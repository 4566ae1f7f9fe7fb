"""The grant option that says which modules an agent may load."""

from __future__ import annotations

import hashlib
from typing import Any, Final

from mixkit.errors import GrantError
from mixkit.state import State

__all__ = ["OPTION", "check_granted", "check_option"]

OPTION: Final = "wasm.modules"
_ORIGINS: Final = frozenset({"bytes", "package", "files"})


def check_option(value: Any) -> list[str]:
    """The value of the grant option. Raises `GrantError` for what it cannot be."""
    if isinstance(value, list) and all(_is_allowed(item) for item in value):
        return value
    raise GrantError(
        f'grant option {OPTION}: expected a list of "bytes", "package", "files", or "sha256:" and 64 hex digits, '
        f"found {value!r:.100}"
    )


def check_granted(state: State, code: bytes, origin: str) -> None:
    """Raise `GrantError` unless the run may load that module, which is from there."""
    for allowed in state.grants.option(OPTION):
        if origin in check_option(allowed):
            continue
        digest = f"sha256:{hashlib.sha256(code).hexdigest()}"
        if digest not in allowed:
            raise GrantError(
                f"the module {digest} from {origin} is not granted to {state.code or 'this code'}; its manifest must "
                f"name {origin!r} or the digest in the option {OPTION}, and the installation must grant it"
            )


def _is_allowed(item: Any) -> bool:
    if not isinstance(item, str):
        return False
    kind, colon, digest = item.partition(":")
    if not colon:
        return item in _ORIGINS
    return kind == "sha256" and len(digest) == 64 and not digest.strip("0123456789abcdef")
