"""`mixkit codec`: values between tagged JSON and the u32 codec."""

from __future__ import annotations

import codecs
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from mixkit.cli.group import Group
from mixkit.cli.output import Output, safe_json
from mixkit.cli.session import Session, json_option, pass_session

__all__ = ["codec"]

F = TypeVar("F", bound=Callable[..., Any])


def _source(function: F) -> F:
    path = click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path)
    return click.argument("source", type=path, default="-")(function)


def _hex(function: F) -> F:
    return click.option("--hex", "as_hex", is_flag=True, help="The words are hexadecimal text, not bytes.")(
        function
    )


def _plain(function: F) -> F:
    return click.option("--plain", is_flag=True, help="Plain JSON: tags are not interpreted.")(function)


@click.group(cls=Group)
def codec() -> None:
    """Encode, decode and check values. SOURCE is a file, or - for standard input."""


@codec.command()
@_source
@_hex
@_plain
@json_option
@pass_session
def encode(session: Session, source: Path, as_hex: bool, plain: bool) -> None:
    """Tagged JSON in, codec words out."""
    from mixkit import codec, tagged_json

    words = codec.encode(tagged_json.loads(_text(source), plain=plain))
    if session.as_json:
        Output().document({"hex": words.hex(), "words": len(words) // 4})
    elif as_hex:
        click.echo(words.hex())
    elif sys.stdout.isatty():
        raise click.UsageError("codec words are binary; write them to a file or a pipe, or ask for --hex")
    else:
        sys.stdout.buffer.write(words)


@codec.command()
@_source
@_hex
@_plain
@json_option
@pass_session
def decode(session: Session, source: Path, as_hex: bool, plain: bool) -> None:
    """Codec words in, tagged JSON out."""
    from mixkit import codec, tagged_json

    click.echo(safe_json(tagged_json.dumps(codec.decode(_words(source, as_hex)), plain=plain)))


@codec.command()
@_source
@_hex
@json_option
@pass_session
def check(session: Session, source: Path, as_hex: bool) -> None:
    """Say whether the input is one canonical codec value. Exit status 1 and the word offset if not."""
    from mixkit import codec
    from mixkit.value import kind_of

    words = _words(source, as_hex)
    kind = kind_of(codec.decode(words))
    Output(session.as_json).record(
        {"ok": True, "kind": kind, "words": len(words) // 4, "implementation": codec.implementation}
    )


def _read(source: Path) -> bytes:
    return sys.stdin.buffer.read() if str(source) == "-" else source.read_bytes()


def _text(source: Path) -> str:
    try:
        return _read(source).removeprefix(codecs.BOM_UTF8).decode()
    except UnicodeDecodeError as exc:
        raise click.BadParameter(f"expected JSON in UTF-8, found {exc.reason} at byte {exc.start}") from None


def _words(source: Path, as_hex: bool) -> bytes:
    data = _read(source)
    if not as_hex:
        return data
    try:
        return bytes.fromhex(data.decode("ascii"))
    except ValueError as exc:
        raise click.BadParameter(f"expected pairs of hexadecimal digits: {exc}", param_hint="--hex") from None
