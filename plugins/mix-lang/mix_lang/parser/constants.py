"""Constants in JSON's form: behind `_escJSON_`, `_meta_`, `_pragma_`."""

from __future__ import annotations

from typing import Any

from mix_lang import syntax as s
from mix_lang.parser.cursor import Fault
from mix_lang.source import Span
from mixkit.errors import TaggedJSONError
from mixkit.tagged_json import from_json
from mixkit.value import UNDEF

__all__ = ["constant", "unescape"]


def constant(expr: s.Expr) -> Any:
    """The value that a literal spells, as a JSON tree.

    Raises:
        Fault: there is something in it that has to be computed.
    """
    match expr:
        case s.Const(value=value) if value is not UNDEF:
            return value
        case s.Array(items=items):
            return [constant(item) for item in items]
        case s.MapLit(keys=keys):
            found: dict[str, Any] = {}
            for key in keys:
                name = constant(key.key)
                if type(name) is not str:
                    raise Fault("M0210", key.span, "expected a constant string as key")
                if name in found:
                    raise Fault("M0303", key.span, f"the key '{name}' stands here twice", name=name)
                found[name] = constant(key.value)
            return found
        case _:
            raise Fault(
                "M0210", expr.span, "expected a constant here, which is known before the program runs"
            )


def unescape(tree: Any, span: Span) -> Any:
    """What a JSON tree with `_rmx_type` escapes stands for."""
    try:
        return from_json(tree)
    except TaggedJSONError as exc:
        raise Fault("M0211", span, f"this is no tagged JSON: {exc}") from None
