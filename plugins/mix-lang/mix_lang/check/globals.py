"""Names that every module has, and the modules that are not here."""

from __future__ import annotations

from typing import Final

__all__ = ["ARITIES", "CASES", "HOSTS", "SCREEN_MODULES", "TYPES"]

ARITIES: Final[dict[str, int]] = {
    "some": 1, "ok": 1, "error": 1, "unset": -1, "withDefault": 2, "noDefault": 1, "fail": 1, "recurse": 1,
    "recurse2": 1, "datacase": 1, "debug": 1, "floor": 1, "ceil": 1, "getNextActions": 0, "setNextActions": 2,
    "pushNextActions": 2, "pushIdleActions": 2, "contents": 1, "link": 1,
}  # fmt: skip
"""Names to the number of arguments; -1 for what is no function."""

CASES: Final[dict[str, bool]] = {"some": True, "ok": True, "error": True, "unset": False}
"""The predefined cases, and whether they have an argument."""

TYPES: Final[dict[str, int]] = {
    "null": 0, "bool": 0, "number": 0, "string": 0, "word": 0, "data": 0, "any": 0, "appstate": 0, "array": 1,
    "map": 1, "stream": 1, "link": 1, "option": 1, "result": 2,
}  # fmt: skip
"""Built-in types and the number of their arguments."""

HOSTS: Final = (
    "agentServerEnvironment", "builderEnvironment", "serverEnvironment", "webEnvironment", "widgetEnvironment",
)  # fmt: skip

SCREEN_MODULES: Final = frozenset(
    ["dom", "color", "viewstack", "circuitarray", "loader", "vm", "compiler", "track", "reflect", "testing"]
)
"""Modules of the original for builders and screens."""
