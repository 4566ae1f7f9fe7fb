"""What changes while a client listens: the lists of tools, prompts and resources that are its own, and resources.

Once a second is looked whether an app was installed, a grant given or a database written, in any process, which takes
microseconds; only then are lists made and compared.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, Final

import msgspec

from mix_mcp.message import INVALID_PARAMS, Fault
from mixkit.errors import NotFound

if TYPE_CHECKING:
    from mix_server.caller import Caller

    from mix_mcp.agents import AgentTools
    from mix_mcp.library import Library

__all__ = ["EVERYTHING", "Filter", "Watch"]

_PERIOD: Final = 1.0
_MOST_RESOURCES: Final = 100


class Filter(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """What a client wants to hear of."""

    tools_list_changed: bool = False
    prompts_list_changed: bool = False
    resources_list_changed: bool = False
    resource_subscriptions: tuple[str, ...] = ()

    @classmethod
    def of(cls, found: Any) -> Filter:
        """What a client has sent as such. `Fault` if it is none."""
        try:
            wanted = msgspec.convert(found, cls)
        except msgspec.ValidationError as exc:
            raise Fault(INVALID_PARAMS, f"expected notifications as a filter of them: {exc}") from None
        if len(wanted.resource_subscriptions) > _MOST_RESOURCES:
            raise Fault(INVALID_PARAMS, f"expected at most {_MOST_RESOURCES} resources to listen to")
        return wanted


EVERYTHING: Final = Filter(True, True, True)


class Watch:
    """One client that listens.

    Args:
        tools, library: of the workspace.
        who: listens: changes of what they may not see are none.
        wanted: what it wants to hear of.
    """

    def __init__(self, tools: AgentTools, library: Library, who: Caller, wanted: Filter) -> None:
        self._tools = tools
        self._library = library
        self._who = who
        self._wanted = wanted
        self._moment: Any = None
        self._marks: dict[str, bytes] = {}

    async def begin(self) -> None:
        """What is there now is no change. `NotFound` if the workspace is gone."""
        await self._look()

    async def follow(self, uri: str) -> None:
        """It wants to hear of that resource too. `Fault` if these are too many."""
        followed = self._wanted.resource_subscriptions
        if uri in followed:
            return
        if len(followed) >= _MOST_RESOURCES:
            raise Fault(INVALID_PARAMS, f"expected at most {_MOST_RESOURCES} resources to listen to")
        self._marks[uri] = _mark(await self._library.mark(self._who, uri))
        self._follow((*followed, uri))

    def leave(self, uri: str) -> None:
        """It does not any more."""
        self._follow(tuple(each for each in self._wanted.resource_subscriptions if each != uri))

    def _follow(self, uris: tuple[str, ...]) -> None:
        self._wanted = msgspec.structs.replace(self._wanted, resource_subscriptions=uris)

    async def changes(self) -> AsyncIterator[tuple[str, dict[str, Any]]]:
        """Methods and params of notifications, as they come; ends with the workspace."""
        while True:
            await asyncio.sleep(_PERIOD)
            try:
                changed = await self._look()
            except NotFound:
                return
            for mark in changed:
                if mark in ("tools", "prompts", "resources"):
                    yield f"notifications/{mark}/list_changed", {}
                else:
                    yield "notifications/resources/updated", {"uri": mark}

    async def _look(self) -> list[str]:
        """What has another mark than before."""
        moment = (self._tools.moment(), await self._library.moment(self._who))
        if moment == self._moment:
            return []
        wanted, found = self._wanted, dict[str, bytes]()
        if wanted.tools_list_changed:
            found["tools"] = _mark([bytes(tool.listed) for tool in await self._tools.listed(self._who)])
        if wanted.prompts_list_changed:
            prompts = await self._library.prompts(self._who)
            found["prompts"] = _mark([prompt.listed for prompt in prompts.values()])
        if wanted.resources_list_changed:
            resources = await self._library.resources(self._who)
            found["resources"] = _mark([resources, await self._library.templates(self._who)])
        for uri in wanted.resource_subscriptions:
            found[uri] = _mark(await self._library.mark(self._who, uri))
        changed = [
            mark for mark in found if self._moment is not None and found[mark] != self._marks.get(mark)
        ]
        self._moment, self._marks = moment, found
        return changed


def _mark(found: Any) -> bytes:
    return hashlib.sha256(msgspec.msgpack.encode(found)).digest()
