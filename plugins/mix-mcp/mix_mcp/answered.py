"""What a server has answered, as far as the bridge to it reads that."""

from __future__ import annotations

import http.client
from typing import Any, Final, Literal

import msgspec

from mix_mcp.message import HEADER_MISMATCH, INTERNAL, Fault

__all__ = ["Head", "Listed", "head_of", "is_unmirrored"]


class _Error(msgspec.Struct):
    code: int


class _Refusal(msgspec.Struct):
    error: _Error


def is_unmirrored(answer: http.client.HTTPResponse, body: bytes) -> bool:
    """Whether a call was refused since a header is missing."""
    try:
        found = msgspec.json.decode(body, type=_Refusal) if answer.status == 400 else None
    except msgspec.DecodeError:
        return False
    return found is not None and found.error.code == HEADER_MISMATCH


class _Tool(msgspec.Struct, rename="camel"):
    name: str
    input_schema: dict[str, Any]

    @property
    def headers(self) -> dict[str, str]:
        """Arguments that stand in headers too, and the names of these."""
        properties: dict[str, Any] = self.input_schema.get("properties", {})
        return {key: about["x-mcp-header"] for key, about in properties.items() if "x-mcp-header" in about}


class _Tools(msgspec.Struct, rename="camel"):
    tools: list[_Tool]
    next_cursor: str | None = None


class Listed(msgspec.Struct):
    """The answer to `tools/list`, of which is read what stands in headers too."""

    result: _Tools


class Head(msgspec.Struct):
    """What tells an answer, and whose it is, from all else that a server tells."""

    jsonrpc: Literal["2.0"]
    id: Any = None
    result: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    error: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET

    @property
    def is_answer(self) -> bool:
        return self.result is not msgspec.UNSET or self.error is not msgspec.UNSET


_heads: Final = msgspec.json.Decoder(Head)


def head_of(line: bytes) -> Head:
    """What a message begins with. `Fault` if it is no message: then the client does not get it either."""
    try:
        return _heads.decode(line)
    except msgspec.DecodeError:
        raise Fault(INTERNAL, "the server told what is no message of MCP") from None
