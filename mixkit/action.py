"""Actions that an agent queues: entered again after the run, put off until the answer is sent, or handed to the caller
as client actions."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any, TypeAlias

import msgspec

from mixkit.errors import FFIError
from mixkit.near import meant

__all__ = [
    "Action",
    "ActionQueue",
    "Invocation",
    "Invoke",
    "LocationCapture",
    "OpenLink",
    "PerformHostEffect",
]


class Invoke(msgspec.Struct, frozen=True, kw_only=True):
    """Enter the machine again at `name` with `env`, the closure's variables, as parameters.

    `args` are what whoever invokes it gives it besides; they come as the key `args` of `env`, which is a map then.
    """

    name: str
    env: Any = {}
    args: list[Any] | None = None
    next: Action | None = None

    @property
    def params(self) -> Any:
        """What the machine is entered with."""
        return self.env if self.args is None else {**self.env, "args": self.args}


class PerformHostEffect(msgspec.Struct, frozen=True, kw_only=True):
    """Ask the caller for an effect of its own, by name."""

    name: str
    args: Any = None
    next: Action | None = None


class OpenLink(msgspec.Struct, frozen=True, kw_only=True):
    """Ask the caller to open a link."""

    url: str
    next: Action | None = None


class LocationCapture(msgspec.Struct, frozen=True, kw_only=True):
    """Ask the caller for its location."""

    next: Action | None = None


Action: TypeAlias = Invoke | PerformHostEffect | OpenLink | LocationCapture

_TYPES: dict[str, type[Action]] = {
    "msg_view_invoke": Invoke,
    "msg_view_perform_host_effect": PerformHostEffect,
    "msg_view_open_link": OpenLink,
    "msg_view_location_capture": LocationCapture,
}
_NAMES = {cls: name for name, cls in _TYPES.items()}
_MAX_CHAIN = 100


def parse(value: Any) -> Action:
    """An action from its Map, `{"_rmx_type": "msg_view_invoke", "name": …, "env": …, "next"?: …}`.

    Raises:
        FFIError: not such a map; says which key is wrong.
    """
    chain: list[tuple[type[Action], dict[str, Any]]] = []
    item = value
    while item is not None:
        if len(chain) == _MAX_CHAIN:
            raise FFIError(f"an action has at most {_MAX_CHAIN} next actions")
        kind = item.get("_rmx_type") if isinstance(item, Mapping) else None
        if not isinstance(kind, str) or kind not in _TYPES:
            found = f", found {kind[:80]!r}{meant(kind, _TYPES)}" if isinstance(kind, str) else ""
            raise FFIError(f"an action is a map whose _rmx_type is one of {', '.join(_TYPES)}{found}")
        cls = _TYPES[kind]
        fields = {key: part for key, part in item.items() if key not in ("_rmx_type", "next")}
        allowed = set(cls.__struct_fields__) - {"next"}
        for key in ("name", "url"):
            if key in allowed and not isinstance(fields.get(key), str):
                raise FFIError(f"{kind} needs {key!r}, a string")
        if fields.get("args") is not None and not (
            type(fields["args"]) is list and isinstance(fields.get("env", {}), Mapping)
        ):
            raise FFIError(f"{kind} takes args as an array, and only beside an env that is a map")
        unknown = fields.keys() - allowed
        if unknown:
            key = min(unknown)
            raise FFIError(
                f"{kind} has no key {key[:80]!r}; it has {', '.join(sorted(allowed)) or 'none'}"
                f"{meant(key, cls.__struct_fields__)}"
            )
        chain.append((cls, fields))
        item = item.get("next")
    if not chain:
        raise FFIError("an action is a map, not null")
    action: Action | None = None
    for cls, fields in reversed(chain):
        action = cls(**fields, next=action)
    assert action is not None
    return action


def length(action: Action) -> int:
    """How many actions it is, its next ones included."""
    count = 0
    item: Action | None = action
    while item is not None:
        count, item = count + 1, item.next
    return count


def to_value(action: Action) -> dict[str, Any]:
    """The Map of an action, as `parse` reads it."""
    value: dict[str, Any] = {"_rmx_type": _NAMES[type(action)]}
    for name in action.__struct_fields__:
        part = getattr(action, name)
        if name == "next":
            if part is not None:
                value["next"] = to_value(part)
        elif part is not None:
            value[name] = part
    return value


class Invocation(msgspec.Struct, frozen=True):
    """Actions in place of an entry and its parameters: the first is entered, the others are queued behind it."""

    actions: tuple[Invoke, ...]


class ActionQueue:
    """Actions of one run, in order. `Invoke`s are taken by the loop, the rest is for the caller.

    Attributes:
        client: what is for the caller.
        idle: what is put off until the answer is sent, by a run of its own.
    """

    __slots__ = ("_invokes", "client", "idle")

    def __init__(self) -> None:
        self._invokes: deque[Invoke] = deque()
        self.client: list[Action] = []
        self.idle: list[Invoke] = []

    @property
    def waiting(self) -> tuple[Invoke, ...]:
        """What the loop is going to take."""
        return tuple(self._invokes)

    def clear(self) -> None:
        """Forget what the loop was going to take."""
        self._invokes.clear()

    def put_off(self, action: Action) -> None:
        """Queue an action for after the answer. One of the client's is in the answer: it cannot come later."""
        if isinstance(action, Invoke):
            self.idle.append(action)
        else:
            self.client.append(action)

    def push(self, action: Action) -> None:
        """Queue an action at the end. The next action of a client action is the client's to send back."""
        if isinstance(action, Invoke):
            self._invokes.append(action)
        else:
            self.client.append(action)

    def take(self) -> Invoke | None:
        """The next `Invoke` to enter, or None. What it carries as `next` takes its place in front."""
        if not self._invokes:
            return None
        action = self._invokes.popleft()
        if isinstance(action.next, Invoke):
            self._invokes.appendleft(action.next)
        elif action.next is not None:
            self.client.append(action.next)
        return action
