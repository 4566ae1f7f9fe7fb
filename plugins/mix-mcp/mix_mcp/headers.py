"""What of a message stands in headers of its HTTP request too."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Any, Final

from mix_mcp.message import HEADER_MISMATCH, Fault

__all__ = ["METHOD", "NAME", "PARAM", "VERSION", "check_mirrored", "mirrored", "named", "plain", "written"]

VERSION: Final = "MCP-Protocol-Version"
METHOD: Final = "Mcp-Method"
NAME: Final = "Mcp-Name"
PARAM: Final = "Mcp-Param-"
"""Before the name of a header that an argument of a tool stands in too, as the tool's schema says: `x-mcp-header`."""

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


def check_mirrored(
    headers: Iterable[tuple[str, str]], arguments: dict[str, Any], header: Callable[[str], str | None]
) -> None:
    """`Fault` if a header does not say what the argument does that it mirrors.

    Args:
        headers: arguments of a tool, and the names of their headers behind `PARAM`.
        header: of the request, by its name.
    """
    for argument, name in headers:
        found, expected = plain(header(PARAM + name)), arguments.get(argument)
        if not _says(found, expected):
            raise Fault(
                HEADER_MISMATCH,
                f"Header mismatch: expected {PARAM}{name} as the argument {argument!r} has it, "
                f"found {'none' if found is None else repr(found[:80])}",
            )


def mirrored(headers: Mapping[str, str], arguments: Any) -> dict[str, str]:
    """The headers that say what those arguments are, as `check_mirrored` takes them."""
    found = {}
    for argument, name in headers.items():
        value = arguments.get(argument) if isinstance(arguments, dict) else None
        if isinstance(value, str):
            found[PARAM + name] = written(value)
        elif isinstance(value, bool | int | float):
            found[PARAM + name] = str(value).lower()
    return found


def _says(found: str | None, expected: Any) -> bool:
    if expected is None or found is None:
        return found is None and expected is None
    if type(expected) is bool:
        return found == ("true" if expected else "false")
    if isinstance(expected, int | float):
        try:
            return "_" not in found and Decimal(found) == Decimal(expected)
        except ArithmeticError:
            return False
    return bool(found == expected)
