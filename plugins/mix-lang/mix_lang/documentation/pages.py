"""Pages of the standard library, as Markdown."""

from __future__ import annotations

from typing import Final

from mix_lang import library
from mix_lang.documentation import Described, Manual, of_library

__all__ = ["pages"]

_FOLDER: Final = "mix-library"


def pages(heading: str) -> dict[str, str]:
    """Names of pages to their text: an index, and a page a module in a folder.

    Args:
        heading: a line that all begin with.
    """
    manuals = [of_library(name) for name in sorted(library.sources())]
    found = {f"{_FOLDER}.md": _index(heading, manuals)}
    for manual in manuals:
        found[f"{_FOLDER}/{manual.module.name}.md"] = _page(heading, manual)
    return found


def _index(heading: str, manuals: list[Manual]) -> str:
    lines = [
        heading,
        "# The library of Mix",
        "",
        "Modules, which are there when one imports them: `import array`. The main argument comes last, for `|>`:",
        "`[1, 2] |> array.map(x -> x + 1)`. `mixkit doc array.map` shows the same on the terminal.",
        "",
    ]
    for manual in manuals:
        name = manual.module.name
        lines.append(f"- [{name}]({_FOLDER}/{name}.md): {manual.module.about}".rstrip(": "))
    lines += ["", "## All names", ""]
    where: dict[str, list[str]] = {}
    for manual in manuals:
        for member in manual.members:
            where.setdefault(member, []).append(manual.module.name)
    for member in sorted(where, key=lambda each: (each.lower(), each)):
        links = ", ".join(f"[{name}]({_FOLDER}/{name}.md#{_anchor(name, member)})" for name in where[member])
        lines.append(f"- `{member}`: {links}")
    return "\n".join(lines) + "\n"


def _page(heading: str, manual: Manual) -> str:
    lines = [heading, f"# {manual.module.name}", "", *_body(manual.module)]
    for found in manual.members.values():
        name = found.name.partition(".")[2]
        # Names that differ in upper and lower case alone are one anchor for Markdown.
        lines += ["", f'<a id="{_anchor(manual.module.name, name)}"></a>', "", f"## `{found.signature}`"]
        body = _body(found)
        lines += ["", *body] if body else []
    return "\n".join(lines) + "\n"


def _body(found: Described) -> list[str]:
    lines = [f"`{found.type}`", ""] if found.type else []
    if found.text:
        lines += [found.text, ""]
    if found.examples:
        lines.append("```mix")
        for example in found.examples:
            lines += [f"> {example.expression}", example.value]
        lines.append("```")
    while lines and not lines[-1]:
        lines.pop()
    return lines


def _anchor(module: str, name: str) -> str:
    return f"{module}.{name}"
