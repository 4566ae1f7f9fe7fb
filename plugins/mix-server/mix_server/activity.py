"""What a request does, as activities have it: a resource says of which kind its methods are."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mixkit.activities import Activity, Kind, Result, now
from mixkit.errors import shortened

if TYPE_CHECKING:
    from mix_server.request import Request

__all__ = ["activity_by", "activity_of"]

_LONGEST = 100
"""Characters of a name: that of what is there has fewer."""


def activity_of(resource: Any, method: str) -> Kind | None:
    """What a method of a Falcon resource does, as its `activities` say; None if it is not to be noted.

    One that everybody may ask, or that admits by itself, sets `Request.activity` when it has let somebody in.
    """
    kinds: Mapping[str, Kind] | None = getattr(resource, "activities", None)
    return None if kinds is None else kinds.get(method)


def activity_by(req: Request, kind: Kind, status: int) -> Activity:
    """What a request did that is answered now."""
    # PERF: called for every run.
    seconds = time.perf_counter() - req.started
    caller = req.caller
    workspace, app, agent = req.resource
    if status >= 400:
        workspace, app, agent = _short(workspace), _short(app), _short(agent)
    return Activity(
        kind=kind,
        subject="anonymous" if caller is None else caller.named,
        time=now() - int(seconds * 1e6),
        workspace=workspace,
        app=app,
        agent=agent,
        run=req.id,
        seconds=seconds,
        result=Result.of(status),
        status=status,
        about=req.about,
    )


def _short(name: str | None) -> str | None:
    return None if name is None else shortened(name, _LONGEST)
