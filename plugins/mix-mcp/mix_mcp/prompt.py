"""Prompts: records of the type `mcp_prompt`, whose texts have places for arguments, or whose messages an agent makes.

    {"_rmx_type": "mcp_prompt", "name": "review", "description": "…",
     "arguments": [{"name": "code", "required": true, "values"?: ["…"]}],
     "messages": [{"role": "user", "content": {"type": "text", "text": "Review this: {code}"}}]}

In the place of `messages`, `"agent": "review"` names an agent of the app, which takes the arguments and answers
`{messages, description?}`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from mix_mcp.message import INTERNAL, INVALID_PARAMS, Fault
from mix_mcp.records import as_lists, texts_of
from mixkit import tagged_json
from mixkit.errors import TaggedJSONError

__all__ = ["Prompt", "filled", "is_message", "prompts_of"]

_PLACE: Final = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]{0,63})\}", re.ASCII)
_ROLES: Final = ("user", "assistant")


class Prompt(msgspec.Struct, frozen=True):
    """A prompt: `agent` makes its messages, or else they are `messages`; `values`: what arguments may be, by name."""

    name: str
    app: str
    listed: dict[str, Any]
    agent: str | None
    messages: list[Any]
    values: dict[str, list[str]] = {}

    def check(self, arguments: Mapping[str, Any]) -> None:
        """Raise `Fault` for arguments that it does not take, or that are missing."""
        known = {
            argument["name"]: argument.get("required", False) for argument in self.listed.get("arguments", ())
        }
        for name, value in arguments.items():
            if type(value) is not str:
                raise Fault(INVALID_PARAMS, f"expected the argument {name[:80]!r} as text")
        missing = [name for name, required in known.items() if required and name not in arguments]
        if missing:
            raise Fault(INVALID_PARAMS, f"expected the arguments {', '.join(missing)} too")


def prompts_of(records: list[tuple[str, Mapping[str, Any]]]) -> dict[str, Prompt]:
    """Prompts by name, sorted. A record that is none is passed over; of two with one name the first counts."""
    found: dict[str, Prompt] = {}
    for app, row in records:
        name, agent = row.get("name"), row.get("agent")
        if not isinstance(name, str) or not name or name in found:
            continue
        listed: dict[str, Any] = {"name": name, "description": _text(row, "description")}
        if isinstance(row.get("title"), str):
            listed["title"] = row["title"]
        arguments = [
            {
                "name": argument["name"],
                "description": _text(argument, "description"),
                "required": argument.get("required") is True,
            }
            for argument in as_lists(row, "arguments")
            if isinstance(argument.get("name"), str)
        ]
        if arguments:
            listed["arguments"] = arguments
        messages = [message for message in as_lists(row, "messages") if is_message(message)]
        values = {
            each["name"]: texts_of(each, "values")
            for each in as_lists(row, "arguments")
            if isinstance(each.get("name"), str)
        }
        found[name] = Prompt(name, app, listed, agent if isinstance(agent, str) else None, messages, values)
    return dict(sorted(found.items()))


def is_message(message: Any) -> bool:
    """Whether that is a message of a prompt."""
    return (
        isinstance(message, Mapping)
        and message.get("role") in _ROLES
        and isinstance(message.get("content"), Mapping)
        and isinstance(message["content"].get("type"), str)
    )


def filled(messages: list[Any], arguments: Mapping[str, str]) -> Any:
    """The messages with the arguments in their places: `{name}` in any of their texts.

    Raises:
        Fault: JSON cannot hold them.
    """
    try:
        plain = msgspec.json.decode(tagged_json.dumps(messages, plain=True))
    except TaggedJSONError as exc:
        raise Fault(INTERNAL, f"the record of the prompt has messages that JSON cannot hold: {exc}") from None
    return _filled(plain, arguments)


def _filled(value: Any, arguments: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        return _PLACE.sub(lambda found: arguments.get(found[1], found[0]), value)
    if isinstance(value, list):
        return [_filled(item, arguments) for item in value]
    if isinstance(value, dict):
        return {key: _filled(item, arguments) for key, item in value.items()}
    return value


def _text(row: Mapping[str, Any], key: str) -> str:
    found = row.get(key)
    return found if isinstance(found, str) else ""
