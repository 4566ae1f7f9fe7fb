"""What was done: by whom, with what, when, how long, with which result; and a line of what a guest wrote."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, TypeVar

import msgspec

from mixkit.errors import MixError
from mixkit.near import meant

__all__ = ["OPERATOR", "Activity", "Kind", "Output", "Result", "Wanted", "described", "named", "now"]

OPERATOR = "operator"
"""Subject of who runs the server: who has its token, or its files."""

E = TypeVar("E", bound=StrEnum)


class Kind(StrEnum):
    """What is done."""

    RUN = "run"
    """An agent is run."""
    SAVE = "save"
    """Records, stored queries or files are written or deleted."""
    INSTALL = "install"
    """A package is installed, or agreed to later."""
    REMOVE = "remove"
    """A package is removed."""
    GRANT = "grant"
    """Something is granted, or a token of a machine is made."""
    REVOKE = "revoke"
    """A grant or a token is taken back."""
    CREATE = "create"
    """A workspace or an app is made."""
    DELETE = "delete"
    """A workspace or an app is deleted."""
    SIGN_IN = "sign-in"
    """Somebody signs in, here or with an account elsewhere, or asks for a token."""
    CONFIGURE = "configure"
    """How users sign in elsewhere is configured, an account there is let go, or a secret is kept, removed or sealed
    anew."""
    EXPORT = "export"
    """A workspace or an app leaves."""
    IMPORT = "import"
    """A workspace or an app comes in."""
    SIGNAL = "signal"
    """A signal is made, sent or cancelled."""

    @property
    def is_durable(self) -> bool:
        """Whether it is on the disk before it is answered, and kept apart, where no number of runs drives it out: what
        changes who may do what, and what there is."""
        # PERF: asked for every request, and the hash of a member is slow.
        return self is not _RUN and self is not _SAVE and self is not _SIGNAL


_RUN, _SAVE, _SIGNAL = Kind.RUN, Kind.SAVE, Kind.SIGNAL


class Result(StrEnum):
    """How it ended."""

    OK = "ok"
    FAILED = "failed"
    """The agent's own failure, a limit of it included."""
    REFUSED = "refused"
    """What was asked for was wrong, or not possible."""
    TIMEOUT = "timeout"
    """Time was over."""
    STOPPED = "stopped"
    """Who asked has gone, or the server ended."""
    FAULT = "fault"
    """The server could not do it."""

    @classmethod
    def of(cls, status: int) -> Result:
        """That of an HTTP status."""
        if status < 400:
            return _OK
        if status == 499:
            return cls.STOPPED
        if status < 500:
            return cls.FAILED if status == 422 else cls.REFUSED
        return cls.TIMEOUT if status == 504 else cls.FAULT


_OK = Result.OK


class Activity(msgspec.Struct, kw_only=True, omit_defaults=True, gc=False):
    """What was done. No parameters, no results, no secrets: they are nobody's but who they are for.

    Attributes:
        kind: what it was.
        subject: who did it, as grants name it, or `operator`.
        time: Unix microseconds at which it began.
        workspace, app, agent: with what.
        run: identity of the request, and of its run.
        seconds: how long it took.
        result: how it ended; `status` is the HTTP status of the answer, if there was one.
        about: more of it, as the grant that was given: names and numbers.
    """

    kind: Kind
    subject: str
    time: int
    workspace: str | None = None
    app: str | None = None
    agent: str | None = None
    run: str | None = None
    seconds: float = 0.0
    result: Result = Result.OK
    status: int = 0
    about: dict[str, Any] | None = None


class Output(msgspec.Struct, kw_only=True, omit_defaults=True, gc=False):
    """A line that a guest wrote: to a standard stream, or to its log.

    Attributes:
        time: Unix microseconds.
        subject: who ran it.
        app, agent, run: where it is from.
        level: 0 debug, 1 info, 2 warning, 3 error.
        text: the line.
    """

    time: int
    subject: str
    app: str
    agent: str
    run: str
    level: int
    text: str


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """Which activities, or lines of output, are wanted: those that are all of what is said."""

    kind: Kind | None = None
    subject: str | None = None
    app: str | None = None
    agent: str | None = None
    run: str | None = None
    result: Result | None = None
    since: int | None = None
    until: int | None = None

    def has(self, found: Activity | Output) -> bool:
        """Whether one is among them. `kind` and `result` are not asked of output."""
        return (
            (self.since is None or found.time >= self.since)
            and (self.until is None or found.time < self.until)
            and (self.app is None or found.app == self.app)
            and (self.agent is None or found.agent == self.agent)
            and (self.subject is None or found.subject == self.subject)
            and (self.run is None or found.run == self.run)
            and (
                isinstance(found, Output)
                or (
                    (self.kind is None or found.kind == self.kind)
                    and (self.result is None or found.result == self.result)
                )
            )
        )


def named(names: type[E], text: str) -> E:
    """The member of that value. `MixError` says which there are."""
    known: Sequence[str] = [each.value for each in names]
    if text not in known:
        raise MixError(f"expected one of {', '.join(known)}, found {text!r:.40}{meant(text, known)}")
    return names(text)


def described(found: Activity | Output) -> dict[str, Any]:
    """As clients see it, with the time as text."""
    text: dict[str, Any] = msgspec.to_builtins(found)
    if isinstance(found, Activity):
        text |= {"result": found.result.value, "seconds": round(found.seconds, 6)}
    when = datetime.fromtimestamp(found.time / 1_000_000, UTC)
    return text | {"time": when.isoformat(timespec="milliseconds").replace("+00:00", "Z")}


def now() -> int:
    """Unix microseconds."""
    return time.time_ns() // 1_000
