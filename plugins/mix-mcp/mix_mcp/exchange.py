"""A call of a tool as its agent sees it: the client can be told how far it is, and be asked.

A client of today is asked by an answer that says what is missing; it calls again with that. The agent is run anew
then, and what it asks the second time is answered at once. What was answered before travels in a state that is sealed:
for that caller, that tool, those arguments, and some minutes.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import reduce
from typing import TYPE_CHECKING, Any, Final

import msgspec

from mix_mcp.answers import fits, needs
from mix_mcp.message import INVALID_PARAMS, Fault, notification
from mixkit import tagged_json
from mixkit.errors import FFIError, KeyRingError, TaggedJSONError, shortened

if TYPE_CHECKING:
    from mix_mcp.revision import Client
    from mixkit.keyring import KeyRing

__all__ = ["Ask", "Exchange", "Seal", "together"]

Ask = Callable[[Mapping[str, Any]], Awaitable[dict[str, Any]]]
"""Asks several things, by name, and answers what came of each."""


def together(ask_one: Callable[[str, Any], Awaitable[Any]]) -> Ask:
    """What asks several things at once, of what asks one: its method, with its params."""

    async def ask(requests: Mapping[str, Any]) -> dict[str, Any]:
        answers = await asyncio.gather(
            *(ask_one(each["method"], each["params"]) for each in requests.values())
        )
        return dict(zip(requests, answers, strict=True))

    return ask


_PURPOSE: Final = "mcp state"
_GOOD_FOR: Final = 900
"""Seconds that somebody has to answer."""
_INTERVAL: Final = 0.01
"""Seconds between two messages of how far a run is."""
_MOST_SHOWN: Final = 1_000
"""Characters of what such a message says."""


class _State(msgspec.Struct, array_like=True):
    until: int
    answers: dict[str, Any]


class Seal:
    """Seals what a client carries from one round to the next.

    Args:
        keyring: of the server; all its processes have the same.
        of: what the state is good for: who calls, what, with which arguments.
    """

    def __init__(self, keyring: KeyRing, of: Any) -> None:
        self._keyring = keyring
        self._what = of

    @property
    def _of(self) -> bytes:
        return hashlib.sha256(msgspec.json.encode(self._what, order="sorted")).digest()

    def close(self, answers: dict[str, Any]) -> str:
        """The state, as text."""
        state = _State(int(time.time()) + _GOOD_FOR, answers)
        return self._keyring.seal(_PURPOSE, msgspec.msgpack.encode(state), self._of).hex()

    def open(self, text: Any) -> dict[str, Any]:
        """The answers in it.

        Raises:
            Fault: it was not sealed here, not for this call, or too long ago.
        """
        try:
            opened = self._keyring.open(_PURPOSE, bytes.fromhex(text), self._of)
            state = msgspec.msgpack.decode(opened, type=_State)
        except (TypeError, ValueError, KeyRingError):
            raise Fault(INVALID_PARAMS, "expected requestState as it was sent to you for this call") from None
        if state.until < time.time():
            raise Fault(INVALID_PARAMS, "requestState is not good any more: call again without it")
        return state.answers


class Exchange:
    """Who waits for the answer of a tool; what `mixkit.waiting.Waiting` asks for.

    Args:
        client: what it can do.
        tell: sends it a message, on the event loop.
        answers: what it sends as answers, by the names of the questions.
        ask_now: asks a client that answers while its call is open; None for one that calls again.

    Attributes:
        answered: what it has answered so far.
        lacking: what it was to be asked and cannot be, as its capabilities would have it.
        missing: what was asked and not answered; set when `needs` is done.
        needs: done when the run cannot go on without an answer.
    """

    def __init__(
        self,
        client: Client,
        tell: Callable[[bytes], None],
        answers: dict[str, Any],
        ask_now: Ask | None = None,
    ) -> None:
        self._client = client
        self._tell = tell
        self._ask_now = ask_now
        self._loop = asyncio.get_running_loop()
        self._needs: asyncio.Future[None] | None = None
        self._count = 0
        self._told = -math.inf
        self._progress: dict[str, Any] | None = None
        self._telling = False
        self._not_before = 0.0
        self._answers = answers
        self.answered: dict[str, Any] = {}
        self.lacking: dict[str, Any] = {}
        self.missing: dict[str, Any] = {}
        self._going_on: asyncio.Future[None] | None = None

    @property
    def needs(self) -> asyncio.Future[None]:
        # PERF: most have nobody who waits for it.
        if self._needs is None:
            self._needs = self._loop.create_future()
        return self._needs

    def progress(self, done: float, total: float | None, message: str | None) -> None:
        """Tell a client that wants to hear of it. What does not go on is not told: a client may refuse it."""
        token = self._client.progress
        if token is None or done <= self._told:
            return
        self._told = done
        params: dict[str, Any] = {"progressToken": token, "progress": done}
        if total is not None:
            params["total"] = total
        if message is not None:
            params["message"] = shortened(message, _MOST_SHOWN)
        # The latest is told, and not all of what comes faster than anybody reads.
        self._progress = params
        if not self._telling:
            self._telling = True
            self._loop.call_soon_threadsafe(self._tell_progress)

    def _tell_progress(self) -> None:
        now = self._loop.time()
        if now < self._not_before:
            self._loop.call_at(self._not_before, self._tell_progress)
            return
        self._not_before = now + _INTERVAL
        self._telling = False
        self.end()

    def end(self) -> None:
        """Tell what has not been told yet: the run has ended."""
        params, self._progress = self._progress, None
        if params is not None:
            self._tell(notification("notifications/progress", params))

    def number(self) -> int:
        self._count += 1
        return self._count

    async def ask(self, requests: Mapping[str, Any]) -> dict[str, Any]:
        plain = {name: self._plain(name, request) for name, request in requests.items()}
        for name, request in plain.items():
            if name not in self.answered and fits(request, self._answers.get(name)):
                self.answered[name] = self._answers[name]
        missing = {name: request for name, request in plain.items() if name not in self.answered}
        if not missing:
            return {name: self.answered[name] for name in plain}
        if self._ask_now is None:
            self.missing |= missing
            if not self.needs.done():
                self.needs.set_result(None)
            # This run ends here; the one that comes with the answer gets further. Or the call becomes a task.
            if self._going_on is None:
                self._going_on = self._loop.create_future()
            await self._going_on
        assert self._ask_now is not None
        answers = await self._ask_now(missing)
        for name, request in missing.items():
            if not fits(request, answers.get(name)):
                raise FFIError(f"the client has answered {request['method']} with what does not fit")
        self.answered |= answers
        return {name: self.answered[name] for name in plain}

    def ask_now(self, ask: Ask) -> None:
        """From now on what is asked is asked at once: the call has become a task."""
        self._ask_now = ask
        self.missing.clear()
        if self._going_on is not None and not self._going_on.done():
            self._going_on.set_result(None)

    def _plain(self, name: str, request: dict[str, Any]) -> dict[str, Any]:
        method, params = request["method"], request.get("params") or {}
        needed = next((path for path in needs(method, params) if not self._client.can(*path)), None)
        if needed is not None:
            self.lacking |= reduce(lambda inner, key: {key: inner}, reversed(needed), dict[str, Any]())
            raise FFIError(f"the client cannot be asked for {method}: it has no {'.'.join(needed)}")
        try:
            return {"method": method, "params": msgspec.json.decode(tagged_json.dumps(params, plain=True))}
        except TaggedJSONError as exc:
            raise FFIError(f"{name}: JSON cannot hold the params: {exc}") from None
