"""`mixkit code`: look at QCode."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from mixkit.cli.group import Group
from mixkit.cli.output import Output
from mixkit.cli.session import Session, json_option, pass_session
from mixkit.errors import NotFound
from mixkit.near import meant

__all__ = ["code"]

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group(cls=Group)
def code() -> None:
    """Look at QCode: the bytecode that Mix is compiled to."""


@code.command()
@click.argument("file", type=FILE)
@click.option("--function", "-f", metavar="NAME", help="Only the functions of that name.")
@json_option
@pass_session
def disasm(session: Session, file: Path, function: str | None) -> None:
    """Print the instructions of FILE."""
    from mix_rt import listing

    read = _read(file)
    found = [each for each in listing.functions(read) if function in (None, each["name"])]
    if function is not None and not found:
        known = sorted({each.name for each in read.functions})
        raise NotFound(f"no function {function!r:.80} in {str(file)!r}{meant(function, known)}")
    output = Output(session.as_json)
    if session.as_json:
        output.document({"functions": found})
        return
    if function is None:
        output.line(listing.heading(read))
    for number, each in enumerate(found):
        if number or function is None:
            output.line()
        for line in listing.lines(each):
            output.line(line)


@code.command()
@click.argument("file", type=FILE)
@json_option
@pass_session
def verify(session: Session, file: Path) -> None:
    """Have the machine check all of FILE, as it does before it runs it."""
    from mix_rt.instance import virtual, wasm
    from mixkit.limits import Limits

    _read(file)
    with session.kernel() as kernel:
        compiled = kernel.compile(wasm())
    instance = compiled.engine.instantiate(compiled.module, Limits(), {})
    try:
        virtual(instance).load(file.read_bytes())
    finally:
        instance.close()
    Output(session.as_json).record({"path": str(file), "verified": True})


@code.command()
@click.argument("file", type=FILE)
@json_option
@pass_session
def stats(session: Session, file: Path) -> None:
    """Print what FILE is made of: functions, instructions, constants."""
    from mix_rt.listing import stats as count

    found: dict[str, Any] = {"size": file.stat().st_size, **count(_read(file))}
    output = Output(session.as_json)
    if session.as_json:
        output.document(found)
        return
    for name, value in found.items():
        shown = (
            ", ".join(f"{key} {number}" for key, number in value.items())
            if isinstance(value, dict)
            else value
        )
        output.line(f"{name}: {', '.join(shown) if isinstance(shown, list) else shown}")


@code.command()
@click.argument("file", type=FILE)
@click.option("--output", "-o", type=click.Path(path_type=Path), required=True, help="Where the result goes.")
@json_option
@pass_session
def strip(session: Session, file: Path, output: Path) -> None:
    """Leave out the symbols of FILE: the places in the source, which a backtrace then has no more.

    `mixkit error-decode --code FILE` finds them again.
    """
    stripped = _read(file).without_symbols().to_bytes()
    output.write_bytes(stripped)
    printed = Output(session.as_json)
    if session.as_json:
        printed.document({"file": str(output), "bytes": len(stripped)})
    else:
        printed.line(f"{output.name}: {len(stripped)} bytes")


def _read(file: Path) -> Any:
    from mix_rt.qcode import Code

    return Code.from_bytes(file.read_bytes())
