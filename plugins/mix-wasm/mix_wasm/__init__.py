"""Makes, builds and inspects Wasm guests of mixkit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import mixkit

if TYPE_CHECKING:
    from mixkit.cli.group import Group
    from mixkit.contracts import Check


@mixkit.hookimpl
def mix_commands(group: Group) -> None:
    group.lazy("wasm", "mix_wasm.cli:wasm", "Make, build and inspect Wasm guests.")


@mixkit.hookimpl
def mix_doctor() -> list[Check]:
    from mix_wasm.compiler import check

    return [check()]
