"""`mixkit ffi`: the functions of the host that agents may use."""

from __future__ import annotations

import click

from mixkit.cli.completing import complete_ffi
from mixkit.cli.group import Group
from mixkit.cli.output import Output
from mixkit.cli.params import read_json
from mixkit.cli.session import Session, json_option, pass_session

__all__ = ["ffi"]


@click.group(cls=Group)
def ffi() -> None:
    """List, show and call the functions that agents may use."""


@ffi.command("list")
@click.argument("prefix", default="")
@json_option
@pass_session
def list_ffis(session: Session, prefix: str) -> None:
    """List the profile's FFIs whose names start with PREFIX."""
    from mixkit.grants import Grants

    out = Output(session.as_json)
    ffis = session.assembly().ffis
    # Whoever leaves out the sign means the same.
    found = [item for item in ffis if item.name.removeprefix("$").startswith(prefix.removeprefix("$"))]
    if session.as_json:
        out.document([item.describe() for item in found])
    else:
        out.table(
            ("name", "group", "kind", "signature"),
            [(item.name, item.group, item.kind, item.signature) for item in found],
        )
        if not found:
            out.note(ffis.unknown_grants(Grants([f"{prefix}*"]))[0])


@ffi.command()
@click.argument("name", shell_complete=complete_ffi)
@json_option
@pass_session
def show(session: Session, name: str) -> None:
    """Show one FFI: what it takes, answers and does."""
    out = Output(session.as_json)
    found = session.assembly().ffis[name]
    if session.as_json:
        out.document(found.describe())
        return
    out.line(found.signature, "title")
    out.line(f"group {found.group}, {found.kind}{', may wait' if found.is_async else ''}", "dim")
    if found.doc:
        out.line()
        out.line(found.doc)


@ffi.command()
@click.argument("name", shell_complete=complete_ffi)
@click.argument("args", default="[]")
@json_option
@pass_session
def call(session: Session, name: str, args: str) -> None:
    """Call an FFI as an agent would, and print what it answers as tagged JSON.

    ARGS is a JSON array of arguments, @FILE, or - for standard input.
    """
    import asyncio

    from mixkit.ffi_call import call_ffi

    values = read_json(args, "ARGS")
    if not isinstance(values, list):
        raise click.BadParameter(
            f'expected a JSON array of arguments, as ["abc"]; found {args!r}', param_hint="ARGS"
        )
    out = Output(session.as_json)
    with session.kernel() as kernel, out.working(name):
        # An agent would not be told where it is to be had.
        name = kernel.ffis[name].name
        answer = asyncio.run(call_ffi(kernel, name, values))
    out.value(answer)
