"""What a broker carries, brought to the bus of the server's processes: there it is kept, and can be followed."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Final

from mixkit.bus import BusError, BusLost, MessagesMissed

if TYPE_CHECKING:
    from collections.abc import Callable

    from mixkit.bus import Bus
    from mixkit.shared_bus import SharedBus

__all__ = ["Bridge"]

_log = logging.getLogger("mixkit.server")

_LOOK: Final = 0.5
"""Seconds between looks whether this process carries the messages."""
_PAUSE: Final = 2.0
"""Seconds before a broker is tried again that could not be used."""


class Bridge:
    """Brings the messages of short topics from a broker, in the process that carries the messages of all.

    Args:
        bus: answers the bus of the processes.
        broker: makes the other one.
        prefix: the first level of the topics.
    """

    def __init__(self, bus: Callable[[], SharedBus], broker: Callable[[], Bus], prefix: str) -> None:
        self._bus = bus
        self._broker = broker
        self._prefix = prefix
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin, in this process, which does not fork any more."""
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        """End it."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        joined = False
        while True:
            try:
                bus = self._bus()
                if not joined:
                    # Who uses it takes part in it, and may come to carry the messages.
                    (await bus.subscribe(f"$bridge/{self._prefix}")).close()
                    joined = True
                if bus.leads:
                    await self._bring(bus)
                await asyncio.sleep(_LOOK)
            except BusError as exc:
                _log.warning("topics cannot be brought from the broker: %s", exc)
                await asyncio.sleep(_PAUSE)
            except Exception:
                _log.exception("topics cannot be brought from the broker")
                await asyncio.sleep(_PAUSE)

    async def _bring(self, bus: SharedBus) -> None:
        """Bring them as long as this process carries the messages."""
        broker, subscription = self._broker(), None
        try:
            subscription = await broker.subscribe(f"{self._prefix}/#")
            # What was said before that is not known.
            bus.renew_rings()
            while bus.leads:
                try:
                    message = await subscription.next(_LOOK)
                except TimeoutError:
                    continue
                except MessagesMissed:
                    bus.renew_rings()
                    continue
                if message.retained:
                    continue
                owner = tuple(message.topic.split("/")[2:4])
                with contextlib.suppress(BusLost):
                    await bus.publish(message.topic, message.payload, text=message.text, owner=owner)
        finally:
            if subscription is not None:
                subscription.close()
            await broker.close()
