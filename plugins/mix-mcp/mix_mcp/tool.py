"""Agents as tools: what they are called, and what they take and answer, as clients of MCP read it."""

from __future__ import annotations

import hashlib
import logging
import re
from collections import Counter
from collections.abc import Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

import msgspec

from mixkit.schema import ANY, MapType, RecordType, Type, json_schema

if TYPE_CHECKING:
    from mix_server.listing import Agent

__all__ = ["Said", "Support", "Tool", "named", "said_of", "tool_of"]

log = logging.getLogger("mixkit.mcp")

_LONGEST: Final = 64
_HASH: Final = 8
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]{1,64}")
"""Of HTTP: RFC 9110, section 5.6.2."""
_PLAIN: Final = ("string", "integer", "boolean")
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
        structured, structured_before: whether what it answers has a schema, for clients of today and for those before.
        tasks: whether a call may become a task.
        headers: arguments that stand in headers over HTTP too, and the names of these, see `headers.PARAM`.
        listed: as a client of today sees it in a list, JSON.
        listed_before: as one before 2026-07-28 does, to which only objects have a structure.
    """

    name: str
    app: str
    agent: str
    params: Type = ANY
    result: Type = ANY
    structured: bool = False
    structured_before: bool = False
    listed: msgspec.Raw = msgspec.Raw()
    listed_before: msgspec.Raw = msgspec.Raw()
    tasks: Support = Support.OPTIONAL
    headers: tuple[tuple[str, str], ...] = ()


def named(wishes: Mapping[tuple[str, str], str | None]) -> dict[str, tuple[str, str]]:
    """Names of tools to app and agent, sorted. The same agents have the same names each time.

    A name is the one that is wished for an agent, else `APP_AGENT`, of what clients take: `^[a-zA-Z0-9_-]{1,64}$`, for
    which some drop a whole list. One that is too long, or that several would have, ends in a hash of what it is of: so
    no app can take the name of another one's tool away.
    """
    plain = {pair: wish or _UNFIT.sub("_", "_".join(pair)) for pair, wish in wishes.items()}
    names = plain
    digits = _HASH
    while clash := {pair for pair, name in names.items() if len(name) > _LONGEST} | _twice(names):
        # A name may be the one with a hash that another has, and then has one as well; the same hash gets longer.
        names = names | {pair: _hashed(pair, plain[pair], digits) for pair in clash}
        digits += _HASH
    return dict(sorted((name, pair) for pair, name in names.items()))


def _twice(names: Mapping[tuple[str, str], str]) -> set[tuple[str, str]]:
    often = Counter(names.values())
    return {pair for pair, name in names.items() if often[name] > 1}


def _hashed(pair: tuple[str, str], name: str, digits: int) -> str:
    digest = hashlib.sha256("/".join(pair).encode()).hexdigest()[: min(digits, _LONGEST - 1)]
    return f"{name[: _LONGEST - len(digest) - 1]}_{digest}"


class Said(msgspec.Struct, frozen=True):
    """What an app says of a tool of its own, in a record of the type `mcp_tool`, or the workspace's `list_mcp_tools`.

    {"_rmx_type": "mcp_tool", "agent": "renew", "name": "renew_contract", "title": "…", "task": "at_once",
     "headers": {"region": "Region"}}
    """

    name: str
    agent: str
    title: str | None = None
    description: str | None = None
    task: Support = Support.OPTIONAL
    headers: dict[str, str] = {}


def said_of(row: Mapping[str, Any]) -> Said | None:
    """What a record says; None if it says nothing that can be a tool."""
    try:
        found = msgspec.convert(
            {key: value for key, value in row.items() if key in Said.__struct_fields__}, Said
        )
    except msgspec.ValidationError:
        return None
    if not 0 < len(found.name) <= _LONGEST or _UNFIT.search(found.name):
        return None
    # Clients leave away a tool whose headers have such names.
    headers = [name.lower() for name in found.headers.values()]
    return (
        found
        if len(set(headers)) == len(headers) and all(_TOKEN.fullmatch(each) for each in headers)
        else None
    )


def tool_of(name: str, agent: Agent, said: Said | None = None) -> Tool:
    """An agent as the tool of that name, and what is said of it."""
    about: dict[str, Any] = {
        "name": name,
        "title": (said and said.title) or f"{agent.app}: {agent.name}",
        "description": (said and said.description)
        or agent.description
        or f"The agent {agent.name} of {agent.app}",
        "inputSchema": {"type": "object"} if agent.params == ANY else json_schema(agent.params),
    }
    structured = agent.result != ANY
    before = dict(about)
    headers = _mirrored(about["inputSchema"], said.headers) if said else {}
    if headers:
        properties = about["inputSchema"]["properties"]
        marked = {key: {**properties[key], "x-mcp-header": name} for key, name in headers.items()}
        about["inputSchema"] = {**about["inputSchema"], "properties": {**properties, **marked}}
    if structured:
        about["outputSchema"] = json_schema(agent.result)
        if isinstance(agent.result, RecordType | MapType):
            before["outputSchema"] = about["outputSchema"]
    encode = msgspec.json.encode
    return Tool(
        name, agent.app, agent.name, agent.params, agent.result, structured, "outputSchema" in before,
        msgspec.Raw(encode(about)), msgspec.Raw(encode(before)), said.task if said else Support.OPTIONAL,
        tuple(headers.items()),
    )  # fmt: skip


def _mirrored(schema: dict[str, Any], headers: Mapping[str, str]) -> dict[str, str]:
    """Those of the headers whose arguments can be in one."""
    properties = schema.get("properties", {})
    fit = {key: name for key, name in headers.items() if properties.get(key, {}).get("type") in _PLAIN}
    for key in headers.keys() - fit.keys():
        log.warning(
            "the argument %.80r is in no header: expected one that is a string, an int or a bool", key
        )
    return fit
