"""Tokens of machines: made by an administrator of a workspace, for that workspace, with rights and an end of their own.

A token is `mxm_WORKSPACE.ID.SECRET`. The server keeps a digest of the secret; what the token may do are grants to its
subject `machine/ID`, which go when it is revoked.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

__all__ = ["Machine", "is_good", "is_machine_token", "parts_of"]

_PREFIX: Final = "mxm_"


@dataclass(frozen=True, slots=True)
class Machine:
    """One token, as it is kept.

    Attributes:
        id: what stands in the token, and in its subject.
        name: what people call it.
        digest: SHA-256 of the secret, hexadecimal. The secret is random, so nothing slower is needed.
        until: Unix seconds at which it ends, or None.
        by: the subject that made it.
    """

    id: str
    name: str
    digest: str
    until: float | None
    by: str | None

    @classmethod
    def make(cls, workspace: str, name: str, seconds: float | None, by: str | None) -> tuple[Machine, str]:
        """A new one, and the token, which is nowhere else."""
        id, secret = secrets.token_hex(8), secrets.token_urlsafe(32)
        until = None if seconds is None else time.time() + seconds
        return cls(id, name, _digest(secret), until, by), f"{_PREFIX}{workspace}.{id}.{secret}"

    @property
    def subject(self) -> str:
        """The subject of its grants."""
        return f"machine/{self.id}"

    def admits(self, secret: str) -> bool:
        """Whether that is its secret, and its time is not over."""
        right = hmac.compare_digest(_digest(secret), self.digest)
        return right and (self.until is None or time.time() < self.until)

    def public(self) -> dict[str, Any]:
        """As people see it."""
        return {"id": self.id, "name": self.name, "until": self.until, "by": self.by}


def is_good(machine: Machine, machines: Mapping[str, Machine]) -> bool:
    """Whether a machine's time is not over, nor that of any by which it was made, which must all be there still.

    Args:
        machines: those of its workspace, by id.
    """
    now, seen = time.time(), set()
    while machine.until is None or now < machine.until:
        kind, _, maker = (machine.by or "").partition("/")
        if kind != "machine":
            return True
        seen.add(machine.id)
        found = machines.get(maker)
        if found is None or found.id in seen:
            return False
        machine = found
    return False


def is_machine_token(token: str) -> bool:
    """Whether a token says that it is one of a machine."""
    return token.startswith(_PREFIX)


def parts_of(token: str) -> tuple[str, str, str] | None:
    """Workspace, id and secret that a token names, or None."""
    parts = token.removeprefix(_PREFIX).split(".")
    return (parts[0], parts[1], parts[2]) if len(parts) == 3 and all(parts) else None


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
