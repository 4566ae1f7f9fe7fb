"""Signals: promises, for runs and callers that wait for one another. Their contract, and what all of them share.

A signal is settled once: `ok(value)`, `error("canceled")`, `error("timeout")` when its deadline has passed, or another
`error(…)`. Whoever knows its id may settle it: the id is the right to do so, and may be given to others. Only its owner
may await or cancel it; to all others it does not exist. It is forgotten a day after it was settled. What it is settled
with is kept as codec words, so that runs share no object and no Token leaves its run.

`mixkit.local_signals` keeps them in the process, `mixkit.kept_signals` in a database of their workspace.
`mixkit.testing.signals_suite` is what both must pass.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple, Protocol

import msgspec

from mixkit.answers import check_answer, check_form
from mixkit.codec import decode, encode
from mixkit.errors import FFIError, NotFound, ValueKindError
from mixkit.value import Case, Value, error, ok

__all__ = [
    "CANCELED",
    "DEFAULT_LIMITS",
    "QUESTION",
    "TIMEOUT",
    "Found",
    "Owner",
    "Settled",
    "SignalLimits",
    "Signals",
    "check_outcome",
    "deadline_of",
    "form_words",
    "new_id",
    "opened",
    "sealed",
    "unknown",
]

CANCELED: Final = error("canceled")
TIMEOUT: Final = error("timeout")
QUESTION: Final = "question"
"""Name of the outcome of a signal that a run was to settle, and which has a question of the run instead."""


class Settled(FFIError):
    """The signal was settled before: that is done once."""

    code = "settled"


class Owner(NamedTuple):
    """Who made a signal: a user in an app of a workspace. `home` tells apps apart that have had one name."""

    workspace: str | None = None
    app: str | None = None
    user: str | None = None
    home: str | None = None


class Found(NamedTuple):
    """How it stands with a signal; `outcome` is None until it is settled, `deadline` in Unix seconds."""

    owner: Owner
    deadline: float
    outcome: Case | None


class SignalLimits(msgspec.Struct, frozen=True):
    """How many there may be.

    Attributes:
        signals: of all owners together, or of a workspace, with those that are settled and not forgotten.
        owned: of one owner that are not settled.
        waiters: calls that await one signal at the same time in a process.
        size: bytes of what one is settled with.
        total: bytes of all that.
        most: seconds until a deadline, at most.
        deadline: seconds until it, where none is given.
        kept: seconds for which a signal is kept that is settled.
    """

    signals: int = 10_000
    owned: int = 1_000
    waiters: int = 100
    size: int = 1024 * 1024
    total: int = 64 * 1024 * 1024
    most: float = 30 * 86_400.0
    deadline: float = 86_400.0
    kept: float = 86_400.0


DEFAULT_LIMITS: Final = SignalLimits()


class Signals(Protocol):
    """Where signals are. For all threads and event loops."""

    async def create(
        self, owner: Owner, seconds: float | None = None, form: Mapping[str, Any] | None = None
    ) -> str:
        """The id of a new signal, which nobody can guess.

        Args:
            seconds: until its deadline; a day if None.
            form: JSON Schema of what it may be settled with as `ok(…)`, as `mixkit.answers` has it, None besides;
                None for anything.

        Raises:
            FFIError: there are too many, or it is no time that can be waited for, or that is no schema of a form.
        """
        ...

    async def wait(self, ids: Sequence[str], owner: Owner, seconds: float) -> tuple[str, Case]:
        """The first of some signals that is or will be settled, and with what.

        Args:
            seconds: how long to wait at most.

        Raises:
            NotFound: one of them is no signal of this owner.
            FFIError: too many await one of them.
            TimeoutError: none was settled in time.
        """
        ...

    async def settle(self, id: str, outcome: Case) -> None:
        """Settle it. It is kept when this answers.

        Raises:
            NotFound: no such signal.
            Settled: it was before, or its deadline has passed.
            FFIError: what it is to be settled with is too large, contains a Token, or is no answer to its form, which
                leaves it as it is; or too much is kept already.
        """
        ...

    async def find(self, id: str) -> Found:
        """How it stands with it. `NotFound` if there is none."""
        ...


def new_id() -> str:
    """An id that nobody can guess: 32 hex digits."""
    return secrets.token_hex(16)


def unknown() -> NotFound:
    """The one error for all that is none, or none that somebody may know of."""
    return NotFound("no such signal: it was never created, is not yours, or is too old")


def deadline_of(limits: SignalLimits, seconds: float | None) -> float:
    """The seconds until a deadline. `FFIError` if it cannot be that."""
    wanted = limits.deadline if seconds is None else seconds
    if not 0 < wanted <= limits.most:
        raise FFIError(f"expected a deadline in at most {limits.most:g} s, above 0, found {wanted:g} s")
    return wanted


def sealed(limits: SignalLimits, outcome: Case) -> bytes:
    """The words that are kept of what a signal is settled with. `FFIError` if it cannot be kept."""
    try:
        words = encode(outcome)
    except ValueKindError as exc:
        raise FFIError(f"cannot send the value: {exc}") from None
    if len(words) > limits.size:
        raise FFIError(f"a signal carries at most {limits.size} bytes, found {len(words)}")
    return words


def form_words(limits: SignalLimits, form: Mapping[str, Any]) -> bytes:
    """The words that are kept of a form. `FFIError` if it is none, or cannot be kept."""
    check_form(form)
    return sealed(limits, ok(form))


def check_outcome(form: bytes | None, outcome: Case) -> None:
    """`FFIError` if that is no answer to the form of a signal, by what `form_words` made of it. `ok(None)` declines."""
    if form is not None and outcome.name == "ok" and outcome.arg is not None:
        check_answer(opened(form).arg, outcome.arg)


def opened(words: bytes) -> Case:
    """What `sealed` made words of."""
    found: Value = decode(words)
    assert isinstance(found, Case)
    return found
