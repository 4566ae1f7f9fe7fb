"""`mixkit new`."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click
from mix_lang import library
from mix_lang.lexer import KEYWORDS

from mixkit.cli.group import Group
from mixkit.cli.making import check_name, directory_option, make
from mixkit.cli.output import Output
from mixkit.cli.session import Session, json_option, pass_session

__all__ = ["new"]

_TEMPLATE: Final = Path(__file__).parent / "template"
_LANGUAGES: Final = ("mix", "c")
"""Each has a folder of the template, and is what the names of its files end with."""
_PLUGIN: Final = "A plugin, which gives agents more FFIs, is made by: mixkit plugin new"


class _Kinds(Group):
    """What can be made; says where the rest is."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] == "plugin":
            raise click.UsageError(f"{_PLUGIN} {' '.join(args[1:2]) or 'NAME'}", ctx)
        return super().resolve_command(ctx, args)


@click.group(cls=_Kinds, epilog=f"{_PLUGIN} NAME")
def new() -> None:
    """Make an app."""


@new.command("app")
@click.argument("name")
@click.option(
    "--lang", type=click.Choice(_LANGUAGES), default="mix", show_default=True, help="What the agent is written in."
)  # fmt: skip
@directory_option
@json_option
@pass_session
def app(session: Session, name: str, lang: str, directory: Path) -> None:
    """Make the folder NAME with an app that runs: an agent, tests, a manifest."""
    check_name(name)
    if name in KEYWORDS or name in library.sources():
        raise click.BadParameter(f"{name!r} is a word or a module of the language Mix", param_hint="NAME")
    words = {"APP": name, "EXT": lang}
    make(directory / name, words, "mixkit dev", Output(session.as_json), _TEMPLATE / "app", _TEMPLATE / lang)
