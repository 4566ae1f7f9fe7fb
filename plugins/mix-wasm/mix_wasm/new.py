"""A new guest: a folder that builds and whose test passes, to be changed into one's own."""

from __future__ import annotations

import re
from pathlib import Path

from mix_wasm.errors import BuildError

__all__ = ["LANGUAGES", "new"]

LANGUAGES = ("c",)
"""Languages that there is a template for, in a folder `template_<language>` beside this file."""

_NAME = re.compile(r"[a-z][a-z0-9]*([_-][a-z0-9]+)*")


def new(name: str, target: Path, *, language: str = "c") -> list[Path]:
    """Write the template for a guest of that name into the new folder `target`, and answer the files.

    In the template's names and texts GUEST stands for the name. Its files end in `.in`, so that no tool takes
    them for code of ours.

    Raises:
        BuildError: the name is no file name that everybody can use, or the folder exists already.
    """
    if not _NAME.fullmatch(name):
        raise BuildError(
            "expected a name of lower-case letters, digits and single - or _, starting with a letter, "
            f"as word-count; found {name!r}"
        )
    if target.exists():
        raise BuildError(f"{target} exists already; choose another name or folder")
    template = Path(__file__).parent / f"template_{language}"
    written = []
    for source in sorted(template.glob("*.in")):
        file = source.name.removesuffix(".in").replace("gitignore", ".gitignore")
        # A Python module has no dashes in its name.
        path = target / file.replace("GUEST", name.replace("-", "_"))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source.read_text(encoding="utf-8").replace("GUEST", name), encoding="utf-8")
        written.append(path)
    return written
