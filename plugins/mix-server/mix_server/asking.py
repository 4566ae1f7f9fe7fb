"""Who waits for a run over plain HTTP, as its agent may talk to them: a question is the answer to the request.

The run goes on behind that answer, which names two signals: one that takes what is said to the question, and one that
the run settles. That one has the next question, if there is one, and names another then.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec

from mixkit import tagged_json
from mixkit.answers import check_form
from mixkit.errors import FFIError, NotFound, TaggedJSONError
from mixkit.signals import CANCELED, TIMEOUT, Owner
from mixkit.value import Case

if TYPE_CHECKING:
    from collections.abc import Callable

    from mix_server.caller import Caller
    from mix_server.catalog import Target
    from mix_server.detached import Detached
    from mix_server.postponed import Going
    from mix_server.request import Request
    from mixkit.signals import Signals

__all__ = ["Asking", "owner_of"]

_FORM: Final = "elicitation/create"


def owner_of(target: Target, who: Caller) -> Owner:
    """Whose the signals of a run are: those of who has called, in the app."""
    place = target.place
    return Owner(place.workspace, place.app, who.user, place.home.parent.name)


class Asking:
    """Implements `mixkit.waiting.Waiting` for one run.

    Args:
        signals: answers where signals are.
        req: wants it to run.
        target: what runs.
        seconds: for which it may run, from when the request came.

    Attributes:
        run: left when there is a first question: the request is to be answered then. None if it was.
        question: that one, as the caller gets it.
    """

    # PERF: nearly no run asks; these are for those that do.
    _count = 0
    _going: asyncio.Future[Going] | None = None
    run: Detached[Any] | None = None
    question: dict[str, Any] | None = None

    def __init__(self, signals: Callable[[], Signals], req: Request, target: Target, seconds: float) -> None:
        self._signals = signals
        self._req = req
        self._target = target
        self._seconds = seconds

    def progress(self, done: float, total: float | None, message: str | None) -> None:
        """Nobody hears of it."""

    def number(self) -> int:
        self._count += 1
        return self._count

    async def ask(self, requests: Mapping[str, Any]) -> dict[str, Any]:
        who = self._req.who
        if who.user is None and not who.operator:
            raise FFIError("nobody to ask: the caller has not said who they are")
        for request in requests.values():
            if request["method"] != _FORM or request["params"].get("mode", "form") != "form":
                raise FFIError(
                    f"a caller over HTTP can be asked with a form only, not for {request['method']}"
                )
        return {name: await self._ask(request["params"]) for name, request in requests.items()}

    def goes_on(self, going: Going) -> None:
        """The request is answered; `going` settles what its caller awaits."""
        if self._going is None:
            self._going = asyncio.get_running_loop().create_future()
        self._going.set_result(going)

    async def _ask(self, params: Mapping[str, Any]) -> dict[str, Any]:
        message, form = _plain(params.get("message")), _plain(params.get("requestedSchema"))
        check_form(form)
        seconds = self._seconds - (time.perf_counter() - self._req.started)
        if seconds <= 0:
            raise FFIError("timeout")
        signals, owner = self._signals(), owner_of(self._target, self._req.who)
        id = await signals.create(owner, seconds, form)
        try:
            await self._tell({"message": message, "schema": form, "url": f"/v1/signals/{id}"})
            _, outcome = await signals.wait([id], owner, seconds)
        except TimeoutError:
            outcome = TIMEOUT
        finally:
            # Who answers now is told that it is too late. If it is answered, or the run was stopped by that, it stays.
            with contextlib.suppress(FFIError, NotFound):
                await signals.settle(id, CANCELED)
        return _answer(outcome)

    async def _tell(self, question: dict[str, Any]) -> None:
        if self.run is not None:
            run, self.run = self.run, None
            self.question = question
            run.leave()
            return
        if self._going is None:
            self._going = asyncio.get_running_loop().create_future()
        # Several questions may wait for it.
        going = await asyncio.shield(self._going)
        await going.ask(question)


def _answer(outcome: Case) -> dict[str, Any]:
    if outcome == TIMEOUT:
        raise FFIError("timeout")
    if outcome.name != "ok":
        return {"action": "cancel"}
    return {"action": "decline"} if outcome.arg is None else {"action": "accept", "content": outcome.arg}


def _plain(value: Any) -> Any:
    try:
        return msgspec.json.decode(tagged_json.dumps(value, plain=True))
    except TaggedJSONError as exc:
        raise FFIError(f"JSON cannot hold the question: {exc}") from None
