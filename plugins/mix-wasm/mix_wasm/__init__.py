"""Builds and inspects Wasm guests of mixkit, and lets agents load and run Wasm modules."""

from __future__ import annotations

from typing import TYPE_CHECKING

import mixkit

if TYPE_CHECKING:
    from mixkit.cli.group import Group
    from mixkit.contracts import Check
    from mixkit.ffi import Registry


@mixkit.hookimpl
def mix_ffis(registry: Registry) -> None:
    from mix_wasm.ffis import group

    registry.add(group)


@mixkit.hookimpl
def mix_compilers() -> dict[str, str]:
    return {"c": "mix_wasm.c:CCompiler"}


@mixkit.hookimpl
def mix_settings() -> str:
    return "mix_wasm.settings:WasmSettings"


@mixkit.hookimpl
def mix_commands(group: Group) -> None:
    group.lazy("wasm", "mix_wasm.cli:wasm", "Build and inspect Wasm guests.")


@mixkit.hookimpl
def mix_doctor() -> list[Check]:
    from mix_wasm.compiler import check

    return [check()]
