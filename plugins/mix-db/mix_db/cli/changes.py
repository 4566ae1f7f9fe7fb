"""What a version of a record changed, as lines for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from mix_db.cli.table import cell, time_of
from mixkit.value import equal

__all__ = ["change_lines"]

Style = Literal["ok", "warning", "error", "name", "dim", "title"]


def change_lines(before: Mapping[str, Any], version: Mapping[str, Any]) -> Iterator[tuple[str, Style | None]]:
    """A heading, then `+ name: value`, `- name: value` or `~ name: old → new` for each field that differs.

    Args:
        before: the version before, empty if there is none.
    """
    if version.get("_rmx_deleted"):
        what = "deleted"
    elif not before or before.get("_rmx_deleted"):
        what = "made"
    else:
        what = "changed"
    yield f"{version['_rmx_rev']}  {time_of(version['_rmx_last_modified_at'])}  {what}", "title"
    old, new = _fields(before), _fields(version)
    for name, value in new.items():
        if name not in old:
            yield f"  + {name}: {cell(value)}", "ok"
        elif not _same(old[name], value):
            yield f"  ~ {name}: {cell(old[name])} → {cell(value)}", "warning"
    for name, value in old.items():
        if name not in new:
            yield f"  - {name}: {cell(value)}", "error"


def _fields(record: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: value for name, value in record.items() if not name.startswith("_rmx_") or name == "_rmx_type"
    }


def _same(one: Any, other: Any) -> bool:
    return type(one) is type(other) and equal(one, other)
