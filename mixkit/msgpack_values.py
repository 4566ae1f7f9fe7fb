"""Values as MessagePack: the form in which the database keeps records.

null, bool, int, float64, str, bin, array and map stand for themselves; a Ref is ext type 1 (UTF-8 of the id),
a Case is ext type 2 (MessagePack of `[name]` or `[name, arg]`). Undefined and Tokens have no such form. Maps
keep their order.
"""

from __future__ import annotations

from typing import Any, Final, cast

import msgpack  # type: ignore[import-untyped]

from mixkit._codec_py import GUARDED, INVALID
from mixkit._fault import Blemish, unique
from mixkit.codec import scan
from mixkit.errors import MessagePackError, ValueKindError
from mixkit.value import MAX_DEPTH, UNDEF, Case, Ref, Value, check, find_fault

__all__ = ["CASE", "REF", "pack", "unpack", "unpack_rows"]

REF: Final = 1
"""Ext type of a Ref."""
CASE: Final = 2
"""Ext type of a Case."""


def pack(value: Value) -> bytes:
    """The MessagePack form of a value.

    Raises:
        ValueKindError: not a Value throughout, undefined, or with a Token in it; `.path` says where.
    """
    if scan(value) & (INVALID | GUARDED):
        check(value, tokens=False)
        raise ValueKindError("undefined has no MessagePack form, found it")
    return cast(bytes, msgpack.packb(value, default=_ext))


def unpack(data: bytes | bytearray | memoryview) -> Value:
    """The value that the MessagePack bytes stand for.

    Every form of a number or length is read, not the shortest only. Refused are other ext types (timestamps
    too), integers beyond int64, keys that are repeated or not strings, and nesting above `MAX_DEPTH`. A count
    may promise as many items as there are bytes, so bound the size of bytes that come from outside.

    Raises:
        MessagePackError: the bytes are refused; `.path` says where, or is `$` where they break off or have no
            structure at all.
    """
    try:
        tree = _Reader().read(data)
    except _MALFORMED as exc:
        raise MessagePackError(_reason(exc)) from None
    if scan(tree) & INVALID:
        fault = find_fault(tree)
        assert fault is not None, "nobody else has the tree"
        raise MessagePackError(fault.message, fault.path())
    return cast(Value, tree)


def unpack_rows(data: bytes, count: int) -> list[Value]:
    """So many values that stand one behind the other, and nothing behind them. Raises as `unpack`, of each."""
    borders = msgpack.Unpacker(max_buffer_size=len(data) or 1)
    borders.feed(data)
    rows: list[Value] = []
    start = 0
    for _ in range(count):
        try:
            borders.skip()
        except _MALFORMED as exc:
            raise MessagePackError(_reason(exc)) from None
        end = borders.tell()
        rows.append(unpack(data[start:end]))
        start = end
    if start != len(data):
        raise MessagePackError(
            f"expected MessagePack of {count} values, found {len(data) - start} bytes more"
        )
    return rows


def _ext(value: Ref | Case) -> msgpack.ExtType:
    if type(value) is Ref:
        return msgpack.ExtType(REF, value.id.encode())
    assert type(value) is Case, "scan lets no other class through"
    parts = [value.name] if value.arg is UNDEF else [value.name, value.arg]
    # PERF: the default buffer is 1 MiB, too much for each Case.
    return msgpack.ExtType(CASE, msgpack.Packer(default=_ext, buf_size=256).pack(parts))


_MALFORMED: Final = (ValueError, msgpack.exceptions.UnpackException)


def _reason(exc: Exception) -> str:
    return f"expected MessagePack of one value, found: {str(exc)[:200] or type(exc).__name__}"


class _Reader:
    """The hooks of one unpacking. What they refuse they leave in the tree as a Blemish: only a walk from
    the top knows its path.

    A Case is made empty and filled after the unpacking that found it: msgpack's C code takes tens of KiB of
    stack for each unpacking, so that some hundred inside each other would crash the process.
    """

    def __init__(self) -> None:
        self.pending: list[tuple[Case, bytes, int]] = []
        self.level = 0

    def read(self, data: bytes | bytearray | memoryview) -> Any:
        tree = self.parse(data)
        while self.pending:
            case, content, level = self.pending.pop()
            self.level = level
            self.fill(case, content)
        return tree

    def parse(self, data: bytes | bytearray | memoryview) -> Any:
        return msgpack.unpackb(data, object_pairs_hook=_map, ext_hook=self.ext, strict_map_key=False)

    def ext(self, code: int, data: bytes) -> Ref | Case | Blemish:
        if code == CASE:
            if self.level == MAX_DEPTH:
                return Blemish(f"nesting above {MAX_DEPTH}")
            case = Case("")
            self.pending.append((case, data, self.level + 1))
            return case
        if code == REF:
            try:
                return Ref(str(data, "utf-8"))
            except UnicodeDecodeError as exc:
                return Blemish(_reason(exc))
        return Blemish(f"expected ext type {REF} or {CASE}, found {code}")

    def fill(self, case: Case, content: bytes) -> None:
        name, arg = "", cast(Any, UNDEF)
        try:
            match self.parse(content):
                case [str(name)]:
                    pass
                case [str(name), arg]:
                    pass
                case _:
                    arg = Blemish("expected [name] or [name, arg] in a Case, found something else")
        except _MALFORMED as exc:
            arg = Blemish(_reason(exc))
        object.__setattr__(case, "name", name)
        object.__setattr__(case, "arg", arg)


def _map(pairs: list[tuple[Any, Any]]) -> dict[str, Any] | Blemish:
    try:
        return unique(pairs)
    except TypeError:
        return Blemish("a map key is a str, found one that is not,")
