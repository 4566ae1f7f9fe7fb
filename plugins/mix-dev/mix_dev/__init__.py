"""Tools for those who write agents in Mix."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mixkit.hookspecs import hookimpl

if TYPE_CHECKING:
    from mixkit.cli.group import Group

__all__: list[str] = []


@hookimpl
def mix_commands(group: Group) -> None:
    group.lazy("dev", "mix_dev.made.dev:dev", "Serve an app while one works on it.")
    group.lazy("lsp", "mix_dev.lsp.command:lsp", "Serve an editor of Mix, over the language server protocol.")
    group.lazy("new", "mix_dev.made.new:new", "Make an app: an agent in Mix or C, tests, a manifest.")
    group.lazy("repl", "mix_dev.repl.command:repl", "Run Mix line by line.")
    group.lazy("test", "mix_dev.suite.command:test", "Run the tests in modules of Mix.")
