"""What of a message stands in headers of its HTTP request too."""

from __future__ import annotations

import base64
import binascii
from typing import Any, Final

from mix_mcp.message import HEADER_MISMATCH, Fault

__all__ = ["METHOD", "NAME", "VERSION", "named", "plain", "written"]

VERSION: Final = "MCP-Protocol-Version"
METHOD: Final = "Mcp-Method"
NAME: Final = "Mcp-Name"

_NAMED: Final = {
    "tools/call": "name",
    "prompts/get": "name",
    "resources/read": "uri",
    **dict.fromkeys(("tasks/get", "tasks/update", "tasks/cancel"), "taskId"),
}
"""Methods to the parameter that stands in the header Mcp-Name."""


def named(method: str, params: dict[str, Any]) -> str | None:
    """What stands in the header Mcp-Name of a message of today; None if it has none."""
    key = _NAMED.get(method)
    if key is None:
        return None
    found = params.get(key)
    return found if type(found) is str else ""


def written(text: str) -> str:
    """A text as a header has it: as Base64 between `=?base64?` and `?=` if it has other than printable ASCII."""
    if text.isascii() and text.isprintable() and text == text.strip() and not text.startswith("=?base64?"):
        return text
    return f"=?base64?{base64.b64encode(text.encode()).decode()}?="


def plain(header: str | None) -> str | None:
    """The text that a header has. `Fault` if it should be Base64 and is not."""
    header = None if header is None else header.strip(" \t")
    if header is None or not (header.startswith("=?base64?") and header.endswith("?=")):
        return header
    try:
        return base64.b64decode(header[9:-2], validate=True).decode()
    except (ValueError, binascii.Error):
        raise Fault(HEADER_MISMATCH, "Header mismatch: expected Base64 between =?base64? and ?=") from None
