"""One connection to a broker, from its opening to its end; never opened again.

paho keeps messages over the end of a connection and sends them first on the next one: a message that makes the broker
go away would come first for ever. So each connection has a paho client of its own, and what the broker did not
acknowledge before the end is told to its publisher as lost.
"""

from __future__ import annotations

import asyncio
import secrets
import ssl
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from mix_mqtt.pipe import Pipe
from mix_mqtt.settings import MqttSettings
from mixkit import egress
from mixkit.bus import BusError, BusFull, BusLost, Message
from mixkit.errors import FFIError, ProfileError
from mixkit.target import EgressDenied, Target

__all__ = ["Link"]

_OVERHEAD: Final = 64
"""Bytes of a packet beside topic and payload, at most, of what we send."""

_FAILURE: Final = 0x80
"""Reason codes from here on say no."""

_TICK: Final = 1.0
"""Seconds between looks at the keep-alive."""


class _Client(Client):
    """paho, over a connection that is there already.

    Args:
        accepted: told of each message that the broker has.
    """

    def __init__(self, pipe: Pipe, accepted: Callable[[int], None]) -> None:
        super().__init__(
            CallbackAPIVersion.VERSION2,
            client_id=f"mixkit-{secrets.token_hex(10)}",
            protocol=MQTTProtocolVersion.MQTTv5,
            reconnect_on_failure=False,
        )
        self._pipe = pipe
        self._accepted = accepted

    @property
    def incoming(self) -> int:
        """Bytes of the packet that is arriving."""
        return int(self._in_packet["remaining_length"])

    def _create_socket(self) -> Any:
        # It would resolve the name itself, and take a proxy from the environment.
        return self._pipe

    def _handle_pubackcomp(self, cmd: Any) -> MQTTErrorCode:
        # PERF: paho makes objects of the reason and of its properties; that is more than half of what a publish costs.
        packet = self._in_packet["packet"]
        if cmd != "PUBACK" or len(packet) < 2 or (len(packet) > 2 and packet[2] >= _FAILURE):
            return super()._handle_pubackcomp(cmd)
        identifier = packet[0] << 8 | packet[1]
        if self._out_messages.pop(identifier, None) is not None:
            self._inflight_messages -= 1
            self._accepted(identifier)
        return MQTTErrorCode.MQTT_ERR_SUCCESS


