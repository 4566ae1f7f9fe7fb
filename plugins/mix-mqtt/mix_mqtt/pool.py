"""Which bus a run has: the broker's, one connection for each app and set of granted topics; or the kernel's own."""

from __future__ import annotations

import os
import threading
from collections.abc import AsyncGenerator, Hashable
from typing import TYPE_CHECKING

from mix_mqtt.settings import MqttSettings
from mix_mqtt.topics import OPTION, patterns
from mixkit.bus import Bus, BusFull
from mixkit.importing import imported
from mixkit.state import State

if TYPE_CHECKING:
    import asyncio

    from mix_mqtt.bus import BrokerBus

__all__ = ["bus_for"]


class _Pooled:
    """A bus, and what closes it when its event loop ends."""

    def __init__(self, loop: asyncio.AbstractEventLoop, bus: BrokerBus) -> None:
        self.loop = loop
        self.bus = bus
        self.keeper = self._keep()

    async def _keep(self) -> AsyncGenerator[None, None]:
        # asyncio.run, and every runner like it, finishes the loop's asynchronous generators before it closes the loop.
        try:
            yield
        finally:
            await self.bus.close()


class _Found:
    """The bus of a run, once it was looked for."""

    def __init__(self, pooled: _Pooled) -> None:
        self.pooled = pooled


_pooled: dict[tuple[Hashable, ...], _Pooled] = {}
_lock = threading.Lock()


async def bus_for(state: State, settings: MqttSettings) -> Bus:
    """The bus of a run.

    The process is part of what tells them apart because a child must not use the connections of its parent.

    Raises:
        BusFull: this process has as many connections as the settings allow.
    """
    if not settings.broker:
        return state.services.bus
    import asyncio

    loop = asyncio.get_running_loop()
    # PERF: looking for it takes as long as checking a message.
    found = state.get(_Found)
    if found is not None and found.pooled.loop is loop and not found.pooled.bus.closed:
        return found.pooled.bus
    pooled = await _pooled_for(state, settings, loop)
    # Another call of the run may have been quicker.
    (state.get(_Found) or state.put(_Found(pooled))).pooled = pooled
    return pooled.bus


async def _pooled_for(state: State, settings: MqttSettings, loop: asyncio.AbstractEventLoop) -> _Pooled:
    await imported("mix_mqtt.bus")
    granted = tuple(sorted(patterns(layer)) for layer in state.grants.option(OPTION))
    key = (os.getpid(), id(loop), settings, state.env.workspace, state.env.app, repr(granted))
    with _lock:
        known = _pooled.get(key)
        if known is not None and known.loop is loop:
            return known
        for other, pooled in list(_pooled.items()):
            if pooled.loop.is_closed() or (pooled.loop is loop and pooled.bus.idle):
                del _pooled[other]
        here = sum(other[0] == key[0] and other[2] == settings for other in _pooled)
        if here >= settings.connections:
            raise BusFull(
                f"this process has {here} connections to the broker, which is the limit; "
                "the setting mqtt.connections raises it"
            )
        from mix_mqtt.bus import BrokerBus

        pooled = _pooled[key] = _Pooled(loop, BrokerBus(settings))
    await anext(pooled.keeper)
    return pooled
