"""What a request does, as activities have it: a resource says of which kind its methods are."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from mixkit.activities import Activity, Kind, Result
from mixkit.errors import CancelledRun, LimitExceeded, NotFound, RunError, shortened
from mixkit.schema import Mismatch

if TYPE_CHECKING:
    from mix_server.caller import Caller, Resource
    from mix_server.request import Request

__all__ = ["activity_by", "activity_of", "call_by", "done_by", "result_of"]

_LONGEST = 100
"""Characters of a name: that of what is there has fewer."""


def activity_of(resource: Any, method: str) -> Kind | None:
    """What a method of a Falcon resource does, as its `activities` say; None if it is not to be noted.

    One that everybody may ask, or that admits by itself, sets `Request.activity` when it has let somebody in.
    """
    kinds: Mapping[str, Kind] | None = getattr(resource, "activities", None)
    return None if kinds is None else kinds.get(method)


Done: TypeAlias = tuple[Kind, "Caller | None", "Resource", str, int, float, int, Mapping[str, Any] | None]
"""Kind, caller and resource of a request, its id, when it was answered (Unix nanoseconds), the seconds it took, its
status, and more of what was done."""


def done_by(req: Request, kind: Kind, status: int) -> Done:
    """What a request did that is answered now."""
    # PERF: called for every run; all else is made of it behind the answer.
    seconds = time.perf_counter() - req.started
    return kind, req.caller, req.resource, req.id, time.time_ns(), seconds, status, req.about


def activity_by(done: Done) -> Activity:
    """What was done, as it is noted."""
    kind, caller, resource, id, ended, seconds, status, about = done
    workspace, app, agent = resource
    if status >= 400:
        workspace, app, agent = _short(workspace), _short(app), _short(agent)
    return Activity(
        kind=kind,
        subject="anonymous" if caller is None else caller.named,
        time=ended // 1_000 - int(seconds * 1e6),
        workspace=workspace,
        app=app,
        agent=agent,
        run=id,
        seconds=seconds,
        result=Result.of(status),
        status=status,
        about=None if about is None else dict(about),
    )


Call: TypeAlias = tuple["Caller", "Resource", "Resource", str, int, float, Result]
"""Who asked for a run, the agent of it that called another one, that one, the run, when it ended (Unix nanoseconds),
the seconds it took, and how it ended."""


def call_by(call: Call) -> Activity:
    """The run of an agent that another one called, as it is noted: under the identity of the run that began it all."""
    who, calling, called, run, ended, seconds, result = call
    return Activity(
        kind=Kind.RUN,
        subject=who.named,
        time=ended // 1_000 - int(seconds * 1e6),
        workspace=called.workspace,
        app=called.app,
        agent=called.agent,
        run=run,
        seconds=seconds,
        result=result,
        about={"called_by": f"{calling.app}/{calling.agent}"},
    )


def result_of(failure: BaseException | None) -> Result:
    """How a run ended that failed with that, if it did."""
    cause = failure.__cause__ if isinstance(failure, RunError) else failure
    match failure:
        case None:
            return Result.OK
        case _ if isinstance(cause, LimitExceeded) and cause.limit == "wall_time":
            return Result.TIMEOUT
        case RunError(panic_code="internal"):
            return Result.FAULT
        case RunError() | LimitExceeded():
            return Result.FAILED
        case Mismatch() | NotFound():
            return Result.REFUSED
        case CancelledRun():
            return Result.STOPPED
        case Exception():
            return Result.FAULT
        case _:
            # It was cancelled.
            return Result.STOPPED


def _short(name: str | None) -> str | None:
    return None if name is None else shortened(name, _LONGEST)
