"""Whose secret it is, and what it is called."""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from mixkit.errors import FFIError

__all__ = ["ACCOUNT", "Kind", "Name", "check_name"]

Kind = str
"""`secret` or `token`, of an app; or what the server keeps in the vault, which has no app (`mix_secrets.shared`)."""

ACCOUNT: Final = "account"
"""The kind of what the server keeps of an account that a user has connected."""

_MOST: Final = 200


class Name(NamedTuple):
    """What names a secret within its workspace.

    Attributes:
        app: name of the app's folder, which no other app ever has; empty for an app that has no workspace.
        user: empty for runs that are for nobody in particular.
    """

    app: str
    user: str
    kind: Kind
    name: str

    def associated(self, workspace: str, version: int, key: int) -> bytes:
        """What a value is sealed with, so that it opens nowhere else.

        Each part behind its size: no two lists of parts are the same bytes.
        """
        parts = [part.encode("utf-8", "surrogatepass") for part in ("secret", workspace, *self)]
        sized = b"".join(struct.pack("<I", len(part)) + part for part in parts)
        return sized + struct.pack("<QQ", version, key)


def check_name(name: str) -> str:
    """The name, if something can be called so. `FFIError` says what is wrong."""
    if not 1 <= len(name) <= _MOST or not name.isprintable():
        raise FFIError(
            f"the name of a secret is 1 to {_MOST} printable characters, found {len(name)}"
            f"{'' if name.isprintable() else ', of which some cannot be printed'}"
        )
    return name
