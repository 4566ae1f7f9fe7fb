"""`$mqtt_publish`, `$mqtt_subscribe`, `$mqtt_next`, `$mqtt_unsubscribe`."""

from __future__ import annotations

from collections.abc import Hashable
from contextlib import suppress
from typing import Annotated, Any

from mix_mqtt.pool import bus_for
from mix_mqtt.settings import MqttSettings
from mix_mqtt.topics import OPTION, patterns, resolve
from mixkit.bus import BusLost, MessagesMissed, Subscription
from mixkit.errors import FFIError
from mixkit.ffi import FFIGroup
from mixkit.state import State
from mixkit.topics import Topic
from mixkit.value import Case, Result, Token

__all__ = ["group"]

group = FFIGroup(
    "mqtt",
    options={
        OPTION: "topics and filters within which messages go and come, as sensors/#, alarms/+/new, $app/#"
    },
    checks={OPTION: patterns},
)


class MqttSubscription:
    """A subscription of a run."""

    def __init__(self, subscription: Subscription, topic: Topic) -> None:
        self.subscription = subscription
        self.topic = topic


class Count:
    """How many subscriptions a run has."""

    def __init__(self) -> None:
        self.open = 0


@group.register("$mqtt_publish")
async def mqtt_publish(
    state: State,
    topic: Annotated[str, "as sensors/1, or short: $app/x"],
    payload: str | bytes,
    retain: Annotated[bool, "keep it for later subscribers; an empty one only forgets what is kept"] = False,
) -> Result[None]:
    """Publish a message, and wait until the broker has it (QoS 1). A string is marked as text. Answers `error(…)` when
    the broker refuses it, or is lost first: then it may have been delivered or not."""
    settings = _settings(state)
    found = resolve(state, settings, topic)
    data = payload.encode() if isinstance(payload, str) else payload
    if len(data) > settings.max_message_bytes:
        raise FFIError(
            f"the message has {len(data)} bytes, at most {settings.max_message_bytes} are sent; "
            "the setting mqtt.max_message_bytes raises it"
        )
    state.budget.spend("outgoing_bytes", len(data) + len(found.full.encode()))
    bus = await bus_for(state, settings)
    # The end of the run, or its deadline, cancels the wait.
    text = isinstance(payload, str)
    await bus.publish(found.full, data, retain=retain, text=text, owner=_owner(state))


@group.register("$mqtt_subscribe")
async def mqtt_subscribe(
    state: State, filter: Annotated[str, "a topic; + stands for one level, # at the end for all that follow"]
) -> Result[Token]:
    """Subscribe. Answers a handle for `$mqtt_next`; retained messages come first. The end of the run ends it."""
    settings = _settings(state)
    found = resolve(state, settings, filter, filter=True)
    count = state.get(Count) or state.put(Count())
    if count.open >= settings.subscriptions:
        raise FFIError(
            f"this run has {count.open} subscriptions; end one, or raise the setting mqtt.subscriptions"
        )
    count.open += 1
    held: MqttSubscription | None = None
    try:
        bus = await bus_for(state, settings)
        held = MqttSubscription(await bus.subscribe(found.full, owner=_owner(state)), found)

        def close(held: MqttSubscription) -> None:
            count.open -= 1
            held.subscription.close()

        return state.hold(held, close)
    except BaseException:
        if held is not None:
            held.subscription.close()
        count.open -= 1
        raise


@group.register("$mqtt_next")
async def mqtt_next(
    state: State,
    subscription: Token,
    timeout_ms: Annotated[float | None, "none waits as long as the run may"] = None,
) -> Case:
    """The next message: `message({topic, payload, retained})`, whose payload is a string if its publisher marked it as
    text, else binary; `timeout` if none came in that time; `missed(reason)` where messages are lacking, because the
    queue was full or the connection was lost, after which it goes on; `closed(reason)` when there will be none."""
    held = state.held(subscription, MqttSubscription)
    # The end of the run, or its deadline, cancels the wait.
    seconds = None if timeout_ms is None else state.budget.wait(timeout_ms)
    try:
        message = await held.subscription.next(seconds)
    except TimeoutError:
        state.budget.check_time()
        return Case("timeout")
    except MessagesMissed as exc:
        return Case("missed", str(exc))
    except BusLost as exc:
        return Case("closed", str(exc))
    state.budget.spend("outgoing_bytes", len(message.payload) + len(message.topic.encode()))
    payload: Any = message.payload
    if message.text:
        with suppress(UnicodeDecodeError):  # The mark may be a lie, and not all brokers look.
            payload = message.payload.decode()
    topic = held.topic.shown(message.topic)
    return Case("message", {"topic": topic, "payload": payload, "retained": message.retained})


@group.register("$mqtt_unsubscribe")
def mqtt_unsubscribe(state: State, subscription: Token) -> None:
    """End a subscription. Twice is harmless."""
    try:
        state.held(subscription, MqttSubscription)
    except FFIError:
        return
    state.release(subscription)


def _owner(state: State) -> Hashable:
    return (state.env.workspace, state.env.app)


def _settings(state: State) -> MqttSettings:
    settings: MqttSettings = state.services.settings("mqtt")
    return settings
