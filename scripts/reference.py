"""Writes docs/reference/ from the code: hooks, FFIs, settings and limits, the command line, the library of Mix; and in
docs/profiles.md what each profile contains.

`python scripts/reference.py` writes; with `--check` it writes nothing and fails if a page is not up to date. The
pages describe the profile `all`, so that everything of ours that is installed is in them.
"""

from __future__ import annotations

import inspect
import re
import sys
import tomllib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import click
from mix_lang.documentation.pages import pages as library_pages

from mixkit.cli.app import cli
from mixkit.cli.group import Group
from mixkit.errors import NotFound
from mixkit.kernel import Kernel
from mixkit.limits import UNITS, Limits
from mixkit.profile import Profile, load_profile
from mixkit.settings import Setting, describe

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "docs"
PROFILE = "all"
PROFILES = ("agent_server", "snowflake", "wasi", "widget", "test", "all")
WRITTEN = "<!-- Written by scripts/reference.py from the code; change that, then run it. -->"


def pages() -> dict[str, str]:
    """File name, below docs/, to text of every page."""
    with Kernel(PROFILE, environ={}) as kernel:
        texts = {
            "reference/hooks.md": hooks(kernel),
            "reference/ffis.md": ffis(kernel),
            "reference/settings.md": settings(kernel),
        }
    page = (FOLDER / "profiles.md").read_text(encoding="utf-8")
    library = {f"reference/{name}": text for name, text in library_pages(WRITTEN).items()}
    return {**texts, **library, "reference/cli.md": commands(), "profiles.md": with_contents(page)}


def specifications(kernel: Kernel) -> dict[str, tuple[Callable[..., Any], str]]:
    """Every hook of the live manager: its specification, and the module that has it."""
    found = {}
    for name, caller in sorted(vars(kernel.manager.hook).items()):
        if not name.startswith("_") and caller.spec is not None:
            found[name] = (caller.spec.function, caller.spec.namespace.__name__)
    return found


def signature(function: Callable[..., Any]) -> str:
    """As it is written in the source: `mix_ffis(registry: Registry) -> None`."""
    found = inspect.signature(function)
    params = ", ".join(f"{name}: {param.annotation}" for name, param in found.parameters.items())
    prefix = "async " if inspect.iscoroutinefunction(function) else ""
    return f"{prefix}{function.__name__}({params}) -> {found.return_annotation}"


def hooks(kernel: Kernel) -> str:
    lines = [
        WRITTEN,
        "# Hooks",
        "A plugin is a module with functions of these names, each marked `@mixkit.hookimpl`. A function may leave out",
        "arguments that it does not need. A misspelt name fails the start. [Lifecycle](../lifecycle.md) says when each",
        "is called, [Write a plugin](../write-a-plugin.md) how to begin.",
        "",
    ]
    by_module: dict[str, list[Callable[..., Any]]] = {}
    for function, module in specifications(kernel).values():
        by_module.setdefault(module, []).append(function)
    for module in sorted(by_module, key=lambda module: (module != "mixkit.hookspecs", module)):
        lines.append(f"## Of `{module}`\n")
        for function in by_module[module]:
            lines += [f"### `{signature(function)}`\n", inspect.getdoc(function) or "", ""]
    return finished(lines)


def ffis(kernel: Kernel) -> str:
    lines = [
        WRITTEN,
        "# FFIs",
        "What agents may call, by group. `result(T)` is the case `ok(T)` or `error(message)`. `mixkit ffi list` shows",
        "the FFIs of your own profile.",
        "",
    ]
    group = ""
    for ffi in kernel.ffis:
        if ffi.group != group:
            group = ffi.group
            lines.append(f"## {group}\n")
        lines += [f"### `{ffi.signature}`\n", ffi.doc, ""]
    if kernel.ffis.options:
        lines.append("## Options of grants\n")
        lines += [f"- `{key}`: {text}" for key, text in sorted(kernel.ffis.options.items())]
    return finished(lines)


