"""The Mix language: text to checked syntax trees, errors that point at their place, a reference evaluator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mixkit.hookspecs import hookimpl

if TYPE_CHECKING:
    from mixkit.cli.group import Group
    from mixkit.contracts import Check

__all__: list[str] = []


@hookimpl
def mix_commands(group: Group) -> None:
    group.lazy("compile", "mix_lang.cli:compile_", "Compile an agent in Mix.")
    group.lazy("doc", "mix_lang.documentation.command:doc", "Say what a function of Mix's library does.")
    group.lazy("explain", "mix_lang.cli:explain", "Say what an error code of the Mix compiler is about.")
    group.lazy("fmt", "mix_lang.format.command:fmt", "Put sources of Mix into the language's style.")


@hookimpl
def mix_compilers() -> dict[str, str]:
    return {"mix": "mix_lang.kept:MixCompiler"}


@hookimpl
def mix_settings() -> str:
    return "mix_lang.settings:LangSettings"


@hookimpl
def mix_doctor(kernel: Any) -> list[Check]:
    """Whether compiled programs can be kept on disk."""
    from mix_lang.doctor import checks

    return checks(kernel)
