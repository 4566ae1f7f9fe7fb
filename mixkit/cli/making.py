"""New folders out of templates: how commands that make one check its name, write it, and tell of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

if TYPE_CHECKING:
    from mixkit.cli.output import Output

__all__ = ["check_name", "directory_option", "make", "write"]

_NAME: Final = re.compile(r"[a-z][a-z0-9]*(?:_[a-z0-9]+)*")
_MOST: Final = 40
_HIDDEN: Final = {"gitignore": ".gitignore"}
"""Files of templates to what they are called in what is made: setuptools passes over names that begin with a dot."""

directory_option = click.option(
    "--directory",
    "-d",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(),
    help="Where the folder is made; the current directory by default.",
)


def check_name(name: str) -> None:
    """Refuse what cannot be the name of a folder, a module and an app alike."""
    if not _NAME.fullmatch(name) or len(name) > _MOST:
        raise click.BadParameter(
            f"expected at most {_MOST} lower-case letters, digits and single _, as my_thing; found {name!r:.100}",
            param_hint="NAME",
        )


def make(target: Path, words: Mapping[str, str], after: str, out: Output, *templates: Path) -> None:
    """Write templates into a folder, and say which files there are and what comes next.

    Args:
        after: the command that comes next, in the folder.

    Raises:
        UsageError: something is in the folder.
    """
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise click.UsageError(f"{target} is there and not empty; choose another name or --directory")
    files = write(target, words, *templates)
    if out.as_json:
        out.document({"path": str(target), "files": [str(file) for file in files], "next": after})
        return
    for file in files:
        out.line(str(file), "name")
    out.note(f"next: cd {target} && {after}")


def write(target: Path, words: Mapping[str, str], *templates: Path) -> list[Path]:
    """Write templates into a folder, and answer the files.

    The files of a template end in `.in`, so that no tool takes them for code of ours.

    Args:
        words: placeholders, in paths and texts, to what takes their place.
    """
    written = []
    for template in templates:
        for source in sorted(template.rglob("*.in")):
            relative = source.relative_to(template)
            name = relative.name.removesuffix(".in")
            path = target / _filled(str(relative.with_name(_HIDDEN.get(name, name))), words)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(_filled(source.read_text(encoding="utf-8"), words), encoding="utf-8")
            written.append(path)
    return sorted(written)


def _filled(text: str, words: Mapping[str, str]) -> str:
    for placeholder, word in words.items():
        text = text.replace(placeholder, word)
    return text
