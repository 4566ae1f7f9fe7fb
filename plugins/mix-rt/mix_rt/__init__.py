"""MixRT, the virtual machine of Mix."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mixkit.hookspecs import hookimpl

if TYPE_CHECKING:
    from mixkit.cli.group import Group

__all__: list[str] = []


@hookimpl
def mix_commands(group: Group) -> None:
    group.lazy("code", "mix_rt.cli:code", "Look at QCode, the bytecode of Mix.")


@hookimpl
def mix_interpreters() -> dict[str, str]:
    return {"mixrt": "mix_rt.interpreter:MixRT"}
