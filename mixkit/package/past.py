"""What became of an app: made, installed, deleted, and when."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from mixkit.package.app import Installation

__all__ = ["Event"]


@dataclass(frozen=True, slots=True)
class Event:
    """A change of an app.

    Attributes:
        when: in UTC.
        what: `"created"` is an app that was made without code.
        installation: what was installed, and what was allowed.
    """

    when: datetime
    what: Literal["created", "installed", "deleted"]
    installation: Installation | None = None

    @classmethod
    def of(cls, when: datetime, entry: Installation | Literal[""] | None) -> Event:
        """The change that left an app as that."""
        if not entry:
            return cls(when, "deleted" if entry is None else "created")
        return cls(when, "installed", entry)