class Link:
    """A connection that the broker accepted. Belongs to the thread of its event loop.

    Args:
        received: told of each message with the identifiers of the subscriptions that it is for.
        ended: told once when the connection has ended, with the reason in our words.
        tick: told now and then while it stands.
    """

    def __init__(
        self,
        settings: MqttSettings,
        received: Callable[[Message, list[int]], None],
        ended: Callable[[Link, str], None],
        tick: Callable[[], None],
    ) -> None:
        self._settings = settings
        self._received = received
        self._on_end = ended
        self._tick = tick
        self._loop = asyncio.get_running_loop()
        self._pipe = Pipe(self._read)
        self._reading = False
        self._client = _Client(self._pipe, self._has)
        self._accepted: asyncio.Future[None] = self._loop.create_future()
        self._answers: dict[int, asyncio.Future[list[ReasonCode]]] = {}
        self._acknowledged: dict[int, asyncio.Future[str]] = {}
        self._turn: deque[asyncio.Future[None]] = deque()
        self._free = settings.in_flight
        self._largest = 0
        self._most = settings.max_message_bytes + 128 * 1024
        self._timer: asyncio.TimerHandle | None = None
        self.end: str | None = None
        """Why it has ended, or None while it stands."""

    # -- opening --------------------------------------------------------------------------------

    async def open(self) -> None:
        """Connect to an address that was checked, and be accepted.

        Raises:
            BusLost: the broker is not to be reached, or does not accept us.
            BusError: the settings do not allow it, or the broker offers too little.
        """
        target = self._settings.target()
        try:
            async with asyncio.timeout(self._settings.connect_timeout):
                await self._dial(target)
                self._greet(target)
                await self._accepted
        except TimeoutError:
            self._finish("no answer in time")
            await self._pipe.gone()
            raise BusLost(
                f"the broker {target.netloc} did not accept the connection within "
                f"{self._settings.connect_timeout:g} s (mqtt.connect_timeout)"
            ) from None
        except BaseException:
            self._finish("it was not accepted")
            await self._pipe.gone()
            raise
        self._watch()

    async def _dial(self, target: Target) -> None:
        try:
            pinned = await egress.check(target, self._settings.policy())
        except EgressDenied as exc:
            raise BusError(str(exc)) from None
        except FFIError as exc:
            raise BusLost(f"the broker is not to be reached: {exc}") from None
        try:
            context = self._settings.context() if target.scheme == "mqtts" else None
        except ProfileError as exc:
            raise BusError(str(exc)) from None
        failure: OSError | None = None
        for address in pinned:
            try:
                await self._loop.create_connection(
                    lambda: self._pipe,
                    address.address,
                    address.port,
                    ssl=context,
                    server_hostname=None if context is None else target.host,
                )
                return
            except ssl.SSLCertVerificationError as exc:
                raise BusLost(
                    f"the broker {target.netloc}: the TLS certificate is not valid: "
                    f"{exc.verify_message or 'it does not match'}"
                ) from None
            except OSError as exc:
                failure = exc
        said = "the TLS handshake failed" if isinstance(failure, ssl.SSLError) else "cannot connect"
        raise BusLost(f"the broker {target.netloc}: {said}") from failure

    def _greet(self, target: Target) -> None:
        settings, client = self._settings, self._client
        if settings.user:
            client.username_pw_set(settings.user, settings.password or None)
        client.max_inflight_messages_set(settings.in_flight)
        client.max_queued_messages_set(0)
        client.on_connect = self._connected
        client.on_disconnect = self._disconnected
        client.on_publish = self._published
        client.on_subscribe = client.on_unsubscribe = self._answered
        client.on_message = self._message
        client.on_socket_register_write = self._writable
        properties = _properties(PacketTypes.CONNECT)
        properties.MaximumPacketSize = self._most
        client.connect_async(
            target.host, target.port, settings.keepalive, clean_start=True, properties=properties
        )
        client.reconnect()

    def _connected(self, client: Any, data: Any, flags: Any, reason: ReasonCode, properties: Any) -> None:
        if self._accepted.done():
            return
        if reason.is_failure:
            self._accepted.set_exception(BusLost(f"the broker refused the connection: {_said(reason)}"))
            return
        if getattr(properties, "MaximumQoS", 1) < 1:
            self._accepted.set_exception(
                BusError("expected a broker that acknowledges messages, found one without QoS 1")
            )
            return
        self._free = min(self._settings.in_flight, getattr(properties, "ReceiveMaximum", 65_535))
        self._largest = getattr(properties, "MaximumPacketSize", 0)
        self._accepted.set_result(None)

    # -- what paho and asyncio tell each other --------------------------------------------------

    def _writable(self, client: Any, data: Any, socket: Any) -> None:
        # PERF: all that is written in one turn of the loop leaves together.
        self._loop.call_soon(self._write)

    def _write(self) -> None:
        if self.end is None:
            self._client.loop_write()
        self._pipe.flush()

    def _read(self) -> None:
        if self.end is not None or self._reading:
            return
        self._reading = True
        try:
            while self._pipe.pending or self._pipe.ended:
                if self._client.loop_read() != MQTTErrorCode.MQTT_ERR_SUCCESS:
                    self._finish("the connection was closed")
                    return
                if self._client.incoming > self._most:
                    self._finish(
                        f"the broker sent a packet of more than {self._most} bytes, which it was told not to"
                    )
                    return
        except Exception:
            self._finish("the broker sent what is not MQTT 5")
        finally:
            self._reading = False

    def _watch(self) -> None:
        if self.end is None:
            self._client.loop_misc()
            self._tick()
            self._timer = self._loop.call_later(_TICK, self._watch)

    def _disconnected(self, client: Any, data: Any, flags: Any, reason: ReasonCode, properties: Any) -> None:
        by_broker = flags.is_disconnect_packet_from_server
        # NOTE: paho is in the middle of its own end here.
        said = (
            f"the broker ended the connection: {_said(reason)}" if by_broker else "the connection was closed"
        )
        self._finish(said)

    def _finish(self, reason: str) -> None:
        if self.end is not None:
            return
        self.end = reason
        if self._timer is not None:
            self._timer.cancel()
        self._pipe.abort()
        lost = BusLost(f"the connection to the broker was lost before it answered: {reason}")
        waiting: list[asyncio.Future[Any]] = [
            self._accepted,
            *self._answers.values(),
            *self._acknowledged.values(),
            *self._turn,
        ]
        self._answers.clear()
        self._acknowledged.clear()
        self._turn.clear()
        for future in waiting:
            if not future.done():
                future.set_exception(lost)
                future.exception()  # Nobody may be there to hear it.
        self._on_end(self, reason)

    async def close(self) -> None:
        """Say the end, and end it."""
        if self.end is None:
            self._client.on_disconnect = None
            with suppress(Exception):
                self._client.disconnect()
                self._client.loop_write()
            self._pipe.flush()
            self._pipe.close()
            self._finish("it is closed")
        await self._pipe.gone()

    # -- publishing -----------------------------------------------------------------------------

    async def publish(self, topic: str, payload: bytes, retain: bool, text: bool) -> None:
        """Send a message, and wait for the broker's word.

        Raises:
            BusError: the broker refuses it.
            BusLost: the connection ended first.
        """
        size = len(topic.encode()) + len(payload) + _OVERHEAD
        if self._largest and size > self._largest:
            raise BusError(f"the broker takes packets of at most {self._largest} bytes, found about {size}")
        await self._slot()
        properties = None
        if text:
            properties = _properties(PacketTypes.PUBLISH)
            properties.PayloadFormatIndicator = 1
        try:
            sent = self._client.publish(topic, payload, 1, retain, properties)
            if sent.rc != MQTTErrorCode.MQTT_ERR_SUCCESS:
                raise BusFull("too many messages wait for the broker's word; try again")
        except BaseException:
            self._give()
            raise
        done: asyncio.Future[str] = self._loop.create_future()
        self._acknowledged[sent.mid] = done
        if refusal := await done:
            raise BusError(f"the broker refused the message on topic {topic!r:.100}: {refusal}")

    async def _slot(self) -> None:
        if self.end is not None:
            raise BusLost(f"the connection to the broker was lost: {self.end}")
        if self._free and not self._turn:
            self._free -= 1
            return
        turn: asyncio.Future[None] = self._loop.create_future()
        self._turn.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self._give()
            raise

    def _give(self) -> None:
        while self._turn:
            turn = self._turn.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1

    def _published(self, client: Any, data: Any, mid: int, reason: ReasonCode, properties: Any) -> None:
        self._has(mid, _said(reason) if reason.is_failure else "")

    def _has(self, mid: int, refusal: str = "") -> None:
        # A run that has ended does not wait any more; its message holds its place until now all the same.
        done = self._acknowledged.pop(mid, None)
        if done is not None:
            self._give()
            if not done.done():
                done.set_result(refusal)

    # -- subscribing ----------------------------------------------------------------------------

    async def subscribe(self, filter: str, identifier: int) -> None:
        """Subscribe, or subscribe anew under another identifier; retained messages come in both cases.

        Raises:
            BusError: the broker refuses it.
            BusLost: the connection ended first.
        """
        properties = _properties(PacketTypes.SUBSCRIBE)
        properties.SubscriptionIdentifier = identifier
        (reason,) = await self._asked(
            self._client.subscribe([(filter, SubscribeOptions(qos=1))], properties=properties)
        )
        if reason.is_failure:
            raise BusError(f"the broker refused the subscription to {filter!r:.100}: {_said(reason)}")

    def unsubscribe(self, filter: str) -> None:
        """Say that the filter is not wanted any more; nobody waits for the answer."""
        if self.end is None:
            with suppress(Exception):
                self._client.unsubscribe(filter)

    async def _asked(self, sent: Any) -> list[ReasonCode]:
        code, mid = sent
        if self.end is not None or code != MQTTErrorCode.MQTT_ERR_SUCCESS:
            raise BusLost(f"the connection to the broker was lost: {self.end or 'it is closed'}")
        answer: asyncio.Future[list[ReasonCode]] = self._loop.create_future()
        self._answers[mid] = answer
        return await answer

    def _answered(self, client: Any, data: Any, mid: int, reasons: list[ReasonCode], properties: Any) -> None:
        answer = self._answers.pop(mid, None)
        if answer is not None and not answer.done():
            answer.set_result(reasons)

    def _message(self, client: Any, data: Any, message: MQTTMessage) -> None:
        properties = message.properties
        self._received(
            Message(
                message.topic,
                bytes(message.payload),
                retained=bool(message.retain),
                text=getattr(properties, "PayloadFormatIndicator", 0) == 1,
            ),
            list(getattr(properties, "SubscriptionIdentifier", ())),
        )


def _properties(packet: int) -> Any:
    made: Any = Properties  # It has no annotations.
    return made(packet)


def _said(reason: ReasonCode) -> str:
    return f"{reason} ({reason.value})"
