"""Which topics an agent may name: short ones, the host's own, and what the grants let through."""

from __future__ import annotations

from typing import Final

from mix_mqtt.settings import MqttSettings
from mixkit.bus import check_filter, covers
from mixkit.errors import FFIError, GrantError
from mixkit.state import State
from mixkit.topics import Names, Topic, check_short, expanded

__all__ = ["OPTION", "patterns", "resolve"]

OPTION: Final = "mqtt.topics"


def patterns(value: object) -> tuple[str, ...]:
    """The value of the grant option: filters as agents write them, `sensors/#` or `$app/#`.

    Raises:
        GrantError: it is no list of filters.
    """
    if not isinstance(value, list | tuple) or not all(isinstance(text, str) for text in value):
        raise GrantError(f"grant option {OPTION}: expected a list of topics or filters, found {value!r:.80}")
    for text in value:
        try:
            check_filter(text)
            if text.startswith("$"):
                check_short(text)
        except FFIError as exc:
            raise GrantError(f"grant option {OPTION}: expected filters, found {exc}") from None
    return tuple(value)


def resolve(state: State, settings: MqttSettings, text: str, *, filter: bool = False) -> Topic:
    """The topic, or filter, that an agent means.

    Raises:
        FFIError: it cannot be, names what is the host's, or is not granted.
    """
    env = state.env
    topic = expanded(text, Names(env.workspace, env.app, env.user), settings.prefix, filter=filter)
    for layer in state.grants.option(OPTION):
        allowed = patterns(layer)
        if not any(covers(pattern, text) for pattern in allowed):
            raise FFIError(
                f"{'filter' if filter else 'topic'} {text!r:.100} is not granted: expected one that is within "
                f"{', '.join(allowed) or 'nothing'} (grant option {OPTION})"
            )
    return topic