def settings(kernel: Kernel) -> str:
    lines = [
        WRITTEN,
        "# Settings and limits",
        "A value comes from, the strongest first: the command line (`--set settings.http.timeout=5`), the environment",
        "variable, [mixkit.toml](../project.md), the profile, the default. An unknown key is an error.",
        "`mixkit profile show` prints what counts.",
        "",
        "## `[limits]`",
        "",
        "What one run may use; on by default. A run, a package or an option of a command narrows them, never widens.",
        "",
        *table([("key", "unit", "default", "variable", "meaning"), *limit_rows()]),
    ]
    for plugin in ("kernel", *kernel.profile.plugins):
        try:
            fields = describe(plugin, type(kernel.settings(plugin)))
        except NotFound:
            continue
        rows = [(f"`{s.key}`", f"`{s.type}`", shown(s), f"`{s.variable}`", s.doc) for s in fields]
        lines += [
            f"\n## `[settings.{plugin}]`\n",
            *table([("key", "type", "default", "variable", "meaning"), *rows]),
        ]
        if open_to_found := getattr(type(kernel.settings(plugin)), "of_project", ()):
            names = ", ".join(f"`{key}`" for key in open_to_found)
            lines += ["", f"A [mixkit.toml](../project.md) that was found may set {names}."]
    return finished(lines)


def limit_rows() -> Iterator[tuple[str, ...]]:
    for setting in describe("limits", Limits):
        yield f"`{setting.key}`", UNITS[setting.key], shown(setting), f"`{setting.variable}`", setting.doc


def shown(setting: Setting) -> str:
    return "none" if setting.default is None else f"`{setting.default!r}`"


def commands() -> str:
    lines = [WRITTEN, "# Command line", "```text", help_of(cli, ("mixkit",)), "```", ""]
    for path, command in walk(cli, ("mixkit",)):
        lines += [f"## `{' '.join(path)}`", "", "```text", help_of(command, path), "```", ""]
    return finished(lines)


def walk(group: click.Group, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    context = click.Context(group, info_name=path[-1])
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from walk(command, (*path, name))
        elif command is not None:
            yield (*path, name), command


def help_of(command: click.Command, path: tuple[str, ...]) -> str:
    context = click.Context(command, info_name=" ".join(path), terminal_width=100, max_content_width=100)
    text = command.get_help(context)
    assert not isinstance(command, Group) or "Commands of plugins are missing" not in text, text
    return text


BEGIN, END = "<!-- Written by scripts/reference.py -->\n", "<!-- until here -->\n"


def with_contents(page: str) -> str:
    """The page about profiles, with what they contain between its marks."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    assert begin and end, "docs/profiles.md has lost its marks"
    return "".join((before, BEGIN, "\n", *(f"{line}\n" for line in table(contents())), "\n", END, after))


def contents() -> list[tuple[str, ...]]:
    """What each profile contains: a row for each thing, a column for each profile."""
    profiles = [load_profile(name, environ={}) for name in PROFILES]
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"][
        "optional-dependencies"
    ]
    known = dict.fromkeys(name for profile in profiles for name in profile.plugins)
    rows: list[tuple[str, ...]] = [("", *(f"`{name}`" for name in PROFILES))]
    for name in sorted(known):
        has = ("yes" if name in profile.plugins else "" for profile in profiles)
        rows.append((f"[{name}](../plugins/mix-{name}/README.md)", *has))
    rows += [
        ("engines", *(listed(profile.engines) for profile in profiles)),
        ("storage", *(profile.storage or "" for profile in profiles)),
        ("file system", *(profile.filesystem or "" for profile in profiles)),
        ("limits beside the defaults", *(listed(limits_of(profile)) for profile in profiles)),
        ("the extra also brings", *(listed(besides(extras[name])) for name in PROFILES)),
    ]
    return rows


def limits_of(profile: Profile) -> Iterator[str]:
    merged: dict[str, Any] = {}
    for _, layer in profile.limits:
        merged |= layer
    for key, value in merged.items():
        yield f"`{key}` {value:,}".replace(",", " ")


def besides(extra: list[str]) -> Iterator[str]:
    """What an extra brings that is no plugin, or with one."""
    for requirement in extra:
        name, pinned, _ = requirement.partition("==")
        if not (pinned and name.startswith("mix-")):
            yield re.split("[<>=!~ ]", requirement)[0]
        elif "[" in name:
            yield f"`{name}`"


def listed(items: Iterable[str]) -> str:
    return ", ".join(items)


def table(rows: list[tuple[str, ...]]) -> list[str]:
    head, *body = rows
    cells = [head, tuple("---" for _ in head), *body]
    return [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in cells]


def finished(lines: list[str]) -> str:
    return "\n".join(lines).rstrip() + "\n"


def main() -> int:
    check = "--check" in sys.argv[1:]
    stale = []
    for name, text in pages().items():
        path = FOLDER / name
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            stale.append(str(path.relative_to(ROOT)))
            if not check:
                path.parent.mkdir(exist_ok=True)
                path.write_text(text, encoding="utf-8")
    if stale:
        print("out of date; run `python scripts/reference.py`:" if check else "written:", *stale)
    return int(check and bool(stale))


if __name__ == "__main__":
    sys.exit(main())
