"""What may be granted: a role is a set of permissions."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from mix_server.caller import Permission

__all__ = ["PERMISSIONS", "Role", "roles_with"]


class Role(StrEnum):
    """A role, as a grant names it."""

    RUNNER = "runner"
    EDITOR = "editor"
    ADMIN = "admin"
    DB_CREATOR = "db/creator"


PERMISSIONS: Final[dict[Role, frozenset[Permission]]] = {
    Role.RUNNER: frozenset({Permission.SEE, Permission.RUN}),
    Role.EDITOR: frozenset({Permission.SEE, Permission.RUN, Permission.READ, Permission.WRITE}),
    Role.ADMIN: frozenset(Permission),
    Role.DB_CREATOR: frozenset({Permission.SEE, Permission.CREATE}),
}
"""What each role allows with what it was granted for, and all that is in it."""


def roles_with(permission: Permission) -> list[Role]:
    """The roles that allow something, the narrowest first."""
    return sorted(
        (role for role, all in PERMISSIONS.items() if permission in all), key=lambda r: len(PERMISSIONS[r])
    )
