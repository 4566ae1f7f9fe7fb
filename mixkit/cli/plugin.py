"""`mixkit plugin new`: a plugin package whose tests pass, to be changed into one's own."""

from __future__ import annotations

import re
from pathlib import Path

import click

from mixkit.cli.group import Group
from mixkit.cli.output import Output
from mixkit.cli.session import Session, json_option, pass_session

__all__ = ["make_plugin", "plugin"]

TEMPLATE = Path(__file__).parent / "plugin_template"
_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")


@click.group(cls=Group)
def plugin() -> None:
    """Make a plugin."""


@plugin.command()
@click.argument("name")
@click.option(
    "--directory",
    "-d",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(),
    help="Where the folder mix-NAME is made; the current directory by default.",
)
@json_option
@pass_session
def new(session: Session, name: str, directory: Path) -> None:
    """Make the package mix-NAME, with one FFI, settings and tests that pass."""
    if not _NAME.fullmatch(name):
        raise click.BadParameter(
            f"expected lower-case letters, digits and single _, as my_thing; found {name!r}",
            param_hint="NAME",
        )
    target = directory / f"mix-{name.replace('_', '-')}"
    if target.exists():
        raise click.UsageError(f"{target} exists already; choose another name or --directory")
    files = make_plugin(name, target)
    out = Output(session.as_json)
    if session.as_json:
        out.document({"path": str(target), "files": [str(file) for file in files]})
        return
    for file in files:
        out.line(str(file), "name")
    out.note(f"next: cd {target} && python -m pip install -e '.[test]' && python -m pytest")


def make_plugin(name: str, target: Path) -> list[Path]:
    """Write the template for a plugin of that name into the folder `target`, and answer the files.

    The texts hold `{{name}}` (my_thing), `{{dashed}}` (my-thing), `{{Camel}}` (MyThing) and `{{NAME}}`;
    its paths hold `PLUGIN`. Its files end in `.in`, so that no tool takes them for code of ours.
    """
    words = {
        "{{name}}": name,
        "{{dashed}}": name.replace("_", "-"),
        "{{Camel}}": "".join(part.capitalize() for part in name.split("_")),
        "{{NAME}}": name.upper(),
    }
    written = []
    for source in sorted(TEMPLATE.rglob("*.in")):
        text = source.read_text(encoding="utf-8")
        for placeholder, word in words.items():
            text = text.replace(placeholder, word)
        path = target / str(source.relative_to(TEMPLATE)).removesuffix(".in").replace("PLUGIN", name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        written.append(path)
    return written
