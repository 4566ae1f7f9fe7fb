"""Who asks, for what, and of what: values of a request. Who decides is in `auth.py`."""

from __future__ import annotations

import time
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from mixkit.activities import OPERATOR

__all__ = ["EVERYBODY", "Caller", "Permission", "Resource"]


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks.

    Attributes:
        user: what agents see as their user; None is nobody in particular.
        subjects: those of grants that the caller is, the narrowest first.
        operator: whether this is who runs the server, and may do everything.
        until: Unix second at which what says so ends, if this server made it: what is given for it ends no later.
        began: Unix time at which this server made what says so; None if it did not.
        session: id of the session of a browser, in which that was made; None if it was in none.
    """

    user: str | None
    subjects: tuple[str, ...] = ()
    operator: bool = False
    until: float | None = None
    began: float | None = None
    session: str | None = None

    def seconds(self, most: float) -> float:
        """For how long something may be good that is given to the caller, at most so many seconds."""
        return most if self.until is None else max(1.0, min(most, self.until - time.time()))

    @property
    def subject(self) -> str | None:
        """The narrowest: what stands in the records of what the caller has done."""
        return self.subjects[0] if self.subjects else None

    @property
    def named(self) -> str:
        """Who it is, for a list of what was done: one of the subjects that only they are, or else `sub/…`, `operator`,
        `anonymous`."""
        if self.operator:
            return OPERATOR
        # Who is known by no address is one of all users.
        subject = self.subject
        return subject if subject is not None and "/" in subject else self.user or "anonymous"

    @property
    def email(self) -> str | None:
        """The address of a user that is known by one; None for everybody else."""
        kind, _, address = (self.subject or "").partition("/")
        return address if kind == "user" else None


class Permission(StrEnum):
    """What somebody may do with a resource and all that is in it."""

    SEE = "see"
    """Know that it is there, and the names of its parts. Who may do anything else with it may do this too."""
    RUN = "run"
    """Run agents, and read what they take and answer."""
    READ = "read"
    """Read records and files."""
    WRITE = "write"
    """Change records and what belongs to them."""
    CREATE = "create"
    """Make a workspace or an app."""
    DELETE = "delete"
    """Delete a workspace or an app, and all its data."""
    INSTALL = "install"
    """Install packages, and grant them what they ask for."""
    ADMIN = "admin"
    """All else: what is not declared is done for who may do everything."""


EVERYBODY = None
"""In the place of a permission: done for everybody, without asking who asks."""


class Resource(NamedTuple):
    """What a request is about. A part without a name is all of what is before it; no name at all is the server."""

    workspace: str | None = None
    app: str | None = None
    agent: str | None = None
