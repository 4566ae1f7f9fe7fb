"""`mixkit plugin new`: a plugin package whose tests pass, to be changed into one's own."""

from __future__ import annotations

from pathlib import Path

import click

from mixkit.cli.group import Group
from mixkit.cli.making import check_name, directory_option, make, write
from mixkit.cli.output import Output
from mixkit.cli.session import Session, json_option, pass_session

__all__ = ["make_plugin", "plugin"]

TEMPLATE = Path(__file__).parent / "plugin_template"


@click.group(cls=Group)
def plugin() -> None:
    """Make a plugin."""


@plugin.command()
@click.argument("name")
@directory_option
@json_option
@pass_session
def new(session: Session, name: str, directory: Path) -> None:
    """Make the package mix-NAME, with one FFI, settings and tests that pass."""
    check_name(name)
    words = _words(name)
    after = "python -m pip install -e '.[test]' && python -m pytest"
    make(directory / f"mix-{words['{{dashed}}']}", words, after, Output(session.as_json), TEMPLATE)


def make_plugin(name: str, target: Path) -> list[Path]:
    """Write the template for a plugin of that name into the folder `target`, and answer the files."""
    return write(target, _words(name), TEMPLATE)


def _words(name: str) -> dict[str, str]:
    """What takes the place of what in the template: my_thing, my-thing, MyThing, MY_THING; PLUGIN is in its paths."""
    return {
        "{{name}}": name,
        "{{dashed}}": name.replace("_", "-"),
        "{{Camel}}": "".join(part.capitalize() for part in name.split("_")),
        "{{NAME}}": name.upper(),
        "PLUGIN": name,
    }
