"""JSON that others have written, read by msgspec; and what its messages leave out: which fields, or which values, there
may be where it found another."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final, TypeVar, overload

from mixkit.near import meant

if TYPE_CHECKING:
    import msgspec

__all__ = ["read_json", "split", "valid"]

T = TypeVar("T")

_UNKNOWN: Final = re.compile(r"Object contains unknown field `(.*)`$", re.DOTALL)
_STEP: Final = re.compile(r"\.([^.\[\]]+)|(\[[^\[\]]*\])")


@overload
def read_json(data: bytes) -> Any: ...
@overload
def read_json(data: bytes, form: type[T]) -> T: ...
def read_json(data: bytes, form: Any = Any) -> Any:
    """What is in a JSON text, whoever has written it.

    Raises:
        msgspec.MsgspecError: it is none, or not of that form.
    """
    import msgspec

    try:
        return msgspec.json.decode(data, type=form)
    except UnicodeDecodeError:
        # NOTE: no error of msgspec's, as is the next.
        raise msgspec.DecodeError("JSON is not UTF-8") from None
    except RecursionError:
        raise msgspec.DecodeError("JSON is nested too deeply") from None


def split(exc: msgspec.ValidationError) -> tuple[str, str]:
    """The message without its place, and the place, as `.apps[...].agents`, without the `$`."""
    message, at, path = str(exc).partition(" - at `$")
    return message, path.removesuffix("`") if at else ""


def valid(exc: msgspec.ValidationError, type: Any) -> str:
    """What to say after the message: `; known are a, b; did you mean 'a'?`, or nothing if there is no more to say.

    Args:
        type: what was to be read.
    """
    from msgspec import inspect

    message, path = split(exc)
    found: Any = inspect.type_info(type)
    for field, brackets in _STEP.findall(path):
        options = _options(found)
        if field:
            fields = [
                f for option in options if isinstance(option, inspect.StructType) for f in option.fields
            ]
            found = next((f.type for f in fields if f.encode_name == field), None)
        elif brackets:
            found = next((_item(option) for option in options if _item(option) is not None), None)
    unknown = _UNKNOWN.match(message)
    for option in _options(found):
        if unknown and isinstance(option, inspect.StructType):
            names = [field.encode_name for field in option.fields]
            return f"; known are {', '.join(names)}{meant(unknown[1], names)}"
        if isinstance(option, inspect.LiteralType):
            return f"; expected {' or '.join(json.dumps(value) for value in option.values)}"
    return ""


def _options(info: Any) -> tuple[Any, ...]:
    """The types of which a value may be one."""
    from msgspec import inspect

    return tuple(info.types) if isinstance(info, inspect.UnionType) else (info,)


def _item(info: Any) -> Any:
    """The type of what a map or an array holds; None for what holds nothing."""
    return getattr(info, "value_type", getattr(info, "item_type", None))
