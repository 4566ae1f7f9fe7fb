"""`mixkit new`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import click
from mix_lang import library
from mix_lang.lexer import KEYWORDS

from mixkit.cli.group import Group
from mixkit.cli.output import Output
from mixkit.cli.session import Session, json_option, pass_session

__all__ = ["make_app", "new"]

_TEMPLATE: Final = Path(__file__).parent / "template"
_NAME: Final = re.compile(r"[a-z][a-z0-9]*(?:_[a-z0-9]+)*")


@click.group(cls=Group)
def new() -> None:
    """Make something new."""


@new.command("app")
@click.argument("name")
@click.option(
    "--lang", type=click.Choice(["mix", "c"]), default="mix", show_default=True, help="What the agent is written in."
)  # fmt: skip
@click.option(
    "--directory", "-d", type=click.Path(file_okay=False, path_type=Path), default=Path(),
    help="Where the folder NAME is made; the current directory by default.",
)  # fmt: skip
@json_option
@pass_session
def app(session: Session, name: str, lang: str, directory: Path) -> None:
    """Make the folder NAME with an app that runs: an agent, tests, a manifest."""
    if lang == "c":
        _in_c(name, directory)
        return
    if not _NAME.fullmatch(name) or len(name) > 40 or name in KEYWORDS or name in library.sources():
        raise click.BadParameter(
            "expected at most 40 lower-case letters, digits and single _, as my_app, and no word or module of the "
            f"language; found {name!r:.100}",
            param_hint="NAME",
        )
    target = directory / name
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise click.UsageError(f"{target} is there and not empty; choose another name or --directory")
    files = make_app(name, target)
    out = Output(session.as_json)
    if session.as_json:
        out.document({"path": str(target), "files": [str(file) for file in files]})
        return
    for file in files:
        out.line(str(file), "name")
    out.note(f"next: cd {target} && mixkit dev")


def _in_c(name: str, directory: Path) -> None:
    """What `mixkit wasm new` does."""
    context = click.get_current_context()
    root = context.find_root()
    group = root.command.get_command(root, "wasm") if isinstance(root.command, click.Group) else None
    command = group.get_command(context, "new") if isinstance(group, click.Group) else None
    if command is None:
        raise click.UsageError("agents in C are made by mix-wasm: name wasm among the plugins of the profile")
    context.invoke(command, name=name, lang="c", directory=directory)


def make_app(name: str, target: Path) -> list[Path]:
    """Write the template into a folder, with the name in place of APP in names and texts, and answer the files."""
    target.mkdir(parents=True, exist_ok=True)
    written = []
    for source in sorted(_TEMPLATE.glob("*.in")):
        file = source.name.removesuffix(".in").replace("gitignore", ".gitignore").replace("APP", name)
        path = target / file
        path.write_text(source.read_text(encoding="utf-8").replace("APP", name), encoding="utf-8")
        written.append(path)
    return written
