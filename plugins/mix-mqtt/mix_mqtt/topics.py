"""Which topics an agent may name: short ones, the host's own, and what the grants let through."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

from mix_mqtt.settings import MqttSettings
from mixkit.bus import BusError, check_filter, check_topic, covers, overlap
from mixkit.environment import Env
from mixkit.errors import FFIError, GrantError
from mixkit.state import State

__all__ = ["OPTION", "Topic", "patterns", "resolve"]

OPTION: Final = "mqtt.topics"

_SHORT: Final = {
    "$app": ("workspace", "app"),
    "$user": ("workspace", "user"),
    "$workspace": ("workspace",),
    "$cloudAppUser": ("workspace", "app", "user"),
    "$cloudAppShared": ("workspace", "app"),
    "$cloudAppPublic": ("workspace", "app"),
}
"""What of the environment stands between the name and the rest of a short topic."""


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic or filter as the bus has it, and how the agent wrote its beginning."""

    full: str
    written: str = ""
    begin: str = ""

    def shown(self, topic: str) -> str:
        """A topic of the bus as the agent would write it."""
        return self.written + topic.removeprefix(self.begin)


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
            name = text.split("/", 1)[0]
            if text.startswith("$") and name not in _SHORT:
                raise BusError(f"{text!r:.100}: expected one of {', '.join(_SHORT)}, found {name!r:.40}")
        except BusError as exc:
            raise GrantError(f"grant option {OPTION}: expected filters, found {exc}") from None
    return tuple(value)


def resolve(state: State, settings: MqttSettings, text: str, *, filter: bool = False) -> Topic:
    """The topic, or filter, that an agent means.

    Raises:
        FFIError: it cannot be, names what is the host's, or is not granted.
    """
    (check_filter if filter else check_topic)(text)
    what = "filter" if filter else "topic"
    if text.startswith("/") or "//" in text:
        raise FFIError(f"{what} {text!r:.100}: expected no slash at the beginning and no two in a row")
    if text.startswith("$"):
        topic = _expanded(state.env, settings, text, what)
    else:
        topic = Topic(text)
        if overlap(text, f"{settings.prefix}/#"):
            raise FFIError(
                f"{what} {text!r:.100}: topics below {settings.prefix!r} are the host's; name another first level, "
                f"or reach yours as {', '.join(f'{name}/…' for name in _SHORT)}"
            )
    for layer in state.grants.option(OPTION):
        allowed = patterns(layer)
        if not any(covers(pattern, text) for pattern in allowed):
            raise FFIError(
                f"{what} {text!r:.100} is not granted: expected one that is within "
                f"{', '.join(allowed) or 'nothing'} (grant option {OPTION})"
            )
    return topic


def _expanded(env: Env, settings: MqttSettings, text: str, what: str) -> Topic:
    name, _, rest = text.partition("/")
    if name not in _SHORT:
        raise FFIError(f"{what} {text!r:.100}: expected one of {', '.join(_SHORT)}, found {name!r:.40}")
    if not rest or "+" in rest or "#" in rest:
        raise FFIError(f"{what} {text!r:.100}: expected {name}/name, without + and #")
    levels: list[str] = [settings.prefix, name[1:]]
    for part in _SHORT[name]:
        value: Any = getattr(env, part)
        if not value:
            raise FFIError(f"{what} {text!r:.100}: this run has no {part}, which {name} stands for")
        # As one level, whatever it is called: no slash, no wildcard, and no two names alike.
        levels.append(quote(value, safe="@ "))
    begin = "/".join(levels) + "/"
    full = begin + rest
    (check_filter if what == "filter" else check_topic)(full)
    return Topic(full, f"{name}/", begin)
