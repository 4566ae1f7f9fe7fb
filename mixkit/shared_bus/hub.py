"""The process that carries the messages: it takes them from all, itself among them, and hands them on."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections import Counter
from collections.abc import Callable
from typing import Final

from mixkit.bus import Beginning, BusError, BusFull, Message, check_filter, check_topic
from mixkit.local_bus import BusLimits, Exchange
from mixkit.shared_bus.frames import (
    Answer,
    Deliver,
    FrameError,
    Frames,
    FromHub,
    Missed,
    Publish,
    Subscribe,
    ToHub,
    frame,
    most_bytes,
)
from mixkit.shared_bus.kept import Kept
from mixkit.shared_bus.meeting import Lead, check_peer

__all__ = ["Hub"]

_log = logging.getLogger("mixkit.bus")

_LOOK: Final = 0.5
"""Seconds between looks whether the directory is still there."""

_PEERS: Final = 1_000
_LAST_WORDS: Final = 1.0
"""Seconds to hand out what was acknowledged, when it ends in order."""


class _Peer(asyncio.Protocol):
    """A process that is connected."""

    def __init__(self, hub: Hub, connection: socket.socket) -> None:
        self._hub = hub
        self.connection = connection
        # `ToHub` is no type for mypy, but a union of them.
        self._frames: Frames[ToHub] = Frames(ToHub, most_bytes(hub.limits.max_message_bytes))  # type: ignore[arg-type]
        self._transport: asyncio.Transport | None = None
        self._full = False
        self._missed: Counter[int] = Counter()
        self.subscriptions: set[int] = set()
        self.gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.set_write_buffer_limits(high=self._hub.backlog, low=self._hub.backlog // 2)

    def connection_lost(self, exc: Exception | None) -> None:
        self._hub.left(self)
        self.gone.set_result(None)

    def data_received(self, data: bytes) -> None:
        try:
            for found in self._frames.feed(data):
                self._hub.received(self, found)
        except FrameError as exc:
            _log.warning("a process was cut off the bus: %s", exc)
            self.abort()

    def pause_writing(self) -> None:
        self._full = True

    def resume_writing(self) -> None:
        self._full = False
        counts = {number: count for number, count in self._missed.items() if number in self.subscriptions}
        self._missed.clear()
        if counts:
            self.send(Missed(counts))

    def deliver(self, numbers: list[int], message: Message) -> None:
        """Hand on a message, or count that it was too slow for it."""
        if self._full:
            self._missed.update(numbers)
        else:
            begins = type(message) is Beginning
            self.send(
                Deliver(
                    numbers,
                    message.topic,
                    message.payload,
                    message.retained,
                    message.text,
                    message.id,
                    begins,
                )
            )

    def send(self, what: FromHub) -> None:
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        transport.write(frame(what))
        # It takes nothing, and yet wants answers without end.
        if transport.get_write_buffer_size() > 4 * self._hub.backlog:
            _log.warning("a process was cut off the bus: it takes nothing")
            transport.abort()

    def close(self) -> None:
        """After what waits was sent."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()


class Hub:
    """Carries the messages while its process has the lead. Belongs to its event loop."""

    def __init__(self, lead: Lead, kept: Kept, limits: BusLimits) -> None:
        self.limits = limits
        self.backlog = 4 * most_bytes(limits.max_message_bytes)
        self._lead = lead
        self._kept = kept
        self._exchange: Exchange[tuple[_Peer, int]] = Exchange(limits)
        self.peers: set[_Peer] = set()
        for message, owner in kept.load():
            try:
                self._exchange.retain(message, owner)
            except BusError:  # The limits are narrower than they were.
                kept.keep(Message(message.topic, b""), owner)
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._accept()), loop.create_task(self._watch())]

    @property
    def leads(self) -> bool:
        """Whether others can find it."""
        return self._lead.stands

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, _ = await loop.sock_accept(self._lead.listener)
            except OSError as exc:  # Too many files are open: it may get better.
                _log.warning("a process cannot be let into the bus: %s", exc.strerror)
                await asyncio.sleep(_LOOK)
                continue
            try:
                check_peer(connection)
                if len(self.peers) >= _PEERS:
                    raise BusError(f"{_PEERS} processes share the bus, which is the limit")
            except BusError as exc:
                _log.warning("a process was not let into the bus: %s", exc)
                connection.close()
                continue
            peer = _Peer(self, connection)
            self.peers.add(peer)
            try:
                await loop.connect_accepted_socket(lambda peer=peer: peer, connection)  # type: ignore[misc]
            except OSError:  # It has left again.
                self.peers.discard(peer)
                connection.close()

    async def _watch(self) -> None:
        while self._lead.stands:  # noqa: ASYNC110 - the file system tells nobody
            await asyncio.sleep(_LOOK)
        _log.warning("the directory of the bus was removed; its processes meet in a new one")
        self._tasks[0].cancel()
        for peer in list(self.peers):
            peer.close()
        self._lead.close()

    def received(self, peer: _Peer, what: ToHub) -> None:
        """Do what a process asks for."""
        if isinstance(what, Publish):
            self._answer(peer, what.number, lambda: self._publish(what))
        elif isinstance(what, Subscribe):
            self._answer(peer, what.number, lambda: self._subscribe(peer, what))
        else:
            peer.subscriptions.discard(what.subscription)
            self._exchange.leave((peer, what.subscription))

    def _answer(self, peer: _Peer, number: int, do: Callable[[], None]) -> None:
        try:
            do()
        except BusError as exc:
            peer.send(Answer(number, str(exc), isinstance(exc, BusFull)))
        else:
            peer.send(Answer(number))

    def _publish(self, what: Publish) -> None:
        self.limits.check(what.topic, what.payload)
        message = Message(what.topic, what.payload, text=what.text)
        if what.retain:
            self._exchange.retain(message, what.owner, lambda message: self._kept.keep(message, what.owner))
        message = self._exchange.add(message, what.owner)
        numbers: dict[_Peer, list[int]] = {}
        for peer, number in self._exchange.matching(what.topic):
            numbers.setdefault(peer, []).append(number)
        for peer, mine in numbers.items():
            peer.deliver(mine, message)

    def _subscribe(self, peer: _Peer, what: Subscribe) -> None:
        (check_topic if what.follows else check_filter)(what.filter)
        if what.subscription in peer.subscriptions:
            raise BusError(f"there is a subscription {what.subscription} already")
        enter = self._exchange.follow if what.follows else self._exchange.subscribe
        first = enter(what.filter, (peer, what.subscription), what.owner)
        peer.subscriptions.add(what.subscription)
        for message in first:
            peer.deliver([what.subscription], message)

    def renew_rings(self) -> None:
        """Begin all rings anew, and tell those who follow."""
        for (peer, number), beginning in self._exchange.renew():
            peer.deliver([number], beginning)

    def left(self, peer: _Peer) -> None:
        """A process has gone."""
        self.peers.discard(peer)
        for number in peer.subscriptions:
            self._exchange.leave((peer, number))

    async def close(self) -> None:
        """Hand out what was acknowledged, then let another lead."""
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)
        peers = list(self.peers)
        for peer in peers:
            peer.close()
        if peers:
            _, late = await asyncio.wait([peer.gone for peer in peers], timeout=_LAST_WORDS)
            for peer in peers:
                if peer.gone in late:
                    peer.abort()
        self._lead.close()

    def forget(self) -> None:
        """In a forked child: nothing of it is ours."""
        self._lead.forget()
        for peer in self.peers:
            peer.connection.close()
