"""Agents as tools: what they are called, and what they take and answer, as clients of MCP read it."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

import msgspec

from mixkit.schema import ANY, MapType, RecordType, Type, json_schema

if TYPE_CHECKING:
    from mix_server.listing import Agent

__all__ = ["VALUE", "Said", "Support", "Tool", "named", "said_of", "tool_of"]

VALUE: Final = "value"
"""The one field of the arguments of an agent that takes no map: clients send none but objects."""

_LONGEST: Final = 64
_HASH: Final = 8
_UNFIT: Final = re.compile(r"[^a-zA-Z0-9_-]")


class Support(StrEnum):
    """Whether a call may become a task, for clients that know tasks."""

    NEVER = "never"
    OPTIONAL = "optional"
    """It does if it takes long."""
    AT_ONCE = "at_once"
    """It is one from its begin: what is asked is asked of the task."""
    REQUIRED = "required"
    """It always is one, and who does not know tasks may not call. What is asked first is asked before there is one."""


class Tool(msgspec.Struct, frozen=True):
    """An agent that can be called.

    Attributes:
        name: as clients call it.
        app, agent: what that is.
        params, result: their types.
        wrapped: whether it takes one value, which stands in the field `VALUE`.
        structured, structured_before: whether what it answers has a schema, for clients of today and for those before.
        tasks: whether a call may become a task.
        listed: as a client of today sees it in a list, JSON.
        listed_before: as one before 2026-07-28 does, to which only objects have a structure.
    """

    name: str
    app: str
    agent: str
    params: Type
    result: Type
    wrapped: bool
    structured: bool
    structured_before: bool
    listed: msgspec.Raw
    listed_before: msgspec.Raw
    tasks: Support = Support.OPTIONAL


def named(agents: Iterable[tuple[str, str]]) -> Mapping[str, tuple[str, str]]:
    """Names of tools to app and agent, sorted. The same agents have the same names each time.

    A name is `APP_AGENT`, of what clients take: `^[a-zA-Z0-9_-]{1,64}$`, for which some drop a whole list. One that is
    too long, or that several would have, ends in a hash of what it is of.
    """
    pairs = sorted(set(agents))
    plain = {pair: _UNFIT.sub("_", f"{pair[0]}_{pair[1]}") for pair in pairs}
    often = Counter(plain.values())
    found: dict[str, tuple[str, str]] = {}
    for pair, name in plain.items():
        if len(name) > _LONGEST or often[name] > 1:
            digest = hashlib.sha256("/".join(pair).encode()).hexdigest()[:_HASH]
            name = f"{name[: _LONGEST - _HASH - 1]}_{digest}"
        found[name] = pair
    return dict(sorted(found.items()))


class Said(msgspec.Struct, frozen=True):
    """What an app says of a tool of its own, in a record of the type `mcp_tool`, or the workspace's `list_mcp_tools`.

    {"_rmx_type": "mcp_tool", "agent": "renew", "name": "renew_contract", "title": "…", "task": "at_once"}
    """

    name: str
    agent: str
    title: str | None = None
    description: str | None = None
    task: Support = Support.OPTIONAL


def said_of(row: Mapping[str, Any]) -> Said | None:
    """What a record says; None if it says nothing that can be a tool."""
    try:
        found = msgspec.convert(
            {key: value for key, value in row.items() if key in Said.__struct_fields__}, Said
        )
    except msgspec.ValidationError:
        return None
    return found if len(found.name) <= _LONGEST and found.name and not _UNFIT.search(found.name) else None


def tool_of(name: str, agent: Agent, said: Said | None = None) -> Tool:
    """An agent as the tool of that name, and what is said of it."""
    wrapped = agent.params != ANY and not isinstance(agent.params, RecordType | MapType)
    about: dict[str, Any] = {
        "name": name,
        "title": (said and said.title) or f"{agent.app}: {agent.name}",
        "description": (said and said.description)
        or agent.description
        or f"The agent {agent.name} of {agent.app}",
        "inputSchema": _input(agent.params, wrapped=wrapped),
    }
    structured = agent.result != ANY
    before = dict(about)
    if structured:
        about["outputSchema"] = json_schema(agent.result)
        if isinstance(agent.result, RecordType | MapType):
            before["outputSchema"] = about["outputSchema"]
    encode = msgspec.json.encode
    return Tool(
        name, agent.app, agent.name, agent.params, agent.result, wrapped, structured, "outputSchema" in before,
        msgspec.Raw(encode(about)), msgspec.Raw(encode(before)), said.task if said else Support.OPTIONAL,
    )  # fmt: skip


def _input(params: Type, *, wrapped: bool) -> dict[str, Any]:
    if params == ANY:
        return {"type": "object"}
    if wrapped:
        return {
            "type": "object",
            "properties": {VALUE: json_schema(params)},
            "required": [VALUE],
            "additionalProperties": False,
        }
    return json_schema(params)
