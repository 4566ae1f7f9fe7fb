"""The Wasmtime engine for mixkit. Everything heavy is imported by whoever uses it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import mixkit

if TYPE_CHECKING:
    from mixkit.contracts import Check


@mixkit.hookimpl
def mix_engines() -> dict[str, str]:
    """Name to import string of the engine's class."""
    return {"wasmtime": "mix_wasmtime.engine:WasmtimeEngine"}


@mixkit.hookimpl
def mix_settings() -> str:
    """Import string of the plugin's settings."""
    return "mix_wasmtime.settings:WasmtimeSettings"


@mixkit.hookimpl
def mix_doctor(kernel: Any) -> list[Check]:
    """Whether Wasmtime fits, runs, and can keep compiled code on disk."""
    from mix_wasmtime.doctor import checks

    return checks(kernel)
