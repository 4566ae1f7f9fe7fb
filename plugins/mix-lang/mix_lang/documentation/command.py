"""`mixkit doc`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from mix_lang import library
from mix_lang.documentation import Described, Manual, manuals_of, of_library
from mix_lang.refused import refused
from mixkit.cli.output import Output
from mixkit.cli.session import Session, json_option, pass_session
from mixkit.near import meant, meant_file

__all__ = ["doc"]


@click.command("doc")
@click.argument("name", required=False)
@click.argument("member", required=False)
@json_option
@pass_session
def doc(session: Session, name: str | None, member: str | None) -> None:
    """Say what a module of Mix's library is for, or one of its functions.

    NAME is a module (array), a function (array.map, or map for those of that name in all modules), or a FILE.mix, whose
    MEMBER may be named behind it. Without one, all modules are listed.
    """
    printed = Output(session.as_json)
    if name is None:
        rows = [(each, of_library(each).module.about) for each in sorted(library.sources())]
        printed.table(("module", "about"), rows, styles={each: "name" for each, _ in rows})
        return
    if name.endswith(".mix"):
        _file(printed, Path(name), member)
        return
    if member is not None:
        raise click.UsageError(f"write {name}.{member}: only behind a file is a MEMBER given")
    module, dot, of = name.partition(".")
    if dot:
        if module not in library.sources():
            raise click.BadParameter(
                f"there is no module {module!r}{meant(module, library.sources())}", param_hint="NAME"
            )
        _member(printed, of_library(module).members, of, f"{module}.")
    elif name in library.sources():
        _module(printed, of_library(name))
    else:
        _anywhere(printed, name)


def _file(printed: Output, path: Path, member: str | None) -> None:
    try:
        with refused(printed):
            manuals = manuals_of(path.name, path.read_text(encoding="utf-8"))
    except OSError as exc:
        near = meant_file(path)
        raise click.BadParameter(
            f"cannot read {str(path)!r}: {exc.strerror}{near}", param_hint="NAME"
        ) from None
    except UnicodeDecodeError as exc:
        raise click.BadParameter(
            f"{str(path)!r} is no UTF-8, at byte {exc.start}", param_hint="NAME"
        ) from None
    if member is not None:
        members = {name: found for manual in manuals for name, found in manual.members.items()}
        _member(printed, members, member, "")
    elif printed.as_json:
        printed.document([_record(manual) for manual in manuals])
    else:
        for manual in manuals:
            _module(printed, manual)


def _member(printed: Output, members: Mapping[str, Described], name: str, prefix: str) -> None:
    if name not in members:
        known = [f"{prefix}{each}" for each in members]
        raise click.BadParameter(
            f"there is no '{prefix}{name}'{meant(f'{prefix}{name}', known)}", param_hint="NAME"
        )
    if printed.as_json:
        printed.document(_described(members[name]))
    else:
        _show(printed, members[name])


def _anywhere(printed: Output, name: str) -> None:
    """A name without its module."""
    manuals = [of_library(each) for each in sorted(library.sources())]
    found = [manual.members[name] for manual in manuals if name in manual.members]
    if len(found) == 1:
        _member(printed, {name: found[0]}, name, "")
    elif found:
        _list(printed, found)
    else:
        known = [*library.sources(), *(each for manual in manuals for each in manual.members)]
        raise click.BadParameter(
            f"the library has no module and no function {name!r}{meant(name, known)}", param_hint="NAME"
        )


def _module(printed: Output, manual: Manual) -> None:
    if printed.as_json:
        printed.document(_record(manual))
        return
    _show(printed, manual.module)
    printed.line()
    _list(printed, list(manual.members.values()))


def _list(printed: Output, found: list[Described]) -> None:
    if printed.as_json:
        printed.document([_described(each) for each in found])
        return
    rows = [(each.signature, each.about) for each in found]
    printed.table(("name", "about"), rows, styles={signature: "name" for signature, _ in rows})


def _show(printed: Output, found: Described) -> None:
    printed.line(found.signature, "title")
    if found.type:
        printed.line(f"  : {found.type}", "dim")
    if found.text:
        printed.line()
        printed.line(found.text)
    for example in found.examples:
        printed.line()
        printed.line(f"> {example.expression}", "name")
        printed.line(example.value)


def _described(found: Described) -> dict[str, Any]:
    examples = [example._asdict() for example in found.examples]
    return {**found._asdict(), "examples": examples}


def _record(manual: Manual) -> dict[str, Any]:
    members = [_described(each) for each in manual.members.values()]
    return {**_described(manual.module), "members": members}
