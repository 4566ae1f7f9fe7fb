"""Values on the command line: JSON itself, `@FILE`, or `-` for standard input."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from mixkit.errors import TaggedJSONError

__all__ = ["merge_params", "read_json"]


def read_json(text: str, name: str) -> Any:
    """The Value that a command-line argument gives, in tagged JSON.

    Args:
        name: of the argument, for the message of the `BadParameter` that malformed input raises.
    """
    from mixkit import tagged_json

    try:
        return tagged_json.loads(_content(text))
    except TaggedJSONError as exc:
        how = " or --param NAME=VALUE" if name == "PARAMS" else ""
        example = '["a text", 1]' if name == "ARGS" else '{"name": "Ada"}'
        told = f"{exc}; give a value as '{example}', @FILE, -{how}"
        raise click.BadParameter(told if text[:1] not in "-@[{" else str(exc), param_hint=name) from None
    except UnicodeDecodeError as exc:
        raise click.BadParameter(f"expected JSON in UTF-8: {exc}", param_hint=name) from None
    except OSError as exc:
        raise click.BadParameter(f"cannot read {text[1:]!r}: {exc.strerror}", param_hint=name) from None


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


def _content(text: str) -> str:
    if text == "-":
        return sys.stdin.buffer.read().decode("utf-8-sig")
    if text.startswith("@"):
        return Path(text[1:]).read_bytes().decode("utf-8-sig")
    return text
