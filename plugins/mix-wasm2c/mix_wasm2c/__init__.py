"""The wasm2c engine for mixkit. Everything heavy is imported by whoever uses it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import mixkit

if TYPE_CHECKING:
    from mixkit.contracts import Check


@mixkit.hookimpl
def mix_engines() -> dict[str, str]:
    """Name to import string of the engine's class."""
    return {"wasm2c": "mix_wasm2c.engine:Wasm2cEngine"}


@mixkit.hookimpl
def mix_settings() -> str:
    """Import string of the plugin's settings."""
    return "mix_wasm2c.settings:Wasm2cSettings"


@mixkit.hookimpl
def mix_doctor(kernel: Any) -> list[Check]:
    """Whether modules can be translated and compiled here, and what runs where."""
    from mix_wasm2c.doctor import checks

    return checks(kernel)
