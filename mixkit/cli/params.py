"""Values on the command line: JSON itself, `@FILE`, or `-` for standard input."""

from __future__ import annotations

import codecs
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from mixkit.errors import TaggedJSONError
from mixkit.near import meant_file

__all__ = ["decoded", "merge_params", "read_json", "read_text"]


def read_json(text: str, name: str) -> Any:
    """The Value that a command-line argument gives, in tagged JSON.

    Args:
        name: of the argument, for the message of the `BadParameter` that malformed input raises.
    """
    from mixkit import tagged_json

    try:
        return tagged_json.loads(read_text(text, name))
    except TaggedJSONError as exc:
        how = " or --param NAME=VALUE" if name == "PARAMS" else ""
        example = '["a text", 1]' if name == "ARGS" else '{"name": "Ada"}'
        told = f"{exc}; give a value as '{example}', @FILE, -{how}"
        raise click.BadParameter(told if text[:1] not in "-@[{" else str(exc), param_hint=name) from None


def merge_params(params: Any, pairs: Sequence[str]) -> Any:
    """The parameters with `--param NAME=VALUE` put in. A VALUE that reads as JSON is that, else a text."""
    from mixkit import tagged_json

    if not pairs:
        return params
    if params is None:
        params = {}
    if not isinstance(params, dict):
        raise click.BadParameter(
            "takes PARAMS that are a JSON object, to put the value in", param_hint="--param"
        )
    merged = dict(params)
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not (name and equals):
            raise click.BadParameter(f"expected NAME=VALUE, found {pair!r}", param_hint="--param")
        try:
            merged[name] = tagged_json.loads(value)
        except TaggedJSONError:
            merged[name] = value
    return merged


def read_text(text: str, name: str) -> str:
    """The text that a command-line argument gives: itself, that of `@FILE`, or for `-` of standard input.

    Args:
        name: of the argument, for the message of the `BadParameter` that a file which cannot be read raises.
    """
    if text != "-" and not text.startswith("@"):
        return text
    try:
        data = sys.stdin.buffer.read() if text == "-" else Path(text[1:]).read_bytes()
    except OSError as exc:
        raise click.BadParameter(
            f"cannot read {text[1:]!r}: {exc.strerror}{meant_file(text[1:])}", param_hint=name
        ) from None
    return decoded(data, name)


def decoded(data: bytes, name: str) -> str:
    """The text of bytes in UTF-8, without a byte order mark; `BadParameter` that says where it is something else."""
    data = data.removeprefix(codecs.BOM_UTF8)
    try:
        return data.decode()
    except UnicodeDecodeError as exc:
        line = data.count(b"\n", 0, exc.start) + 1
        raise click.BadParameter(
            f"expected UTF-8, found the byte 0x{data[exc.start]:02x} in line {line} (byte {exc.start + 1} of all)",
            param_hint=name,
        ) from None
