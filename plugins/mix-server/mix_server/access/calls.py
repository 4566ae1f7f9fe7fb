"""Calls from agent to agent across apps: the one who asked needs the grant, or the agent that calls."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from mix_server.access.subject import agent, subjects_named
from mix_server.caller import Permission
from mixkit.errors import NotFound

if TYPE_CHECKING:
    from mix_server.access.store import GrantStore
    from mix_server.auth import Authorizer
    from mix_server.caller import Caller, Resource

__all__ = ["may_call"]


async def may_call(
    authorizer: Authorizer, grants: GrantStore, who: Caller, calling: Resource, called: Resource
) -> bool:
    """Whether an agent may call another one of another app of its workspace, by the grants as they are now.

    Args:
        who: who asked for the run, however many agents are between.
        calling: the agent that calls.
    """
    ws = str(called.workspace)
    await authorizer.ready(who, ws)
    if authorizer.may(who, Permission.RUN, called):
        return True
    found = grants.at_hand(ws)
    if found is None:
        with contextlib.suppress(NotFound):
            found = await asyncio.to_thread(grants.of, ws)
    subjects = subjects_named(agent(ws, str(calling.app), str(calling.agent)))
    return found is not None and found.may(subjects, Permission.RUN, called)
